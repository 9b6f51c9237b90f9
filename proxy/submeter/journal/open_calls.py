"""From a directory's entries to settled calls: START opens, FINISH closes, the death of the writer leaves.

Pure: entries in, settled calls out. The meter's loop for one directory::

    reader = JournalReader(directory)
    calls = OpenCalls(committed, given_up)            # both from the ledger; None at first
    while True:
        alive = writer_alive(directory)               # before the read, or a last record could be missed
        entries = reader.read(500)
        settled = [call for entry in entries for call in calls.feed(entry)]
        if not entries and not alive:
            settled += calls.writer_dead()
        # one transaction: rows, counters, cursor = entries[-1].position, calls.given_up; once it is durable:
        remove_until(directory, calls.lowest_sequence(cursor))
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from submeter.core.record import Finish, Progress, Start
from submeter.journal.reader import Entry, Position

_NEVER: Final = Position(2**63, 0)


class Settled(NamedTuple):
    """All that the journal will ever say of a call. Without ``finish`` its relay died: the outcome is indeterminate."""

    start: Start
    finish: Finish | None
    progress: Progress | None


@dataclass(slots=True)
class _Call:
    start: Start
    sequence: int
    """The segment of its latest START."""
    progress: Progress | None = None


class OpenCalls:
    """The calls of one directory that have a START and no FINISH yet; ``len()`` of them are in flight.

    ``committed``: entries up to there were dealt with before a restart. They are fed again, as the calls open
    then must be known, but settle nothing again. ``given_up``: the instance whose open calls ``writer_dead`` settled.
    """

    def __init__(self, committed: Position | None = None, given_up: bytes | None = None) -> None:
        self.given_up = given_up
        """To be committed with the rows, and given back after a restart."""
        self.orphan_finishes = 0
        """FINISH without START: the START was lost to damage, and the call has no row."""
        self._committed = committed
        self._instance: bytes | None = None
        self._calls: dict[tuple[str, int], _Call] = {}
        self._uncommitted: list[tuple[Position, int]] = []
        """Of each settled call: the position that commits it, and the segment of its START, needed until then."""

    def __len__(self) -> int:
        return len(self._calls)

    def is_committed(self, entry: Entry) -> bool:
        """The entry was dealt with before the restart; for tallies, which the meter counts by itself."""
        return self._committed is not None and entry.position <= self._committed

    def feed(self, entry: Entry) -> list[Settled]:
        """What this entry settles: its call, or all open calls of the instance before its own."""
        settled = self._enter(entry) if entry.instance != self._instance else []
        match entry.record:
            case Start() as start:
                self._start(start, entry.sequence)
            case Progress() as progress:
                self._progress(progress)
            case Finish() as finish:
                settled += self._finish(finish, entry)
        return [] if self.is_committed(entry) else settled

    def writer_dead(self) -> list[Settled]:
        """To be called when the writer is gone and everything is read: its open calls are settled without a FINISH."""
        settled = self._give_up(_NEVER)
        self.given_up = self._instance
        return settled

    def lowest_sequence(self, committed: Position) -> int:
        """The lowest segment that a restart from ``committed`` needs; those below may be removed once it is durable.

        It is the segment of ``committed`` or a lower one with the START of a call that is open, or that a later entry
        settled. The calls of a dead writer keep theirs until a successor's first entry is committed.
        """
        self._uncommitted = [each for each in self._uncommitted if each[0] > committed]
        settled = (sequence for _, sequence in self._uncommitted)
        in_flight = (call.sequence for call in self._calls.values())
        return min([committed.sequence, *settled, *in_flight])

    def _start(self, start: Start, sequence: int) -> None:
        call = self._calls.setdefault((start.call_id, start.attempt), _Call(start, sequence))
        call.sequence = sequence

    def _progress(self, progress: Progress) -> None:
        call = self._calls.get((progress.call_id, progress.attempt))
        if call is not None:
            call.progress = progress

    def _finish(self, finish: Finish, entry: Entry) -> list[Settled]:
        call = self._calls.pop((finish.call_id, finish.attempt), None)
        if call is not None:
            self._uncommitted.append((entry.position, call.sequence))
            return [Settled(call.start, finish, call.progress)]
        if not self.is_committed(entry):  # else its START's segment was shipped and removed
            self.orphan_finishes += 1
        return []

    def _enter(self, entry: Entry) -> list[Settled]:
        """A new instance writes: all of the one before is settled, and committed with this entry."""
        settled = self._give_up(entry.position)
        self._uncommitted = [(min(position, entry.position), sequence) for position, sequence in self._uncommitted]
        self._instance = entry.instance
        return settled

    def _give_up(self, commits: Position) -> list[Settled]:
        calls = [] if self._instance == self.given_up else list(self._calls.values())
        self._calls.clear()
        self._uncommitted += [(commits, call.sequence) for call in calls]
        return [Settled(call.start, None, call.progress) for call in calls]
