"""An answer's body on its way through: what may be passed on now, what is held back, what is read of it.

Four kinds, one interface: ``feed`` takes bytes and returns those that may go to the client at once, ``end`` gives
up what was held. All bytes come out in order and unchanged, but for the usage chunk that the relay itself had asked
for. Held back is only what could be the answer's end, so that FINISH can be journalled before it (README, the
complete list).
"""

import re
import zlib
from typing import Protocol

from submeter.core.dialect import Dialect
from submeter.core.sse import MAX_EVENT_BYTES, SseScanner, event_fields, preamble_end

MAX_WHOLE_BYTES = 8 << 20
KEPT_TAIL_BYTES = 64 << 10
MAX_INFLATED_BYTES = 64 << 20
MAX_INFLATE_RATIO = 100

_OPEN_CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*[^\]\s]')
_USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*(?=\{)')


class Body(Protocol):
    ended: bool
    """The answer's end has been read; what comes after it passes through."""
    missed: bool
    """Some of it could not be read: whether the answer came to its end cannot be told."""

    def feed(self, data: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class EventBody:
    """A stream of server-sent events."""

    def __init__(self, dialect: Dialect, *, strip_usage: bool) -> None:
        self.ended = False
        self.missed = False
        self._dialect = dialect
        self._strip = strip_usage
        self._scanner = SseScanner()
        self._passed = 0
        """How many bytes of the unfinished event have been passed on already."""
        self._large_end = False
        """The unfinished event is over the limit, and it may be the one that ends the answer."""

    def feed(self, data: bytes) -> bytes:
        scanner = self._scanner
        unreadable, scanner.oversized = scanner.oversized, False
        events = scanner.feed(data)
        out = [self._pass(raw, unreadable=unreadable and at == 0) for at, raw in enumerate(events)]
        scanner.oversized = unreadable and not events
        out.append(self._pass_tail())
        return b"".join(out) if len(out) != 1 else out[0]

    def end(self) -> bytes:
        """The rest of a stream that ends without a blank line: read all the same."""
        tail, self._scanner.tail = self._scanner.tail, b""
        return self._pass(tail, unreadable=self._scanner.oversized) if tail else b""

    def _pass(self, raw: bytes, *, unreadable: bool) -> bytes:
        passed, self._passed = self._passed, 0
        if self.ended:
            return raw[passed:]
        if unreadable:
            self._read_large(raw)
            return raw[passed:]
        kind = self._dialect.read_event(*event_fields(raw))
        self.ended = kind == "end"
        if kind == "usage_chunk" and self._strip and passed <= (start := preamble_end(raw)):
            return raw[passed:start]
        return raw[passed:]

    def _pass_tail(self) -> bytes:
        tail = self._scanner.tail
        if not tail:
            return b""
        if len(tail) > MAX_EVENT_BYTES:
            return self._let_go(tail)
        upto = self._passable(tail)
        out = tail[self._passed : upto]
        self._passed = max(self._passed, upto)
        return out

    def _passable(self, tail: bytes) -> int:
        """How much of an unfinished event may be passed on: all, or what stands before a line that must wait."""
        if self._large_end:
            return 0
        if self.ended or self._scanner.oversized:
            return len(tail)
        start = preamble_end(tail)
        if self._passed > start:
            return len(tail)  # it was found to be an ordinary one
        rest = tail[start:]
        may_be_usage = self._strip and _OPEN_CHOICE.search(rest) is None
        return start if may_be_usage or self._dialect.may_end(rest) else len(tail)

    def _let_go(self, tail: bytes) -> bytes:
        """An event over the limit. Of what may be the answer's end the last part stays held: its usage stands there."""
        if not self.ended and not self._scanner.oversized:
            start = preamble_end(tail)
            self._large_end = self._passed <= start and self._dialect.may_end(tail[start:])
            self.missed = self.missed or not self._large_end
        gone = self._scanner.let_go(KEPT_TAIL_BYTES if self._large_end else 3)
        upto = len(gone) if self._large_end else len(tail)
        out = tail[self._passed : upto]
        self._passed = upto - len(gone)
        return out

    def _read_large(self, raw: bytes) -> None:
        if self._large_end:
            self._large_end = False
            self._dialect.read_whole(_usage_in(raw))
            self.ended = True


class PassedBody:
    """A body that nothing is read of."""

    ended = False
    missed = True

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class WholeBody:
    """A body that ends where HTTP says: the last byte is held until ``end``, the rest passes."""

    def __init__(self, dialect: Dialect | None, *, keep_bytes: int = MAX_WHOLE_BYTES) -> None:
        self.ended = False
        self.missed = dialect is None
        self._dialect = dialect
        self._keep_bytes = keep_bytes
        self._kept = bytearray()
        self._cut = False
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._dialect is not None:
            self._keep(data)
        out = self._held + data[:-1]
        self._held = data[-1:]
        return out

    def end(self) -> bytes:
        self.ended = True
        if self._dialect is not None:
            kept = bytes(self._kept)
            self._dialect.read_whole(_usage_in(kept) if self._cut else kept)
        self._kept.clear()
        held, self._held = self._held, b""
        return held

    def _keep(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > self._keep_bytes or self._cut:
            self._cut = True
            del self._kept[:-KEPT_TAIL_BYTES]


class EncodedBody:
    """A compressed body that came although ``identity`` was asked for: passed as sent, read as an inflated copy."""

    def __init__(self, inner: EventBody | WholeBody) -> None:
        self.ended = False
        self.missed = False
        self._inner = inner
        self._inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever the header says
        self._taken = 0
        self._inflated = 0
        self._readable = True
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._readable:
            self._inner.feed(self._inflated_copy(data))
            self.ended = self._inner.ended
            self.missed = self._inner.missed or not self._readable
        held, self._held = self._held + data, b""
        if not self.ended:
            held, self._held = held[:-1], held[-1:]
        return held

    def end(self) -> bytes:
        self._inner.end()
        self.ended = self._inner.ended
        held, self._held = self._held, b""
        return held

    def _inflated_copy(self, data: bytes) -> bytes:
        """As much as the limits allow; what is beyond them, broken or a second member is not read."""
        self._taken += len(data)
        budget = min(MAX_INFLATED_BYTES, MAX_INFLATE_RATIO * self._taken + 1024) - self._inflated
        try:
            plain = self._inflate.decompress(data, max(1, budget))
        except zlib.error:
            self._readable = False
            return b""
        self._inflated += len(plain)
        self._readable = not (self._inflate.unconsumed_tail or self._inflate.unused_data)
        return plain


def _usage_in(tail: bytes) -> bytes:
    """The last usage object in the end of a large answer, as an answer of its own."""
    found = [match.end() for match in _USAGE_OBJECT.finditer(tail)]
    return b'{"usage":' + _first_object(tail[found[-1] :]) + b"}" if found else b""


def _first_object(data: bytes) -> bytes:
    """The JSON object at the start of ``data``, by its braces; usage blocks have no strings with braces in them."""
    depth = 0
    for match in re.finditer(rb"[{}]", data):
        depth += 1 if match.group() == b"{" else -1
        if depth == 0:
            return data[: match.end()]
    return b"null"
