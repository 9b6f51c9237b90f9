"""What the journal's tests share: records, a failing disk, and reading a directory to its end."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from submeter.core.record import Finish, Progress, Start, TokenClasses
from submeter.journal.disk import RealDisk
from submeter.journal.open_calls import OpenCalls, Settled
from submeter.journal.reader import Entry, JournalReader, Position
from submeter.journal.writer import JournalUnavailable, JournalWriter


def start(call_id: str, attempt: int = 1, **fields: object) -> Start:
    given = {"operation_id": call_id, "endpoint": "chat/completions", "upstream": "openai", "started_at_ns": 1} | fields
    return Start(call_id=call_id, attempt=attempt, **given)  # type: ignore[arg-type]


def progress(call_id: str, output_bytes: int = 0, attempt: int = 1) -> Progress:
    return Progress(call_id, attempt, ttft_ns=5, output_bytes=output_bytes)


def finish(call_id: str, attempt: int = 1, output_tokens: int = 7) -> Finish:
    return Finish(call_id, attempt, "ok", 200, usage=TokenClasses(input_uncached=3, output_text=output_tokens))


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FaultyDisk(RealDisk):
    """A real disk with room for ``free_bytes``, whose named calls fail as long, or as often, as they are told to.

    It remembers what was synced: ``cut_power`` leaves no more than that.
    """

    def __init__(self) -> None:
        self.free_bytes: int | None = None
        self.failing: dict[str, int] = {}
        """Calls left to fail, by name: open, write, short_write, fdatasync, ftruncate, unlink, sync_directory."""
        self.calls: list[tuple[str, object]] = []
        self._paths: dict[int, Path] = {}
        self._synced_bytes: dict[Path, int] = {}
        self._failed_sync: set[Path] = set()
        self.synced_after_failure: list[Path] = []

    def _maybe_fail(self, name: str, about: object, code: int = errno.EIO) -> None:
        self.calls.append((name, about))
        left = self.failing.get(name, 0)
        if left:
            self.failing[name] = left - 1
            raise OSError(code, os.strerror(code))

    def open(self, path: Path, flags: int) -> int:
        self._maybe_fail("open", path)
        fd = super().open(path, flags)
        self._paths[fd] = path
        self._synced_bytes[path] = 0
        return fd

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        self._maybe_fail("write", self._paths[fd])
        if self.failing.get("short_write", 0):
            self.failing["short_write"] -= 1
            return os.write(fd, data[: len(data) * 2 // 3])
        if self.free_bytes is not None:
            if self.free_bytes == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.free_bytes]
            self.free_bytes -= len(data)
        return os.write(fd, data)

    def fdatasync(self, fd: int) -> None:
        path = self._paths[fd]
        if path in self._failed_sync:
            self.synced_after_failure.append(path)
        try:
            self._maybe_fail("fdatasync", path)
        except OSError:
            self._failed_sync.add(path)
            raise
        self._synced_bytes[path] = os.fstat(fd).st_size

    def ftruncate(self, fd: int, length: int) -> None:  # type: ignore[override]
        self._maybe_fail("ftruncate", self._paths[fd])
        if self.free_bytes is not None:
            self.free_bytes += os.fstat(fd).st_size - length
        os.ftruncate(fd, length)

    def unlink(self, path: Path) -> None:
        self._maybe_fail("unlink", path)
        if self.free_bytes is not None:
            self.free_bytes += path.stat().st_size
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        self._maybe_fail("sync_directory", path)

    def cut_power(self) -> None:
        for path, synced_bytes in self._synced_bytes.items():
            if path.exists():
                os.truncate(path, min(synced_bytes, path.stat().st_size))


@contextmanager
def writing(directory: Path, **options: object) -> Iterator[JournalWriter]:
    """A writer that syncs only when told to, closed at the end."""
    given: dict[str, object] = {"sync_interval_s": 3600.0} | options
    writer = JournalWriter(directory, **given)  # type: ignore[arg-type]
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def reading(directory: Path, position: Position | None = None) -> Iterator[JournalReader]:
    reader = JournalReader(directory, position)
    try:
        yield reader
    finally:
        reader.close()


def drain(reader: JournalReader, max_records: int = 500) -> list[Entry]:
    entries: list[Entry] = []
    while batch := reader.read(max_records):
        entries += batch
    return entries


def entries_of(directory: Path, position: Position | None = None) -> list[Entry]:
    """All there is to read now, which must be free of damage."""
    with reading(directory, position) as reader:
        entries = drain(reader)
        assert (reader.corrupt_records, reader.unknown_records, reader.missing_records) == (0, 0, 0)
    return entries


def records_of(entries: list[Entry], *types: type) -> list[object]:
    return [entry.record for entry in entries if isinstance(entry.record, types)]


def settle(entries: list[Entry], calls: OpenCalls | None = None) -> list[Settled]:
    calls = OpenCalls() if calls is None else calls
    return [settled for entry in entries for settled in calls.feed(entry)]


def start_until_refused(writer: JournalWriter) -> tuple[int, str]:
    """How many calls "0", "1", … were begun, and why not one more."""
    for number in range(10_000):
        try:
            writer.start(start(str(number)))
        except JournalUnavailable as refusal:
            return number, str(refusal)
    raise AssertionError("never refused")


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))
