"""Reading a relay's directory from another process while its writer goes on.

What is met behind the last valid frame of a segment, and what it means::

    nothing, or a bad tail   no later segment     wait: the writer may be writing it, or is dead
    bad tail                 a later segment
                             of another instance  the writer died in a write: expected, counted as torn
                             of the same one      damage
    bad bytes                a valid frame        damage: go on at that frame

Damage is copied into ``quarantine/``, counted and logged. Beyond damage, ``missing_records`` counts the lsns that no
segment holds; a copy in a later segment takes its record off again.
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from submeter.core.record import Start
from submeter.journal.directory import (
    QUARANTINE_NAME,
    list_sequences,
    relay_directories,
    remove_until,
    segment_path,
    writer_alive,
)
from submeter.journal.format import (
    FINISH,
    HEADER_BYTES,
    OPEN,
    START,
    TALLY,
    Frame,
    Header,
    Record,
    decode_header,
    decode_record,
    frames,
)
from submeter.journal.segment import Damage, SegmentReader, read_header

__all__ = [
    "Entry",
    "JournalReader",
    "Position",
    "relay_directories",
    "remove_until",
    "started_calls",
    "started_in",
    "writer_alive",
]

log = logging.getLogger("submeter")

# A copy of any other type says nothing new when it is met twice, and all there is when its first segment is gone.
_ONCE_ONLY: Final = frozenset((START, FINISH, TALLY))


class Position(NamedTuple):
    """A place in a directory, just behind a record; ordered."""

    sequence: int
    offset: int


class Entry(NamedTuple):
    record: Record
    position: Position
    """Behind the record: what to commit once it is dealt with."""
    instance: bytes
    sequence: int


class _Lsns:
    """Which lsns of an instance were met: every one up to ``high`` but those ``missing``.

    Of those up to ``unknown`` nothing can be said: the segments that held them may have been shipped and removed, or be
    unreadable. Better to meet a copy of such a record twice than never.
    """

    def __init__(self, unknown: int) -> None:
        self.unknown = self.high = unknown
        self.missing: set[int] = set()

    def skip_to(self, header: Header) -> None:
        self.missing.update(range(self.high + 1, header.acknowledged_lsn + 1))
        self.high = max(self.high, header.first_lsn - 1)

    def is_new(self, lsn: int) -> bool:
        if lsn > self.high:
            self.missing.update(range(self.high + 1, lsn))
            self.high = lsn
            return True
        found = lsn in self.missing
        self.missing.discard(lsn)
        return found or lsn <= self.unknown


class JournalReader:
    """Entries of one directory, oldest first; polled, never blocking.

    It begins at the first retained segment, or with what follows ``position``. A restarted meter gives none: it feeds
    everything retained to ``OpenCalls``, which knows what was committed.
    """

    def __init__(self, directory: Path, position: Position | None = None) -> None:
        self.damage: list[Position] = []
        """Where damaged stretches were met; each may hold more than one record."""
        self.torn_tails = 0
        self.unknown_records = 0
        """Valid frames of a type or version that this program does not know: a newer relay wrote them."""
        self._directory, self._after = directory, position
        self._last_sequence = position.sequence - 1 if position is not None else -1
        self._segment: SegmentReader | None = None
        self._sealed = False
        """A later segment was seen: this one grows no more."""
        self._instance: bytes | None = None
        self._lsns = _Lsns(0)
        self._lost_records = 0

    @property
    def corrupt_records(self) -> int:
        return len(self.damage)

    @property
    def missing_records(self) -> int:
        """Acknowledged records that no segment read so far holds; and, if a segment's header is lost, refused ones."""
        return self._lost_records + len(self._lsns.missing)

    def read(self, max_records: int) -> list[Entry]:
        """At most ``max_records`` entries; empty when there is nothing more for now. Raises ``OSError`` of the disk."""
        entries: list[Entry] = []
        try:
            while len(entries) < max_records and self._step(entries, max_records - len(entries)):
                pass
        except OSError:
            if not entries:  # else they come first; the next call meets the error again
                raise
        return entries

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _step(self, entries: list[Entry], limit: int) -> bool:
        """One read of the segment, or one step towards the next; false when there is nothing to do but wait."""
        segment = self._segment or self._open_next()
        if segment is None:
            return False
        if self._take(segment, entries, limit):
            return True
        if not self._sealed:
            # Once more before going on: the writer may have appended after our read and before it went on itself.
            self._sealed = self._next_sequence() is not None
            return self._sealed
        return self._leave(segment)

    def _open_next(self) -> SegmentReader | None:
        while (sequence := self._next_sequence()) is not None:
            with suppress(FileNotFoundError):  # removed since it was listed
                self._segment = SegmentReader(self._directory, sequence)
                self._last_sequence = sequence
                return self._segment
        return None

    def _next_sequence(self) -> int | None:
        return next((found for found in list_sequences(self._directory) if found > self._last_sequence), None)

    def _take(self, segment: SegmentReader, entries: list[Entry], limit: int) -> bool:
        """Whether there was anything to read; damage counts as well."""
        had_header = segment.header is not None
        if not segment.load_header() or segment.header is None:
            return False
        if not had_header:
            self._enter(segment.header)
        items = segment.read(limit)
        for item in items:
            if isinstance(item, Damage):
                self._quarantine(item)
            else:
                self._add(entries, *item, segment.header)
        return bool(items)

    def _enter(self, header: Header) -> None:
        if self._instance is None:
            self._lsns = _Lsns(header.first_lsn - 1)
        elif header.instance != self._instance:
            self._lost_records += len(self._lsns.missing)
            self._lsns = _Lsns(0)
        self._instance = header.instance
        self._lsns.skip_to(header)

    def _add(self, entries: list[Entry], frame: Frame, end: int, header: Header) -> None:
        if not self._lsns.is_new(frame.lsn) and frame.type in _ONCE_ONLY:
            return
        position = Position(header.sequence, end)
        if self._after is not None and position <= self._after:
            return
        record = decode_record(frame)
        if record is None:
            self.unknown_records += 1
        else:
            entries.append(Entry(record, position, header.instance, header.sequence))

    def _leave(self, segment: SegmentReader) -> bool:
        """No writer appends here any more, and all valid frames are read. False: what follows cannot be told yet."""
        rest = segment.rest()
        if rest and not segment.unlinked():
            torn = self._torn_by_death(segment, len(rest))
            if torn is None:
                return False
            if torn:
                self.torn_tails += 1
            else:
                self._quarantine(Damage(segment.offset, rest))
        self.close()
        self._sealed = False
        return True

    def _torn_by_death(self, segment: SegmentReader, rest_bytes: int) -> bool | None:
        """The writer died in this write, or, if not even the header is whole, as it began the segment.

        ``None`` while the next segment has no header: it may have been created this very moment.
        """
        if segment.header is None:
            return rest_bytes < HEADER_BYTES
        for sequence in list_sequences(self._directory):
            if sequence > segment.sequence and (following := read_header(self._directory, sequence)) is not None:
                return following.instance != segment.header.instance
        return None

    def _quarantine(self, damage: Damage) -> None:
        self.damage.append(Position(self._last_sequence, damage.offset))
        copy = self._directory / QUARANTINE_NAME / f"{self._last_sequence:020d}-{damage.offset}.bad"
        log.error("journal: %d damaged bytes, copied to %s", len(damage.data), copy)
        try:
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            copy.touch(mode=0o600)
            copy.write_bytes(damage.data)
        except OSError as error:
            log.error("journal: the copy could not be made (%s); the segment itself is kept", error.strerror)


def started_calls(journal_dir: Path) -> set[tuple[str, int]]:
    """(call id, attempt) of every START in the retained segments of all relays.

    For other processes than the meter, which may remove segments meanwhile: a segment that is gone had only calls
    that are rows, or that were copied to a later segment.
    """
    return {key for directory in relay_directories(journal_dir) for key in started_in(directory)}


def started_in(directory: Path) -> set[tuple[str, int]]:
    """The same of one relay."""
    calls: set[tuple[str, int]] = set()
    last = -1
    while remaining := [sequence for sequence in list_sequences(directory) if sequence > last]:
        last = remaining[0]
        with suppress(FileNotFoundError):
            calls.update(_started_calls_of(segment_path(directory, last).read_bytes()))
    return calls


def _started_calls_of(segment: bytes) -> set[tuple[str, int]]:
    header = decode_header(segment)
    if header is None:
        return set()
    starts = (frame for frame in frames(segment, HEADER_BYTES, header.crc) if frame.type in (START, OPEN))
    records = map(decode_record, starts)
    return {(record.call_id, record.attempt) for record in records if isinstance(record, Start)}
