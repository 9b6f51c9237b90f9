"""One segment file, read forward while it may still grow."""

import os
from pathlib import Path
from typing import Final, NamedTuple

from submeter.journal.directory import segment_path
from submeter.journal.format import HEADER_BYTES, MAX_FRAME_BYTES, Frame, Header, decode, decode_header

CHUNK_BYTES: Final = 256 * 1024
assert CHUNK_BYTES > MAX_FRAME_BYTES


class Damage(NamedTuple):
    """Bytes of a segment, from ``offset`` on, that are no record."""

    offset: int
    data: bytes


def read_header(directory: Path, sequence: int) -> Header | None:
    """``None`` if there is no such segment, or no valid header in it (yet)."""
    try:
        with segment_path(directory, sequence).open("rb") as segment:
            return decode_header(segment.read(HEADER_BYTES))
    except FileNotFoundError:
        return None


class SegmentReader:
    """Frames of one segment in order. It keeps no bytes between two calls: a writer may cut back what was seen torn.

    Raises ``FileNotFoundError`` if the segment is gone; every method may raise ``OSError`` of a failing disk.
    """

    def __init__(self, directory: Path, sequence: int) -> None:
        self.sequence = sequence
        self.offset = 0
        """Just behind the last frame, or damage, returned; 0 while there is no header."""
        self.header: Header | None = None
        self._seed = 0
        self._fd = os.open(segment_path(directory, sequence), os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._fd)

    def load_header(self) -> bool:
        """True when it is there and valid; false if it is not, or not yet."""
        if self.header is None:
            header = decode_header(os.pread(self._fd, HEADER_BYTES, 0))
            if header is None or header.sequence != self.sequence:
                return False
            self.header, self._seed, self.offset = header, header.crc, HEADER_BYTES
        return True

    def read(self, max_items: int) -> list[tuple[Frame, int] | Damage]:
        """The next frames, each with the file offset behind it, and the damage between them. Needs the header.

        Empty when no valid frame follows: the end, a frame that is being written, or a bad tail (``rest``).
        """
        chunk = os.pread(self._fd, CHUNK_BYTES, self.offset)
        items = self._decode(chunk, max_items)
        if not items and len(chunk) == CHUNK_BYTES:  # damage longer than a chunk
            items = self._decode(self.rest(), max_items)
        return items

    def rest(self) -> bytes:
        """All bytes from ``offset`` on."""
        return os.pread(self._fd, max(0, os.fstat(self._fd).st_size - self.offset), self.offset)

    def unlinked(self) -> bool:
        """The writer could not complete it and took it back, or it was removed as shipped."""
        return os.fstat(self._fd).st_nlink == 0

    def _decode(self, chunk: bytes, max_items: int) -> list[tuple[Frame, int] | Damage]:
        base, at = self.offset, 0
        items: list[tuple[Frame, int] | Damage] = []
        while len(items) < max_items and (found := decode(chunk, at, self._seed)) is not None:
            if isinstance(found, Frame):
                items.append((found, base + found.end))
            elif self._still(damage := Damage(base + at, chunk[at : found.end])):
                items.append(damage)
            else:
                break
            at = found.end
        self.offset = base + at
        return items

    def _still(self, damage: Damage) -> bool:
        """Not so when the read had run into a write: a torn record that was just cut back and written anew."""
        return os.pread(self._fd, len(damage.data), damage.offset) == damage.data
