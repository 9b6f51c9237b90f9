"""When a written record counts as safe from a power cut: the two settings of ``journal.sync``, as two strategies.

Rule for both: a file whose sync has failed is never synced again, for the kernel may have dropped the pages and
reported them clean (the "fsyncgate" of 2018). What it was to make durable goes into a new file, from memory.

The strategy owns the segments' descriptors: it closes each one when nothing is left to sync in it.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from submeter.journal.disk import Disk
from submeter.journal.format import FIRST, PROGRESS


class RawRecord(NamedTuple):
    """A record that is encoded but for its frame, which depends on the segment."""

    lsn: int
    type: int
    payload: bytes


class Durability(Protocol):
    error: OSError | None
    """Set once a sync has failed behind the writer's back: the current segment must not be used further."""

    def began(self, fd: int, records: Sequence[RawRecord], size_bytes: int) -> None:
        """A new segment, of ``size_bytes``, holds ``records``; the former one gets no more.

        On ``OSError`` the new segment is not to be used.
        """
        ...

    def wrote(self, records: Sequence[RawRecord], size_bytes: int) -> None:
        """The current segment got ``records``. On ``OSError`` they are not safe, and it must not be used further."""
        ...

    def at_risk(self) -> list[RawRecord]:
        """After ``error``: the acknowledged records that the segment given to ``began`` next must hold."""
        ...

    def unsynced_bytes(self) -> int: ...

    def sync(self) -> None:
        """Make durable what was written until now; a failure shows as ``error``."""
        ...

    def stop(self) -> None:
        """Sync a last time; no background work goes on after it."""
        ...

    def close(self) -> None: ...


class SyncBeforeReturn:
    """``sync="disk"``: ``fdatasync`` before the writer acknowledges (one per call; group commit comes later)."""

    error: OSError | None = None

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk, self._directory = disk, directory
        self._fd: int | None = None

    def began(self, fd: int, records: Sequence[RawRecord], size_bytes: int) -> None:
        self._disk.fdatasync(fd)
        self._disk.sync_directory(self._directory)
        self.close()
        self._fd = fd

    def wrote(self, records: Sequence[RawRecord], size_bytes: int) -> None:
        # Progress only narrows bounds, and nothing waits for it: the next START or FINISH syncs it along.
        if self._fd is not None and records[-1].type not in (FIRST, PROGRESS):
            self._disk.fdatasync(self._fd)

    def at_risk(self) -> list[RawRecord]:
        return []

    def unsynced_bytes(self) -> int:
        return 0

    def sync(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def close(self) -> None:
        if self._fd is not None:
            _close_quietly(self._disk, self._fd)
            self._fd = None


@dataclass(slots=True)
class _Unsynced:
    """What the next sync makes durable."""

    records: list[RawRecord] = field(default_factory=list)
    size_bytes: int = 0
    former_fds: list[int] = field(default_factory=list)
    """Segments that get no more, to be closed once synced."""
    new_name: bool = False

    def add(self, records: Sequence[RawRecord], size_bytes: int) -> None:
        self.records.extend(records)
        self.size_bytes += size_bytes

    def put_back(self, earlier: "_Unsynced") -> None:
        self.records[:0] = earlier.records
        self.size_bytes += earlier.size_bytes


class SyncInBackground:
    """``sync="os"``: a daemon thread calls ``fdatasync`` every ``interval_s`` while there is anything to sync.

    The thread never appends: it leaves ``error`` to the writer's next call, with the records at risk.
    """

    def __init__(self, disk: Disk, directory: Path, interval_s: float) -> None:
        self.error: OSError | None = None
        self._disk, self._directory, self._interval_s = disk, directory, interval_s
        self._state = threading.Lock()
        self._one_sync: Final = threading.Lock()
        self._fd: int | None = None
        self._unsynced = _Unsynced()
        self._handed_over = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def began(self, fd: int, records: Sequence[RawRecord], size_bytes: int) -> None:
        with self._state:
            if self._fd is not None:
                self._unsynced.former_fds.append(self._fd)
            if self._handed_over:
                self._forget()  # ``records`` holds all that was at risk: let the failed files go
            self._fd, self._unsynced.new_name = fd, True
            self._unsynced.add(records, size_bytes)

    def wrote(self, records: Sequence[RawRecord], size_bytes: int) -> None:
        with self._state:
            self._unsynced.add(records, size_bytes)

    def at_risk(self) -> list[RawRecord]:
        with self._state:
            # A sync that fails after this moment is for the segment after the next.
            self._handed_over = self.error is not None
            return list(self._unsynced.records) if self._handed_over else []

    def unsynced_bytes(self) -> int:
        return self._unsynced.size_bytes

    def sync(self) -> None:
        with self._one_sync:
            with self._state:
                if self.error is not None or self._fd is None or not self._unsynced.records:
                    return
                fd, batch, self._unsynced = self._fd, self._unsynced, _Unsynced()
            try:
                self._make_durable(fd, batch)
            except OSError as error:
                with self._state:
                    self._unsynced.put_back(batch)
                    self.error = error
            finally:
                for each in batch.former_fds:
                    _close_quietly(self._disk, each)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.sync()

    def close(self) -> None:
        with self._state:
            if self._fd is not None:
                self._unsynced.former_fds.append(self._fd)
                self._fd = None
            self._forget()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.sync()

    def _make_durable(self, fd: int, batch: "_Unsynced") -> None:
        for each in (*batch.former_fds, fd):
            self._disk.fdatasync(each)
        if batch.new_name:
            self._disk.sync_directory(self._directory)

    def _forget(self) -> None:
        for fd in self._unsynced.former_fds:
            _close_quietly(self._disk, fd)
        self._unsynced = _Unsynced()
        self.error, self._handed_over = None, False


def _close_quietly(disk: Disk, fd: int) -> None:
    with suppress(OSError):  # what had to be durable is synced, or lies in another file
        disk.close(fd)
