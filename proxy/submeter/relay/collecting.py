"""Calls whose answer comes later: a background job's POST, and the GETs that bring what was asked for before.

The row of such an answer has an id that is made of the provider's own, so that it is one row however often, and on
whichever way, the answer is fetched. It is journalled before the last byte of the answer goes to the caller.
"""

from contextlib import suppress

import msgspec

from submeter.core.body import Body, EncodedBody, PassedBody
from submeter.core.collected import BackgroundDialect, Collected, Reader, records
from submeter.core.errors import Refusal
from submeter.core.exchange import Exchange, Head
from submeter.core.record import Outcome, Start
from submeter.relay.journalling import Journalling


class Fetch(Exchange):
    """A GET that may bring answers. For itself it has no row."""

    def __init__(self, start: Start, t0_ns: int, reader: Reader, journal: Journalling) -> None:
        super().__init__(start, t0_ns)
        self.reader = reader
        self.rows = 0
        self._journal = journal

    def feed(self, data: bytes, now_ns: int) -> bytes:
        return self._after(super().feed(data, now_ns))

    def end(self, now_ns: int) -> tuple[bytes, bool]:
        rest, whole = super().end(now_ns)
        return self._after(rest), whole

    def lost(self, outcome: Outcome) -> bytes:
        return self._after(super().lost(outcome))

    def _after(self, out: bytes) -> bytes:
        for found in self.reader.take():
            self.rows += 1
            journal_answer(self._journal, self.start, found, self.bytes_out)
        return out

    def _body_for(self, head: Head) -> Body:
        if head.status != 200 or head.opaque:
            return PassedBody()
        body = self.reader.body(event_stream=head.event_stream)
        return EncodedBody(body) if head.encoded else body


class Job(Exchange):
    """A POST with ``background: true``. Once the provider has taken the job, this call's own row is ``unmetered``,
    whatever becomes of its connection: the answer has the other row, also where it comes right here as a stream."""

    def __init__(self, start: Start, t0_ns: int, journal: Journalling) -> None:
        super().__init__(start, t0_ns)
        self._dialect = self._job = BackgroundDialect()
        self._journal = journal

    def _settle(self, outcome: Outcome, *, status: int | None = None, refused: bool = False) -> None:
        if self.finish is None:
            super()._settle(outcome, status=status, refused=refused)
            if self._job.background:
                self._defer()

    def _defer(self) -> None:
        assert self.finish is not None
        found = self._job.collected(stream=self.start.stream)
        if found is not None:
            journal_answer(self._journal, self.start, found, self.bytes_out)
        self.finish = msgspec.structs.replace(self.finish, usage=None, seen=None, deferred=True)


def journal_answer(journal: Journalling, start: Start, found: Collected, body_bytes: int) -> None:
    """What cannot be written is counted as unmetered. It is never refused: the answer is paid for (FAULTS 25, calls
    in flight)."""
    with suppress(Refusal):
        journal.start_and_finish(*records(start, found, body_bytes))
