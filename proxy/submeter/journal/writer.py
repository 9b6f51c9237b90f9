"""The writer of a relay's journal: an append that returns is acknowledged, and whatever the disk does later, readable.

How a failing disk is met; one path for all failures::

    write fails, or is short   cut the file back to its last acknowledged byte (if that fails too, the reader finds
                               the torn record), then begin a new segment
    sync fails                 never sync that file again; begin a new segment
    the new segment fails      unlink it; ``JournalUnavailable``; the next try, with a new segment, is a second away

A new segment begins with what must outlive the older ones: the START and latest PROGRESS of each open call, the
FINISH that an open call could not write, and what a failed sync had left at risk. All of it is one write. The records
keep their lsn and stand in its order, so that a reader meets them as it did, or would have done, the first time. A
segment is never written again once a later one was tried, and no sequence is used twice: a reader may have moved on.
"""

import errno
import math
import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn

from submeter import __version__
from submeter.core.record import Finish, Progress, Start, Tally
from submeter.journal.directory import acquire_lock, segment_path, segment_sequences
from submeter.journal.disk import REAL_DISK, Disk
from submeter.journal.durability import Durability, RawRecord, SyncBeforeReturn, SyncInBackground
from submeter.journal.format import (
    BEGAN,
    FINISH,
    FIRST,
    OPEN,
    PROGRESS,
    START,
    TALLY,
    Began,
    Header,
    encode_frame,
    encode_payload,
)

