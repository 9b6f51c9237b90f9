"""A kept stream, given at the pace at which it came (``cache.pace: recorded``).

To its answer the ``Recording`` is the upstream's connection: so the caller's leaving, its slowness, the relay's drain
and the order of records and bytes are what they are for any answer. What it says of its tokens stands in the cache.
"""

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from submeter.core.exchange import Exchange
from submeter.core.kept import KeptAnswer, schedule
from submeter.relay.answers import call_headers
from submeter.relay.forward import ForwardedAnswer
from submeter.relay.journalling import CallJournal

if TYPE_CHECKING:
    from submeter.relay.flight import Reader
    from submeter.relay.handler import HandledCall, Planned
    from submeter.relay.server import ClientConnection


async def play(call: "HandledCall", plan: "Planned", found: KeptAnswer) -> None:
    """Give a stream to its caller. Raises ``Refusal`` (FAULTS 25)."""
    plan.cache = "hit"
    relay, start = call.relay, call.start_of(plan, 1)
    journal: CallJournal = relay.journal if relay.journal.start(start) else relay.journal.nowhere
    now_ns = time.monotonic_ns()
    exchange = Exchange(start, plan.t0_ns)
    exchange.sent(now_ns)
    begun_s = asyncio.get_running_loop().time() - (now_ns - plan.t0_ns) / 1e9
    recording = Recording(found, begun_s)
    answer = call.answer = PacedAnswer(
        call.client,
        recording,
        exchange,
        journal,
        our_headers=call_headers(call.call_id, plan.cache),
        chunked=call.request.version == "1.1",
        close=not call.keep_alive,
    )
    recording.play(answer)
    if call.client.closing:
        call.client_gone()
    call.conclude(None, await answer.ended)


class Recording:
    """Hands a kept stream to its reader, each piece at its time. The times are absolute: lateness does not add up, and
    who took nothing for a while is then given all that was due meanwhile."""

    def __init__(self, found: KeptAnswer, begun_s: float) -> None:
        """``begun_s``: when its caller's request was complete, by the loop's clock."""
        self._loop = asyncio.get_running_loop()
        self.found = found
        self._begun_s = begun_s
        self._steps = schedule(found.body, found.pace)
        self._next = self._written = 0
        self._reader: Reader | None = None
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    def play(self, reader: "Reader") -> None:
        self._reader = reader
        self._wait()

    # -- as an upstream connection ---------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            self._wait()

    def write(self, data: bytes) -> None:
        raise AssertionError("nothing is sent to a recording")

    def release(self) -> None:
        self.close()

    def close(self) -> None:
        self._reader = None
        self._wait()

    # -- inside ----------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """For the time of the next piece, unless nobody takes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reader is not None and not self._paused and self._next < len(self._steps):
            due_ns, _ = self._steps[self._next]
            self._timer = self._loop.call_at(self._begun_s + due_ns / 1e9, self._hand_on, self._reader)

    def _hand_on(self, reader: "Reader") -> None:
        """One piece, as one read."""
        _, upto = self._steps[self._next]
        piece = self.found.body[self._written : upto]
        reader.read_begins()
        if self._next == 0:
            reader.head(200, b"OK", [(b"Content-Type", self.found.content_type)])
        self._next, self._written = self._next + 1, upto
        reader.data(piece)
        if self._next == len(self._steps):
            reader.end()
        reader.read_done()
        self._wait()


class PacedAnswer(ForwardedAnswer):
    """Its records are a hit's, and it ends when its caller leaves: there is nothing to be read on for."""

    def __init__(
        self,
        client: "ClientConnection",
        recording: Recording,
        exchange: Exchange,
        journal: CallJournal,
        *,
        our_headers: list[tuple[bytes, bytes]],
        chunked: bool,
        close: bool,
    ) -> None:
        super().__init__(
            client,
            recording,
            exchange,
            journal,
            our_headers=our_headers,
            chunked=chunked,
            close=close,
            head_only=False,
            configured_key=False,
            injected="",
        )
        self._found = recording.found

    def client_gone(self, *, drain: bool) -> bool:
        self._client = None
        self._out.clear()
        self.abandon()
        return False

    def _write_finish(self) -> None:
        """It cost nothing; the usage of an answer that was given whole is known, also where its chunk is taken out."""
        finish, found = self.exchange.finish, self._found
        if finish is not None and not self._finished:
            whole = finish.outcome == "ok"
            self.exchange.finish = msgspec.structs.replace(
                finish,
                usage=found.usage if whole else None,
                web_searches=found.web_searches if whole else None,
                provider_cost=None,
            )
        super()._write_finish()
