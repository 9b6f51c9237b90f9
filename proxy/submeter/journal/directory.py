"""One relay's directory: the names of its segments, and the lock that its one writer holds for life.

<journal>/<relay>/lock                       flock; holds the writer's process id
<journal>/<relay>/00000000000000000012.seg   segments, in the order of their names
<journal>/<relay>/quarantine/                copies of damaged bytes (``reader``)
"""

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from submeter.errors import UsageError

SEGMENT_SUFFIX: Final = ".seg"
LOCK_NAME: Final = "lock"
QUARANTINE_NAME: Final = "quarantine"
_SEQUENCE_DIGITS: Final = 20
_LOCK_POLL_S: Final = 0.02


class JournalLocked(UsageError):
    """Another process holds the directory."""


def segment_path(directory: Path, sequence: int) -> Path:
    return directory / f"{sequence:0{_SEQUENCE_DIGITS}d}{SEGMENT_SUFFIX}"


def segment_sequences(names: Iterable[str]) -> list[int]:
    """The sequences of those names that are segments', ascending."""
    stems = (name.removesuffix(SEGMENT_SUFFIX) for name in names if name.endswith(SEGMENT_SUFFIX))
    return sorted(int(stem) for stem in stems if len(stem) == _SEQUENCE_DIGITS and stem.isdecimal())


def list_sequences(directory: Path) -> list[int]:
    """The segments of a directory, ascending; none if there is no such directory."""
    try:
        return segment_sequences(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []


def relay_directories(journal_dir: Path) -> list[Path]:
    """Every directory in which a relay writes or has written, by name."""
    try:
        return sorted(path for path in journal_dir.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def remove_until(directory: Path, sequence: int) -> int:
    """Unlink the segments below ``sequence``; how many there were. The rule for when: ``open_calls``."""
    removed = [found for found in list_sequences(directory) if found < sequence]
    for found in removed:
        segment_path(directory, found).unlink(missing_ok=True)
    return len(removed)


def acquire_lock(directory: Path, patience_s: float) -> int:
    """The descriptor that holds the lock until it is closed, or its process dies.

    Waits up to ``patience_s`` for a predecessor that is dying; then raises ``JournalLocked``.
    """
    fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + patience_s
    while not _try_lock(fd, fcntl.LOCK_EX):
        if time.monotonic() >= deadline_s:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace")
            os.close(fd)
            raise JournalLocked(
                f"the journal directory {directory} is held by process {holder}: stop that relay, "
                "or give this one another data directory"
            )
        time.sleep(_LOCK_POLL_S)
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def writer_alive(directory: Path) -> bool:
    """Whether a process holds the directory's lock. A writer that starts at this very moment waits out the probe."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _try_lock(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
