"""Events -> the bytes on the wire, and where they are cut into writes."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from submeter.scripted.dialect import Event
from submeter.scripted.script import LineEnd, Script

_LINE_ENDS: dict[LineEnd, bytes] = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
_GZIP_WINDOW = 31


class Frame(NamedTuple):
    event: Event
    data: bytes


def frames(events: Iterable[Event], script: Script) -> Iterator[Frame]:
    """Every event as the script wants it written, compressed where it wants that."""
    plain = _plain(events, script)
    return _compressed(plain) if script.gzip else plain


def event_bytes(event: Event, script: Script, *, spoil: bool = False) -> bytes:
    """One server-sent event, with the script's line ends and, if ``spoil``, its malformation."""
    if not event.data:
        return b""
    end = _LINE_ENDS[script.line_end]
    comment = b": keep-alive" + end + end if script.comments else b""
    name = b"event: " + event.name.encode() + end if event.name is not None else b""
    data = b"data: " + (_spoil(event.data, script) if spoil else event.data) + end
    blank = b"" if spoil and script.malformed == "no_blank_line" else end
    return comment + name + data + blank


def whole_body(body: bytes, script: Script) -> bytes:
    """A whole answer's body, spoiled and compressed as the script wants it."""
    if script.malformed is not None:
        body = _spoil(body, script)
    return gzip.compress(body, mtime=0) if script.gzip else body


def cutter(script: Script) -> "Cutter":
    if script.chunk_bytes is not None:
        return Cutter(every(script.chunk_bytes))
    return Cutter(inside_character if script.split_utf8 else uncut)


Cut = Callable[[bytes], tuple[list[bytes], bytes]]
"""Bytes in; the pieces to write now, and what is held back for later, out."""


class Cutter:
    """Decides which bytes go out together."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        pieces, self._held = self._cut(self._held + data)
        return pieces

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        return held


def uncut(data: bytes) -> tuple[list[bytes], bytes]:
    return ([data] if data else []), b""


def every(size: int) -> Cut:
    def cut(data: bytes) -> tuple[list[bytes], bytes]:
        whole = len(data) - len(data) % size
        return [data[start : start + size] for start in range(0, whole, size)], data[whole:]

    return cut


def inside_character(data: bytes) -> tuple[list[bytes], bytes]:
    """Two pieces that meet inside the first multi-byte character; one where there is none."""
    lead = next((place for place, byte in enumerate(data) if byte >= 0xC0), None)
    if lead is None:
        return uncut(data)
    return [piece for piece in (data[: lead + 1], data[lead + 1 :]) if piece], b""


def _plain(events: Iterable[Event], script: Script) -> Iterator[Frame]:
    spoiled = script.malformed is None
    for event in events:
        spoil = not spoiled and event.piece is not None and bool(event.data)
        spoiled = spoiled or spoil
        yield Frame(event, event_bytes(event, script, spoil=spoil))


def _compressed(plain: Iterable[Frame]) -> Iterator[Frame]:
    deflate = zlib.compressobj(wbits=_GZIP_WINDOW)
    for event, data in plain:
        yield Frame(event, deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH) if data else b"")
    yield Frame(Event(b""), deflate.flush())


def _spoil(data: bytes, script: Script) -> bytes:
    """A JSON object that is no longer good JSON, or no longer of a decent size."""
    match script.malformed:
        case "bad_json":
            return data[:-1]
        case "bad_utf8":
            return data[:-1] + b',"spoiled":"\xff\xfe"}'
        case "huge_line":
            return data[:-1] + b',"padding":"' + b"x" * script.huge_bytes + b'"}'
        case _:
            return data