MIB: Final = 1 << 20
GIB: Final = 1 << 30
RETRY_S: Final = 1.0
LOCK_PATIENCE_S: Final = 2.0
MAX_UNSYNCED_BYTES: Final = 32 * MIB
"""What is written but not yet synced is also held in memory; a disk that lets it grow so far is not well."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_NEW_SEGMENT: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
_REMEDIES: Final = {
    errno.ENOSPC: "free disk space, or give the data directory a larger disk",
    errno.EDQUOT: "raise the user's disk quota",
    errno.EROFS: "remount the file system writable (it may have met a disk error: see dmesg)",
    errno.EIO: "the disk fails: see dmesg, and move the data directory to another one",
    errno.EACCES: "give the user that runs submeter the directory back (chown)",
}


class JournalUnavailable(Exception):
    """Nothing was acknowledged. ``str()`` says why, and what mends it; later calls try again by themselves."""


@dataclass(slots=True)
class _Segment:
    """The file that grows; ``offset``: its acknowledged bytes. What was carried into it does not help to fill it."""

    fd: int
    seed: int
    offset: int
    full_at: int


@dataclass(slots=True)
class _OpenCall:
    start: RawRecord
    progress: RawRecord | None = None
    unwritten_finish: bytes | None = None


class JournalWriter:
    """The one writer of ``directory``. Not for use by several threads; no method waits for anything but the disk.

    ``sync``: ``"os"`` acknowledges after ``write`` (the record outlives this process) and syncs in the background every
    ``sync_interval_s``; ``"disk"`` acknowledges after ``fdatasync``, one per call (group commit comes later).
    ``quota_bytes`` bounds the directory: over it new calls are refused, while those in flight still get their FINISH.

    The constructor raises ``JournalLocked`` if another process writes here, and ``OSError`` if the directory cannot be
    made. A disk that is full is no reason to raise: the first call says so, or finds it mended.
    """

    def __init__(
        self,
        directory: Path,
        *,
        sync: Literal["os", "disk"] = "os",
        segment_bytes: int = 16 * MIB,
        quota_bytes: int = 4 * GIB,
        sync_interval_s: float = 0.1,
        lock_patience_s: float = LOCK_PATIENCE_S,
        fs: Disk = REAL_DISK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory, self._disk, self._clock = directory, fs, clock
        self._segment_bytes, self._quota_bytes = segment_bytes, quota_bytes
        self._lock_fd: int | None = acquire_lock(directory, lock_patience_s)
        self._instance, self._boot = uuid.uuid4().bytes, _boot_id()
        self._sequence = self._latest_sequence()
        self._lsn = self._acknowledged_lsn = 0
        self._segment: _Segment | None = None
        self._open: dict[tuple[str, int], _OpenCall] = {}
        self._down: str | None = None
        self._retry_at_s = self._measure_at_s = 0.0
        self._other_segments_bytes = 0
        self._durability: Durability = (
            SyncBeforeReturn(fs, directory) if sync == "disk" else SyncInBackground(fs, directory, sync_interval_s)
        )
        self._began = self._number(BEGAN, encode_payload(Began(os.getpid(), __version__)))
        with suppress(JournalUnavailable):  # said again, and tried again, by the first call
            self._begin_segment((self._began,))

    def start(self, start: Start) -> None:
        """Before the first byte goes upstream. Raises ``JournalUnavailable``; ``RecordTooLarge``."""
        payload = encode_payload(start)
        self._admit_call()
        record = self._number(START, payload)
        self._append(record)
        self._open[start.call_id, start.attempt] = _OpenCall(record)

    def first(self, progress: Progress) -> None:
        """At the first token. Raises ``JournalUnavailable``, also if the call is not open here."""
        self._note(FIRST, progress)

    def progress(self, progress: Progress) -> None:
        """From time to time. Raises ``JournalUnavailable``, also if the call is not open here."""
        self._note(PROGRESS, progress)

    def finish(self, finish: Finish) -> None:
        """Before the bytes that complete the answer go to the client.

        Raises ``JournalUnavailable``, also if the call is not open here. If the disk is the reason, the record is kept
        and written as soon as the disk is well; it is lost if this process dies before that.
        """
        call = self._open_call(finish)
        payload = encode_payload(finish)
        call.unwritten_finish = None
        try:
            self._check_up()
            self._append(self._number(FINISH, payload))
        except JournalUnavailable:
            call.unwritten_finish = payload
            raise
        del self._open[finish.call_id, finish.attempt]

    def start_and_finish(self, start: Start, finish: Finish) -> None:
        """Both at once, in one write: a cache hit. Raises ``JournalUnavailable``; ``RecordTooLarge``."""
        start_payload, finish_payload = encode_payload(start), encode_payload(finish)
        self._admit_call()
        self._append(self._number(START, start_payload), self._number(FINISH, finish_payload))

    def tally(self, tallies: list[Tally]) -> None:
        """Counts since the last tally. On ``JournalUnavailable`` the caller keeps them and adds to them."""
        payloads = [encode_payload(tally) for tally in tallies]
        if payloads:
            self._check_up()
            self._append(*(self._number(TALLY, payload) for payload in payloads))

    def sync(self) -> None:
        """What the background thread does by itself: make safe what was written. A failure shows in the next call."""
        self._durability.sync()

    def close(self) -> None:
        """Write what is still unwritten, sync, and give the directory back. Calls still open stay open: the meter
        settles them as indeterminate. Raises ``JournalUnavailable`` if a record could not be made safe."""
        if self._lock_fd is None:
            return
        try:
            self._durability.stop()
            if self._durability.error is not None or self._unwritten_finishes():
                self._begin_segment(())
                self._durability.sync()
            if self._durability.error is not None:
                self._fail(self._durability.error)
        finally:
            self._durability.close()
            self._segment, self._down, self._retry_at_s = None, "the journal is closed", math.inf
            os.close(self._lock_fd)
            self._lock_fd = None

    def _note(self, kind: int, progress: Progress) -> None:
        call = self._open_call(progress)
        payload = encode_payload(progress)
        self._check_up()
        record = self._number(kind, payload)
        self._append(record)
        call.progress = record

    def _open_call(self, record: Progress | Finish) -> _OpenCall:
        call = self._open.get((record.call_id, record.attempt))
        if call is None:
            raise JournalUnavailable("the START of this call is not in the journal")
        return call

    def _admit_call(self) -> None:
        self._check_up()
        if self._durability.unsynced_bytes() > MAX_UNSYNCED_BYTES:
            raise JournalUnavailable(f"the disk under {self._directory} does not end its fdatasync: see dmesg")
        self._check_quota()

    def _check_up(self) -> None:
        if self._down is not None and self._clock() < self._retry_at_s:
            raise JournalUnavailable(self._down)

    def _check_quota(self) -> None:
        """Sizes are asked for when a segment begins, and once a second while the quota is reached."""
        current_bytes = self._segment.offset if self._segment is not None else 0
        if self._other_segments_bytes + current_bytes < self._quota_bytes:
            return
        now_s = self._clock()
        if now_s >= self._measure_at_s:
            self._measure_at_s = now_s + RETRY_S
            try:
                self._other_segments_bytes = self._measure_other_segments()
            except OSError as error:
                self._fail(error)
        if self._other_segments_bytes + current_bytes >= self._quota_bytes:
            raise JournalUnavailable(
                f"the journal {self._directory} has reached its quota of {self._quota_bytes} bytes: "
                "see why the meter does not ship it (submeter doctor), or raise journal.quota"
            )

    def _measure_other_segments(self) -> int:
        total_bytes = 0
        for sequence in segment_sequences(self._disk.listdir(self._directory)):
            if sequence != self._sequence:
                with suppress(FileNotFoundError):  # the meter has just removed it
                    total_bytes += self._disk.size(segment_path(self._directory, sequence))
        return total_bytes

    def _number(self, kind: int, payload: bytes) -> RawRecord:
        self._lsn += 1
        return RawRecord(self._lsn, kind, payload)

    def _append(self, *records: RawRecord) -> None:
        segment = self._segment
        if segment is None or segment.offset >= segment.full_at or self._durability.error is not None:
            self._begin_segment(records)
            return
        data = _frames(segment.seed, records)
        try:
            self._write(segment.fd, data)
            self._durability.wrote(records, len(data))
        except OSError:
            with suppress(OSError):  # then the reader meets a torn record, and says so
                self._disk.ftruncate(segment.fd, segment.offset)
            self._begin_segment(records)
            return
        segment.offset += len(data)
        self._acknowledged_lsn = self._lsn

    def _begin_segment(self, records: tuple[RawRecord, ...]) -> None:
        """A new segment, with what must outlive the older ones and ``records`` (new, not yet acknowledged)."""
        self._segment = None
        self._sequence += 1
        first_lsn = records[0].lsn if records else self._lsn + 1
        header = Header(self._instance, self._boot, self._sequence, self._acknowledged_lsn, first_lsn)
        finishes = {key: self._number(FINISH, payload) for key, payload in self._unwritten_finishes().items()}
        content = self._in_order(*self._durability.at_risk(), *self._carried(), *records, *finishes.values())
        data = header.encode() + _frames(header.crc, content)
        try:
            self._other_segments_bytes = self._measure_other_segments()
            fd = self._create(segment_path(self._directory, self._sequence), data, content)
        except OSError as error:
            self._fail(error)
        self._segment = _Segment(fd, header.crc, len(data), len(data) + self._segment_bytes)
        self._acknowledged_lsn = self._lsn
        self._down = None
        for key in finishes:
            del self._open[key]

    def _unwritten_finishes(self) -> dict[tuple[str, int], bytes]:
        return {key: call.unwritten_finish for key, call in self._open.items() if call.unwritten_finish is not None}

    def _carried(self) -> list[RawRecord]:
        records = [self._began]
        for call in self._open.values():
            records.append(call.start._replace(type=OPEN))
            if call.progress is not None:
                records.append(call.progress)
        return records

    @staticmethod
    def _in_order(*records: RawRecord) -> list[RawRecord]:
        """By lsn, one of each; of two copies the later named one, so that an open call's START is an OPEN."""
        return sorted({record.lsn: record for record in records}.values())

    def _create(self, path: Path, data: bytes, content: Sequence[RawRecord]) -> int:
        fd = self._disk.open(path, _NEW_SEGMENT)
        try:
            self._write(fd, data)
            self._durability.began(fd, content, len(data))
        except OSError:
            self._take_back(fd, path)
            raise
        return fd

    def _take_back(self, fd: int, path: Path) -> None:
        """Leave nothing of a segment that was not acknowledged; each step works, or helps, without the others."""
        with suppress(OSError):
            self._disk.ftruncate(fd, 0)
        with suppress(OSError):
            self._disk.close(fd)
        with suppress(OSError):
            self._disk.unlink(path)

    def _write(self, fd: int, data: bytes) -> None:
        written = self._disk.write(fd, data)
        if written != len(data):
            # Only a disk that is full, or a quota that is reached, ends a write early.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _fail(self, error: OSError) -> NoReturn:
        remedy = _REMEDIES.get(error.errno or 0, "see dmesg")
        self._down = f"the journal {self._directory} cannot be written ({error.strerror}): {remedy}"
        self._retry_at_s = self._clock() + RETRY_S
        raise JournalUnavailable(self._down) from error

    def _latest_sequence(self) -> int:
        """In an empty directory the count goes on from the clock: a cursor that the ledger still holds of a directory
        that was wiped must not lie ahead of what is written now, or the meter would take it for shipped."""
        found = segment_sequences(self._disk.listdir(self._directory))
        return found[-1] if found else int(time.time())


def _frames(seed: int, records: Sequence[RawRecord]) -> bytes:
    if len(records) == 1:  # the usual case, and half the time
        return encode_frame(seed, *records[0])
    return b"".join([encode_frame(seed, *record) for record in records])


def _boot_id() -> bytes:
    """Changes when the machine starts; zeros where the system does not tell."""
    try:
        return uuid.UUID(_BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
