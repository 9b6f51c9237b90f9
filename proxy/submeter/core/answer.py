"""What has been seen of an answer, and the readers of its raw JSON leaves. None of them raises."""

import re
from typing import TypeVar

import msgspec

from submeter.core.counting import MAX_OUTPUT_BYTES
from submeter.core.record import TokenClasses
from submeter.core.usage import Usage

T = TypeVar("T")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_NUMBER = re.compile(rb"(?<=[:,\[\s])-?(?:NaN|Infinity)(?=\s*[,\]}])")
Raw = msgspec.Raw
EMPTY = Raw(b"")
NOTHING = (b"", b"null", b'""', b"[]", b"{}")


class Answer:
    """What has been seen of an answer so far."""

    __slots__ = (
        "complete",
        "content",
        "content_seen",
        "cost_usd",
        "deferred",
        "error_seen",
        "finish_reason",
        "finished_choices",
        "keeps",
        "model",
        "other",
        "output_bytes",
        "region",
        "room",
        "seen",
        "service_tier",
        "token_seen",
        "tool_calls",
        "unreadable",
        "usage",
        "usage_problem",
        "web_searches",
    )

    def __init__(self) -> None:
        self.model: str | None = None
        self.service_tier: str | None = None
        self.finish_reason: str | None = None
        self.finished_choices = 0
        self.usage: TokenClasses | None = None
        self.usage_problem: str | None = None
        self.cost_usd: str | None = None
        self.web_searches: int | None = None
        self.region: str | None = None
        self.deferred = False
        """The provider has only taken the job; nothing of its answer is here."""
        self.seen: TokenClasses | None = None
        """Usage that is known to be incomplete: a lower bound."""
        self.output_bytes = 0
        self.keeps = False
        """The output is kept, so that it can be counted in case no usage comes."""
        self.room = MAX_OUTPUT_BYTES
        self.content = bytearray()
        """As the inside of one JSON string, as it was sent."""
        self.other = bytearray()
        """Reasoning and tool calls, likewise."""
        self.token_seen = False
        self.content_seen = False
        self.tool_calls = False
        self.error_seen = False
        self.unreadable = False
        """An event could not be read: what it said is not known."""
        self.complete = False
        """The event or the body that ends the answer has been seen."""

    def take(self, read: Usage) -> None:
        """The last complete usage wins; an unreadable one after it changes nothing (FAULTS 36, 37)."""
        if read.tokens is not None:
            self.usage, self.usage_problem = read.tokens, None
        elif self.usage is None:
            self.usage_problem = read.problem
        if read.cost_usd is not None:
            self.cost_usd = read.cost_usd

    def saw(self, text: Raw, *, content: bool) -> None:
        """A delta of content, reasoning or tool-call arguments, as a raw JSON string."""
        data = bytes(text)
        size = string_bytes(data)
        if size:
            self.output_bytes += size
            self.token_seen = True
            self.content_seen = self.content_seen or content
            if self.keeps:
                self._keep(data, content=content)

    def _keep(self, data: bytes, *, content: bool) -> None:
        self.room -= len(data) - 2
        if self.room >= 0:
            kept = self.content if content else self.other
            kept += data[1:-1]
        else:
            self.keeps = False
            self.content.clear()
            self.other.clear()


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T | None:
    """``None`` for what cannot be read. NaN and Infinity are no JSON, but some write them: they read as null."""
    try:
        return decoder.decode(data)
    except _UNREADABLE:
        mended = _NO_NUMBER.sub(b"null", data)
        if mended == data:
            return None
    try:
        return decoder.decode(mended)
    except _UNREADABLE:
        return None


def decode_any(raw: Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "unreadable"


def short_text(raw: Raw, otherwise: str | None) -> str | None:
    """A short string that may be stored; null, absent, odd or over-long ones leave what was there."""
    data = bytes(raw)
    if len(data) < 3 or data[:1] != b'"':
        return otherwise
    try:
        text = msgspec.json.decode(data, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return otherwise
    return otherwise if "\x00" in text else text[:256]


def string_bytes(raw: Raw | bytes) -> int:
    """UTF-8 bytes of a raw JSON string; 0 for anything else."""
    data = bytes(raw)
    if data[:1] != b'"':
        return 0
    if b"\\" not in data:
        return len(data) - 2
    try:
        return len(msgspec.json.decode(data, type=str).encode())
    except (msgspec.DecodeError, UnicodeError):
        return 1
