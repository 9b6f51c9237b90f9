"""Server-sent events out of bytes that arrive in any cuts.

``SseScanner.feed`` returns the events that the new bytes complete, each as the exact bytes that stood in the
stream, blank line included; what is left is the ``tail``. The concatenation of all events and the last tail is
the stream, byte for byte. Line ends are LF, CRLF or CR, mixed as they like (WHATWG HTML, "Server-sent events").
"""

import re

MAX_EVENT_BYTES = 1 << 20

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_PREAMBLE = re.compile(rb"(?:\xef\xbb\xbf)?(?:(?!(?:data|event)[:\r\n])[^\r\n]*(?:\r\n|\n|\r(?!\n)))*+")


class SseScanner:
    """Cuts a stream into events. An event over ``MAX_EVENT_BYTES`` is passed on in pieces that read as nothing."""

    __slots__ = ("_from", "oversized", "tail")

    def __init__(self) -> None:
        self.tail = b""
        self.oversized = False
        """The tail belongs to an event of which an earlier part was let go: it cannot be read."""
        self._from = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Events completed by ``data``; the last line end of a CR stream is known only from the byte after it."""
        buffer = self.tail + data if self.tail else data
        events: list[bytes] = []
        start = 0
        at = self._from
        lf_only = b"\r" not in buffer
        while True:
            if lf_only:
                found = buffer.find(b"\n\n", at)
                end = found + 2
            else:
                match = _END.search(buffer, at)
                found = -1 if match is None else match.start()
                end = -1 if match is None else match.end()
            # A CR at the very end may be half of a CRLF: wait for the next byte.
            if found < 0 or (end == len(buffer) and buffer.endswith(b"\r")):
                break
            events.append(buffer[start:end])
            start = at = end
        self.tail = buffer[start:] if start else buffer
        self._from = max(0, len(self.tail) - 3)
        return events

    def let_go(self, keep_bytes: int = 3) -> bytes:
        """Give up an event that has grown beyond the limit, but for the bytes in which its end may have begun."""
        gone, self.tail = self.tail[:-keep_bytes], self.tail[-keep_bytes:]
        self._from = max(0, len(self.tail) - 3)
        self.oversized = True
        return gone


def event_fields(raw: bytes) -> tuple[bytes, bytes]:
    """(event name, data) of one event; the data lines are joined by LF, an absent field is empty."""
    if raw.startswith(b"data: ") and raw.endswith(b"\n\n") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return b"", raw[6:-2]
    name = b""
    data: list[bytes] = []
    for line in _LINE.split(raw.removeprefix(_BOM)):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return name, b"\n".join(data)


def preamble_end(raw: bytes) -> int:
    """How much of an event's beginning is whole lines that say nothing: blank ones, comments, ids."""
    match = _PREAMBLE.match(raw)
    return 0 if match is None else match.end()
