"""What the meter knows of one relay's journal, and of the calls that it has met before."""

from collections.abc import Iterable
from pathlib import Path

from submeter.core.collected import is_derived
from submeter.core.record import Tally
from submeter.journal.directory import list_sequences, segment_path
from submeter.journal.open_calls import OpenCalls, Settled
from submeter.journal.reader import JournalReader, Position, remove_until, writer_alive
from submeter.store.ledger import Cursor, Ledger, LedgerUnavailable

READ_RECORDS = 2000
MAX_MET = 200_000
"""Twice the largest batch; about 40 MB, for those who fetch as much."""


class RelayJournal:
    """One relay's directory: what was read of it, what is committed."""

    def __init__(self, directory: Path, committed: Cursor | None) -> None:
        self.directory = directory
        self.committed = committed
        self.alive = False
        self.at_end = False
        """The last read met the end, and whatever can be told of calls that were left open."""
        self._reader = JournalReader(directory)
        self._before = self._read_to = None if committed is None else Position(committed.segment, committed.offset)
        given_up = None if committed is None or committed.given_up is None else bytes.fromhex(committed.given_up)
        self._calls = OpenCalls(self._before, given_up)
        self._missing_before = 0
        self._damage_seen = 0

    def __len__(self) -> int:
        """Calls in flight."""
        return len(self._calls)

    @property
    def cursor(self) -> Cursor | None:
        """To be committed with all that was read; ``None``: nothing was."""
        if self._read_to is None:
            return None
        given_up = self._calls.given_up
        return Cursor(*self._read_to, 0, None if given_up is None else given_up.hex())

    def read(self) -> tuple[list[Settled], list[Tally], int]:
        """(settled calls, tallies, records read)."""
        self.alive = writer_alive(self.directory)  # before the read, or a last record could be missed
        entries = self._reader.read(READ_RECORDS)
        settled: list[Settled] = []
        tallies: list[Tally] = []
        for entry in entries:
            settled += self._calls.feed(entry)
            if isinstance(entry.record, Tally) and not self._calls.is_committed(entry):
                tallies.append(entry.record)
        if entries and (self._read_to is None or entries[-1].position > self._read_to):
            self._read_to = entries[-1].position
        if entries and self._calls.is_committed(entries[0]):
            self._missing_before = self._reader.missing_records
        if not entries and not self.alive:
            settled += self._calls.writer_dead()
        self.at_end = len(entries) < READ_RECORDS and (self.alive or not entries)
        return settled, tallies, len(entries)

    def new_damage(self) -> int:
        """What was found since the last call. Damage before the committed position was counted before a restart."""
        before = self._before
        stretches = sum(before is None or position > before for position in self._reader.damage)
        missing = max(0, self._reader.missing_records - self._missing_before)
        damage = stretches + missing + self._calls.orphan_finishes
        new = max(0, damage - self._damage_seen)
        self._damage_seen += new
        return new

    def unread_bytes(self) -> int:
        at = self._read_to or Position(0, 0)
        total = 0
        for sequence in list_sequences(self.directory):
            if sequence >= at.sequence:
                total += _size(segment_path(self.directory, sequence))
        return max(0, total - (at.offset if total else 0))

    def commit(self, cursor: Cursor) -> None:
        """The cursor is in the ledger: remove the segments that no open call needs after a restart."""
        self.committed = cursor
        remove_until(self.directory, self._calls.lowest_sequence(Position(cursor.segment, cursor.offset)))


class Met:
    """The ids that may come again, as their answers may be fetched again (``core.collected``). The ledger has each
    once by its key, and so counts it once; what is not met here since the start, it is asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ids: dict[str, None] = {}

    def look_up(self, call_ids: Iterable[str]) -> None:
        """Before ``is_new`` of these. While the ledger cannot be asked, what it alone knows is taken for new."""
        unmet = [call_id for call_id in call_ids if is_derived(call_id) and call_id not in self._ids]
        if unmet:
            try:
                known = self._ledger.known(unmet)
            except LedgerUnavailable:
                return
            for call_id, _ in known:
                self._meet(call_id)

    def is_new(self, call_id: str) -> bool:
        if not is_derived(call_id):
            return True
        new = call_id not in self._ids
        self._meet(call_id)
        return new

    def _meet(self, call_id: str) -> None:
        self._ids.pop(call_id, None)  # so that it is the youngest again
        self._ids[call_id] = None
        if len(self._ids) > MAX_MET:
            del self._ids[next(iter(self._ids))]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
