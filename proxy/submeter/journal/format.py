"""The bytes of a segment. Pure: bytes ↔ records, no I/O.

A segment is one header, then frames; integers are little-endian::

    header   magic 8 | version u16 | 0 u16 | instance 16 | boot 16 | sequence u64 |
             acknowledged lsn u64 | first lsn u64 | crc u32
    frame    magic 4 | length u32 | crc u32 | lsn u64 | type u8 | version u8 | payload, ``length`` bytes of msgpack

A header's CRC32 is over all that precedes it. A frame's is over (header, lsn, type, version, payload), so a frame
that lies in another segment than the one it was written for is no frame. The frame magic holds bytes that
UTF-8 never has: no string of a caller can look like the begin of a frame.

``lsn`` numbers the records of an instance from 1. A record that is copied to a later segment keeps its lsn.
Within a segment the lsns that are not copies follow each other without a hole, from ``first_lsn`` on; numbers between
``acknowledged_lsn`` and ``first_lsn`` were given to records that the disk refused: nobody misses them.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from submeter.core.record import Finish, Progress, Start, Tally

FORMAT_VERSION: Final = 1
RECORD_VERSION: Final = 1
MAX_PAYLOAD_BYTES: Final = 16 * 1024

SEGMENT_MAGIC: Final = b"SUBMETER"
FRAME_MAGIC: Final = b"\xffSM\xf5"

_HEADER: Final = struct.Struct("<8sH2x16s16sQQQ")
_CRC: Final = struct.Struct("<I")
_PREFIX: Final = struct.Struct("<4sII")
_META: Final = struct.Struct("<QBB")

HEADER_BYTES: Final = _HEADER.size + _CRC.size
FRAME_HEAD_BYTES: Final = _PREFIX.size + _META.size
MAX_FRAME_BYTES: Final = FRAME_HEAD_BYTES + MAX_PAYLOAD_BYTES


class RecordTooLarge(ValueError):
    """A record's payload is over ``MAX_PAYLOAD_BYTES``; nothing was written."""


class Began(msgspec.Struct, frozen=True, array_like=True):
    """The first record of every segment: which process writes here. A new instance shows by it, calls or none."""

    pid: int
    submeter_version: str


Record = Began | Start | Progress | Finish | Tally

BEGAN: Final = 1
START: Final = 2
OPEN: Final = 3
"""A copy of the START of a call that is still open when a new segment begins."""
FIRST: Final = 4
PROGRESS: Final = 5
FINISH: Final = 6
TALLY: Final = 7

# Fields are only ever added, at the end and with a default; another change of a struct takes a new version, and a row.
_DECODERS: Final[dict[tuple[int, int], msgspec.msgpack.Decoder[Record]]] = {
    (BEGAN, 1): msgspec.msgpack.Decoder(Began),
    (START, 1): msgspec.msgpack.Decoder(Start),
    (OPEN, 1): msgspec.msgpack.Decoder(Start),
    (FIRST, 1): msgspec.msgpack.Decoder(Progress),
    (PROGRESS, 1): msgspec.msgpack.Decoder(Progress),
    (FINISH, 1): msgspec.msgpack.Decoder(Finish),
    (TALLY, 1): msgspec.msgpack.Decoder(Tally),
}
_encoder: Final = msgspec.msgpack.Encoder()


class Header(NamedTuple):
    """What a segment is: its writer's instance (16 bytes), the machine's boot (16 bytes), its place in the order."""

    instance: bytes
    boot: bytes
    sequence: int
    acknowledged_lsn: int
    """The highest lsn acknowledged before this segment was begun; 0: none."""
    first_lsn: int
    """Records below it are copies."""

    @property
    def crc(self) -> int:
        """The segment's identity, from which every frame's CRC goes on: ``seed`` below."""
        return zlib.crc32(self._body())

    def encode(self) -> bytes:
        body = self._body()
        return body + _CRC.pack(zlib.crc32(body))

    def _body(self) -> bytes:
        return _HEADER.pack(SEGMENT_MAGIC, FORMAT_VERSION, *self)


class Frame(NamedTuple):
    """One valid frame; ``end`` is the offset in the buffer just behind it."""

    lsn: int
    type: int
    version: int
    payload: bytes
    end: int


class Corrupt(NamedTuple):
    """Bytes that are no frame, up to ``end``, where a valid one begins."""

    end: int


def decode_header(buffer: bytes) -> Header | None:
    """The header at the begin of ``buffer``; ``None`` if there is none, not all of it, or one of another version."""
    if len(buffer) < HEADER_BYTES:
        return None
    magic, version, *fields = _HEADER.unpack_from(buffer)
    if magic != SEGMENT_MAGIC or version != FORMAT_VERSION:
        return None
    header = Header(*fields)
    return header if header.encode() == buffer[:HEADER_BYTES] else None


def encode_payload(record: Record) -> bytes:
    """Raises ``RecordTooLarge``, and what msgspec raises for a string that is not UTF-8 or an integer over 64 bits."""
    payload = _encoder.encode(record)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RecordTooLarge(
            f"a {type(record).__name__} record of {len(payload)} bytes is over the journal's limit of "
            f"{MAX_PAYLOAD_BYTES}: shorten the attribution of the call"
        )
    return payload


def encode_frame(seed: int, lsn: int, kind: int, payload: bytes) -> bytes:
    """One frame for the segment whose header CRC is ``seed``."""
    body = _META.pack(lsn, kind, RECORD_VERSION) + payload
    return _PREFIX.pack(FRAME_MAGIC, len(payload), zlib.crc32(body, seed)) + body


def decode(buffer: bytes, offset: int, seed: int) -> Frame | Corrupt | None:
    """What stands at ``offset``: a valid frame, bad bytes before the next valid frame, or neither.

    ``None`` means that no valid frame lies between here and the end of the buffer: the rest is empty, unfinished,
    torn or damaged. Only who knows whether the file can still grow can tell which (``reader``).
    """
    frame = _frame_at(buffer, offset, seed)
    if frame is not None:
        return frame
    candidate = buffer.find(FRAME_MAGIC, offset + 1)
    while candidate >= 0:
        if _frame_at(buffer, candidate, seed) is not None:
            return Corrupt(candidate)
        candidate = buffer.find(FRAME_MAGIC, candidate + 1)
    return None


def frames(buffer: bytes, offset: int, seed: int) -> Iterator[Frame]:
    """Every valid frame from ``offset`` on, in order; what lies between them is passed over."""
    while (found := decode(buffer, offset, seed)) is not None:
        if isinstance(found, Frame):
            yield found
        offset = found.end


def decode_record(frame: Frame) -> Record | None:
    """``None`` for a type or version that this program does not know, or a payload that it cannot read."""
    decoder = _DECODERS.get((frame.type, frame.version))
    if decoder is None:
        return None
    try:
        return decoder.decode(frame.payload)
    except msgspec.DecodeError:
        return None


def _frame_at(buffer: bytes, offset: int, seed: int) -> Frame | None:
    if offset + FRAME_HEAD_BYTES > len(buffer):
        return None
    magic, length, crc = _PREFIX.unpack_from(buffer, offset)
    end = offset + FRAME_HEAD_BYTES + length
    if magic != FRAME_MAGIC or length > MAX_PAYLOAD_BYTES or end > len(buffer):
        return None
    body = buffer[offset + _PREFIX.size : end]
    if zlib.crc32(body, seed) != crc:
        return None
    lsn, kind, version = _META.unpack_from(body)
    return Frame(lsn, kind, version, body[_META.size :], end)
