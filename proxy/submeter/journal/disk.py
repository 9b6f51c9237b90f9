"""The system calls of the writer that may fail, as one small protocol: tests put a failing disk in its place."""

import os
from pathlib import Path
from typing import Final, Protocol


class Disk(Protocol):
    """Every method raises ``OSError`` as the call it is named after does."""

    def open(self, path: Path, flags: int) -> int:
        """A file created by it has mode 0600."""
        ...

    def write(self, fd: int, data: bytes) -> int:
        """How many bytes were written; fewer than asked for is possible."""
        ...

    def fdatasync(self, fd: int) -> None: ...

    def ftruncate(self, fd: int, length: int) -> None: ...

    def close(self, fd: int) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def listdir(self, path: Path) -> list[str]: ...

    def size(self, path: Path) -> int:
        """Bytes of the file at ``path``."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable: a synced file under a lost name is lost."""
        ...


class RealDisk:
    write = staticmethod(os.write)
    ftruncate = staticmethod(os.ftruncate)
    close = staticmethod(os.close)

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags, 0o600)

    def fdatasync(self, fd: int) -> None:
        # macOS has no fdatasync; its fsync does the same duty.
        getattr(os, "fdatasync", os.fsync)(fd)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def listdir(self, path: Path) -> list[str]:
        return [entry.name for entry in path.iterdir()]

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


REAL_DISK: Final = RealDisk()
