"""Request bodies as strict JSON objects (FAULTS 14): their top-level members, each as the bytes that stood there.

One pass finds the members; nothing is decoded that nobody asks for. Every check is linear in the body's size.
"""

import re
from array import array
from collections.abc import Iterator
from itertools import accumulate

import msgspec

from submeter.core.errors import INVALID_JSON, INVALID_VALUE, Refusal

MAX_NESTING = 128

Members = dict[str, msgspec.Raw]

_decoder = msgspec.json.Decoder(Members)
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""A whole pair of surrogates, a lone one (the group), or any other escape."""
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_NOT_STRUCTURE = bytes(byte for byte in _NOT_BRACKETS if byte not in b'"')
_STEPS = bytes.maketrans(b"[{]}", array("b", [1, 1, -1, -1]).tobytes())
_INTEGER = re.compile(rb"-?[0-9]+\Z")
_INT64 = range(-(1 << 63), 1 << 63)


class JsonBody:
    """The members of a body that is one valid JSON object. Raises ``Refusal`` for everything else."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._readable = body
        """``body``, or what stands for it byte by byte and can be decoded."""
        self.lone_surrogates = False
        self.members = self._read(body)
        if not _looks_dumped(body, self.members):
            list(_values(self._readable, self.members))
        if _too_deep(body):
            raise Refusal(INVALID_JSON)

    def text(self, name: str, *, limit: int = 256) -> str | None:
        """A member that will be stored; ``None`` when absent or no string."""
        raw = self.members.get(name)
        return None if raw is None else self.stored_text(raw, name, limit=limit)

    def stored_text(self, raw: msgspec.Raw, param: str, *, limit: int = 256) -> str | None:
        """A value of this body that will be stored; ``None`` when no string, refused with NUL or a lone surrogate."""
        if bytes(raw)[:1] != b'"':
            return None
        value = msgspec.json.decode(raw, type=str)
        if "\x00" in value or (self.lone_surrogates and "\ufffd" in value):
            raise Refusal(INVALID_VALUE, param)
        return value[:limit]

    def integer(self, name: str) -> int | None:
        """A whole number; ``None`` when absent or of another type. Beyond int64 it is refused (FAULTS 14)."""
        raw = self.members.get(name)
        if raw is None:
            return None
        data = bytes(raw)
        if _INTEGER.match(data) is None:
            return None
        if len(data) > 20 or int(data) not in _INT64:
            raise Refusal(INVALID_JSON, name)
        return int(data)

    def replaced(self, name: str, value: bytes) -> bytes:
        """The body with one top-level member set; all other bytes stay as they are."""
        for known, start, end in _values(self._readable, self.members):
            if known == name:
                return self.body[:start] + value + self.body[end:]
        head, brace, tail = self.body.rpartition(b"}")
        comma = b"," if self.members else b""
        return head + comma + msgspec.json.encode(name) + b":" + value + brace + tail

    def _read(self, body: bytes) -> Members:
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError:
                raise Refusal(INVALID_JSON) from None
        try:
            return _decoder.decode(body)
        except (msgspec.DecodeError, RecursionError):
            pass
        # Some clients cut a string between two surrogates, and providers take that: read on without them.
        self._readable = _without_lone_surrogates(body)
        if self._readable == body:
            raise Refusal(INVALID_JSON)
        self.lone_surrogates = True
        try:
            return _decoder.decode(self._readable)
        except (msgspec.DecodeError, RecursionError):
            raise Refusal(INVALID_JSON) from None


def _without_lone_surrogates(body: bytes) -> bytes:
    """Same length, every escaped surrogate without a partner replaced by an escaped U+FFFD."""
    return _ESCAPE.sub(lambda escape: escape[0] if escape[1] is None else b"\\ufffd", body)


def _looks_dumped(body: bytes, members: Members) -> bool:
    """Do the members, written as the usual encoders write them, give exactly this body? Then no name is there twice."""
    comma, colon = (b", ", b'": ') if b'": ' in body[:300] else (b",", b'":')
    pairs = [b'"' + name.encode("utf-8", "replace") + colon + bytes(raw) for name, raw in members.items()]
    return b"{" + comma.join(pairs) + b"}" == body


def _values(body: bytes, members: Members) -> Iterator[tuple[str, int, int]]:
    """(name, start, end) of each member's value, found without reading the values: each is skipped by the length of the
    one kept under its name, if it is the same. If not, the name is written twice, and that is refused, because JSON
    leaves open which one counts: the provider might take the other.
    """
    at = _skip(body, body.index(b"{") + 1)
    seen: set[str] = set()
    while (written := _STRING.match(body, at)) is not None:
        name = msgspec.json.decode(written.group(), type=str)
        raw = bytes(members[name])
        start = _skip(body, _skip(body, written.end()) + 1)
        end = start + len(raw)
        after = _skip(body, end)
        if name in seen or body[start:end] != raw or body[after : after + 1] not in (b",", b"}"):
            raise Refusal(INVALID_JSON)
        yield name, start, end
        seen.add(name)
        at = _skip(body, after + 1)


def _skip(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return at if match is None else match.end()


def _too_deep(body: bytes) -> bool:
    """Nesting over ``MAX_NESTING``, by C-speed passes: drop strings, then add up the brackets."""
    if len(body.translate(None, _NOT_BRACKETS)) <= 2 * MAX_NESTING:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(body.translate(None, _NOT_STRUCTURE).split(b'"')[::2])
    return max(accumulate(array("b", brackets.translate(_STEPS)))) > MAX_NESTING
