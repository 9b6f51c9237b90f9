"""The journal as calls see it: with the operator's rule for when it cannot be written, and with the tallies."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from submeter.core.errors import LEDGER_UNAVAILABLE, Refusal
from submeter.core.exchange import Exchange
from submeter.core.record import Finish, Progress, Start, Tally, TallyKind
from submeter.journal.writer import JournalUnavailable, JournalWriter

if TYPE_CHECKING:
    from submeter.core.errors import Fault

log = logging.getLogger("submeter")


class CallJournal(Protocol):
    """Where one call's records go after its START."""

    def first(self, progress: Progress) -> None: ...
    def progress(self, progress: Progress) -> None: ...
    def finish(self, finish: Finish) -> None: ...
    def settle(self, exchange: Exchange) -> None: ...


class Nowhere:
    """For what leaves no row."""

    def first(self, progress: Progress) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def finish(self, finish: Finish) -> None: ...

    def settle(self, exchange: Exchange) -> None: ...


class Journalling:
    """Writes what a call's steps say. After ``start`` a failure never reaches the caller: it is counted and said."""

    def __init__(self, writer: JournalWriter, when_unmetered: Literal["pass", "refuse"]) -> None:
        self._writer = writer
        self._refuse = when_unmetered == "refuse"
        self._tallies: Counter[tuple[TallyKind, str]] = Counter()
        self._failing = False
        self.nowhere = Nowhere()

    def start(self, start: Start) -> bool:
        """True: the call is journalled and its other records may follow. Raises ``Refusal`` (FAULTS 25)."""
        try:
            self._writer.start(start)
        except JournalUnavailable as why:
            self._unmetered(why)
            if self._refuse:
                raise Refusal(LEDGER_UNAVAILABLE) from None
            return False
        self._healed()
        return True

    def start_and_finish(self, start: Start, finish: Finish) -> None:
        """Of a call that is answered here at once. Raises ``Refusal`` (FAULTS 25)."""
        try:
            self._writer.start_and_finish(start, finish)
        except JournalUnavailable as why:
            self._unmetered(why)
            if self._refuse:
                raise Refusal(LEDGER_UNAVAILABLE) from None

    def first(self, progress: Progress) -> None:
        self._note(lambda: self._writer.first(progress))

    def progress(self, progress: Progress) -> None:
        self._note(lambda: self._writer.progress(progress))

    def finish(self, finish: Finish) -> None:
        """What is lost here is found again as ``indeterminate``: its START is written."""
        self._note(lambda: self._writer.finish(finish))

    def settle(self, exchange: Exchange) -> None:
        """The FINISH of an exchange that has just ended without an answer."""
        assert exchange.finish is not None
        self.finish(exchange.finish)

    def refused(self, fault: "Fault") -> None:
        self._tallies["refused", fault.code] += 1

    def passed(self, kind: str, count: int = 1) -> None:
        self._tallies["passed", kind] += count

    def cache_said(self, event: str, count: int) -> None:
        if count:
            self._tallies["cache", event] += count

    def flush(self) -> None:
        """Called by the sweep: the counts of what leaves no row. After a failure a count of none is written too: it
        finds out whether the disk is mended, and takes along what the writer has kept."""
        if self._failing:
            self._tallies["unmetered", "journal"] += 0
        if not self._tallies:
            return
        tallies = [Tally(kind, label, count) for (kind, label), count in self._tallies.items()]
        try:
            self._writer.tally(tallies)
        except JournalUnavailable:
            return  # kept for the next sweep
        self._tallies.clear()
        self._healed()

    def close(self) -> None:
        self.flush()
        try:
            self._writer.close()
        except JournalUnavailable as why:
            log.error("the journal could not be closed in order: %s", why)

    def _note(self, write: Callable[[], None]) -> None:
        try:
            write()
        except JournalUnavailable as why:
            self._say(why)

    def _unmetered(self, why: JournalUnavailable) -> None:
        self._tallies["unmetered", "journal"] += 1
        self._say(why)

    def _say(self, why: JournalUnavailable) -> None:
        if not self._failing:
            log.error(
                "the journal cannot be written: %s; calls are %s", why, "refused" if self._refuse else "unmetered"
            )
        self._failing = True

    def _healed(self) -> None:
        if self._failing:
            log.warning("the journal is written again")
        self._failing = False
