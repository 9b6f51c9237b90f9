"""What a relay asks the meter's counting service, and how the two speak: one question, one reply, each in a frame.

A frame is two big-endian 32-bit numbers, the payload's length and the question's number, and then the payload in
MessagePack: a ``Question`` one way, a ``Counted`` or nil the other. Replies come in any order. Text goes through
the socket and through memory, never into a file.
"""

import struct
from typing import TypeVar

import msgspec

from submeter.core.record import Counted

SOCKET_NAME = "counting.sock"
"""In the data directory."""
MAX_SOCKET_PATH_BYTES = 103
"""What fits into a socket's address everywhere (macOS 104, Linux 108, each with a closing NUL)."""
DEADLINE_S = 0.1
"""From question to reply; a call waits no longer for its FINISH."""
MAX_BODY_BYTES = 2 << 20
MAX_OUTPUT_BYTES = 256 << 10
"""Of what is sent to be counted; of larger ones nothing is counted."""
MAX_FRAME_BYTES = MAX_BODY_BYTES + MAX_OUTPUT_BYTES + (64 << 10)

T = TypeVar("T")
_HEADER = struct.Struct(">II")


class Question(msgspec.Struct, frozen=True, array_like=True):
    """What is there to be counted of one call."""

    endpoint: str
    model: str | None
    """The one served, else the one asked for."""
    body: bytes | None
    """The request's body; None where its tokens are known or cannot be counted."""
    content: bytes | None
    """The output text that was seen, as the inside of a JSON string; None where none was, or too much."""
    other: bytes | None
    """Likewise reasoning and tool calls."""
    plain: bool
    """The output is one text, of which all that came was read: one choice, no tool call, no unreadable event."""


_questions = msgspec.msgpack.Decoder(Question)
_replies: msgspec.msgpack.Decoder[Counted | None] = msgspec.msgpack.Decoder(Counted | None)


class BadFrame(ValueError):
    """The other side does not speak this protocol."""


class Frames:
    """Bytes in as they come, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(number, payload) of each frame that ``data`` completes. Raises ``BadFrame`` for one over the limit."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= _HEADER.size:
            size, number = _HEADER.unpack_from(self._buffer)
            if size > MAX_FRAME_BYTES:
                raise BadFrame
            end = _HEADER.size + size
            if len(self._buffer) < end:
                break
            frames.append((number, bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return frames


def frame(number: int, message: Question | Counted | None) -> bytes:
    payload = msgspec.msgpack.encode(message)
    return _HEADER.pack(len(payload), number) + payload


def read_question(payload: bytes) -> Question:
    """Raises ``BadFrame``."""
    return _decoded(_questions, payload)


def read_reply(payload: bytes) -> Counted | None:
    """Raises ``BadFrame``."""
    return _decoded(_replies, payload)


def _decoded(decoder: msgspec.msgpack.Decoder[T], payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadFrame from None
