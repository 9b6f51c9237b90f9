"""Answers that come after their request, and are metered when they are fetched: background responses, batch output.

Whoever fetches an answer again meets the same ``derived_id``, so that the ledger has it once. Any bytes may come: what
cannot be read is skipped, and the caller's bytes pass all the same.
"""

import hashlib
import re
from typing import Literal, Protocol

import msgspec

from submeter.core.answer import EMPTY, NOTHING, Answer, Raw, decode, short_text
from submeter.core.body import EventBody, WholeBody
from submeter.core.dialect import dialect_for
from submeter.core.dialect.responses import ResponsesDialect
from submeter.core.record import Finish, Start

MAX_LINE_BYTES = 8 << 20
BATCH_TIER = "batch"
MAX_ID_CHARS = 256

_SOURCES: tuple[tuple[Literal["response", "batch"], re.Pattern[str]], ...] = (
    ("response", re.compile(r"responses/([^/]+)")),
    ("batch", re.compile(r"files/([^/]+)/content")),
    ("batch", re.compile(r"messages/batches/([^/]+)/results")),
)
_LINE_END = re.compile(rb"[\r\n]")  # neither stands unescaped within a line of JSON
_BATCH_LINE = re.compile(rb'\s*\{\s*"(?:id|custom_id|response|error|result)"')
_SNIFFED_BYTES = 64
_ENDPOINTS = {
    b'"chat.completion"': "chat/completions",
    b'"text_completion"': "completions",
    b'"response"': "responses",
    b'"list"': "embeddings",
}


class Source(msgspec.Struct, frozen=True):
    """What a GET fetches."""

    kind: Literal["response", "batch"]
    id: str


class Collected(msgspec.Struct, frozen=True):
    """An answer with its usage that was asked for earlier."""

    id: str
    """The provider's, of the response or of the line."""
    endpoint: str
    answer: Answer
    status: int
    service_tier: str | None
    size_bytes: int | None = None
    """None: of the whole body."""
    request_id: str | None = None
    stream: bool = False


class Reader(Protocol):
    """Reads answers out of one body."""

    skipped: int
    """Answers that have come and could not be metered: of a shape, or a size, that nobody reads."""

    def body(self, *, event_stream: bool) -> EventBody | WholeBody:
        """What the body's bytes go through; it passes them all, and holds the last one back until the end."""
        ...

    def take(self) -> list[Collected]:
        """What has been found since the last time. To be journalled before the bytes that were just fed go on."""
        ...


def source_of(endpoint: str) -> Source | None:
    """``endpoint``: the path after ``/v1/`` of a GET."""
    for kind, pattern in _SOURCES:
        match = pattern.fullmatch(endpoint)
        if match is not None and len(match[1]) <= MAX_ID_CHARS:
            return Source(kind, match[1])
    return None


def reader_of(source: Source) -> Reader:
    return ResponseReader(source.id) if source.kind == "response" else BatchReader()


def derived_id(upstream: str, item_id: str) -> str:
    """The call id of an answer that may be fetched many times, by many relays: a UUIDv8 (RFC 9562), from a hash."""
    digest = hashlib.sha256(f"{upstream}\x00{item_id}".encode("utf-8", "surrogatepass")).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def is_derived(call_id: str) -> bool:
    return call_id[14:15] == "8"


def records(start: Start, collected: Collected, body_bytes: int) -> tuple[Start, Finish]:
    """Both records of an answer; ``start`` and ``body_bytes`` are those of the request that brought it. It has no
    durations: how long the provider took is not to be seen from here."""
    call_id, answer = derived_id(start.upstream, collected.id), collected.answer
    begun = msgspec.structs.replace(
        start,
        call_id=call_id,
        attempt=1,
        operation_id=call_id if start.operation_id == start.call_id else start.operation_id,
        endpoint=collected.endpoint,
        metered=True,
        stream=collected.stream,
    )
    finish = Finish(
        call_id,
        1,
        "upstream_error" if answer.error_seen else "ok",
        collected.status,
        model_served=answer.model,
        service_tier=collected.service_tier,
        finish_reason=answer.finish_reason,
        upstream_request_id=collected.request_id,
        usage=answer.usage,
        usage_problem=answer.usage_problem,
        output_bytes=answer.output_bytes,
        bytes_out=body_bytes if collected.size_bytes is None else collected.size_bytes,
        provider_cost=answer.cost_usd,
        web_searches=answer.web_searches,
        region=answer.region,
    )
    return begun, finish


# ---- a background response -------------------------------------------------------------------------------------


class _Head(msgspec.Struct):
    id: Raw = EMPTY
    status: Raw = EMPTY
    background: Raw = EMPTY


class _Event(msgspec.Struct):
    response: _Head | None = None


_head_decoder = msgspec.json.Decoder(_Head)
_event_decoder = msgspec.json.Decoder(_Event)


class BackgroundDialect(ResponsesDialect):
    """``responses``, and whether the answer is that of a job. Only then does a GET bring it first: what was answered
    at once and is kept by the provider (``store``) has been metered on its POST."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - its name in the API
        super().__init__()
        self.id = id
        self.background = False
        self.known = False
        """Its status has been seen."""
        self._pending = False

    def read_event(self, name: bytes, data: bytes) -> Literal["", "end", "usage_chunk"]:
        if b'"response"' in data:
            event = decode(_event_decoder, data)
            if event is not None and event.response is not None:
                self._look(event.response)
        return super().read_event(name, data)

    def read_whole(self, body: bytes) -> None:
        head = decode(_head_decoder, body)
        if head is not None:
            self._look(head)
        super().read_whole(body)

    def collected(self, *, stream: bool) -> Collected | None:
        """The answer, once it is there with its usage."""
        answer = self.answer
        if self.id is None or not self.background or self._pending or not answer.complete or answer.usage is None:
            return None
        return Collected(self.id, "responses", answer, 200, answer.service_tier, stream=stream)

    def _look(self, head: _Head) -> None:
        status = short_text(head.status, None)
        self.id = short_text(head.id, None) if self.id is None else self.id
        self.background = self.background or bytes(head.background) == b"true"
        self.known = self.known or status is not None
        self._pending = status in ("queued", "in_progress")


class ResponseReader:
    """Of a whole response or of its stream. Of an answer over the limit of a whole body (8 MiB) the usage is seen, but
    not whether it was a job's: it is skipped."""

    def __init__(self, id: str) -> None:  # noqa: A002 - its name in the API
        self.skipped = 0
        self._dialect = BackgroundDialect(id)
        self._body: EventBody | WholeBody | None = None
        self._event_stream = False
        self._taken = False

    def body(self, *, event_stream: bool) -> EventBody | WholeBody:
        self._event_stream = event_stream
        self._body = EventBody(self._dialect, strip_usage=False) if event_stream else WholeBody(self._dialect)
        self._body.missed = True  # where this stream breaks off is between the caller and the provider
        return self._body

    def take(self) -> list[Collected]:
        if self._taken or self._body is None or not self._body.ended:
            return []
        self._taken = True
        found = self._dialect.collected(stream=self._event_stream)
        self.skipped = int(not self._dialect.known and self._dialect.answer.usage is not None)
        return [] if found is None else [found]


# ---- batch output ----------------------------------------------------------------------------------------------


class _LineResponse(msgspec.Struct):
    status_code: Raw = EMPTY
    request_id: Raw = EMPTY
    body: Raw = EMPTY


class _LineResult(msgspec.Struct):
    type: Raw = EMPTY
    message: Raw = EMPTY


class _Line(msgspec.Struct):
    """OpenAI's and Azure's lines have a response or an error, Anthropic's a result."""

    id: Raw = EMPTY
    custom_id: Raw = EMPTY
    response: _LineResponse | None = None
    error: Raw = EMPTY
    result: _LineResult | None = None


class _Kind(msgspec.Struct):
    object: Raw = EMPTY
    id: Raw = EMPTY


_line_decoder = msgspec.json.Decoder(_Line)
_kind_decoder = msgspec.json.Decoder(_Kind)


class _LinesBody(WholeBody):
    """Every byte is shown to a reader of lines on its way."""

    def __init__(self, lines: "BatchReader") -> None:
        super().__init__(None)
        self._lines = lines

    def feed(self, data: bytes) -> bytes:
        self._lines.feed(data)
        return super().feed(data)

    def end(self) -> bytes:
        self._lines.end()
        return super().end()


class BatchReader:
    """The lines of a batch's output, as they come. The first line decides: of a file that is something else, nothing
    more is read. Of an unfinished line at most ``MAX_LINE_BYTES`` are kept; a longer one is skipped."""

    def __init__(self) -> None:
        self.skipped = 0
        self._line = bytearray()
        self._over = False
        """The line is too long, and the rest of it is let go."""
        self._is_batch: bool | None = None
        self._found: list[Collected] = []

    def body(self, *, event_stream: bool) -> EventBody | WholeBody:
        return _LinesBody(self)

    def take(self) -> list[Collected]:
        found, self._found = self._found, []
        return found

    def feed(self, data: bytes) -> None:
        if self._is_batch is False:
            return
        *whole, rest = _LINE_END.split(data)
        for part in whole:
            self._add(part)
            self._end_line()
        self._add(rest)

    def end(self) -> None:
        """The last line may have no line end."""
        self._end_line()

    def _add(self, part: bytes) -> None:
        if self._over or self._is_batch is False:
            return
        self._line += part
        if self._is_batch is None and len(self._line) > _SNIFFED_BYTES:
            self._sniff()
        if len(self._line) > MAX_LINE_BYTES:
            self._over = True
            self._line.clear()

    def _end_line(self) -> None:
        line, self._line = bytes(self._line), bytearray()
        if self._over:
            self._over = False
            self.skipped += 1
        elif self._is_batch is not False and line.strip():
            self._read(line)

    def _sniff(self) -> None:
        """Could a line of a batch begin like this? If not, it need not even be kept to its end."""
        if _BATCH_LINE.match(self._line) is None:
            self._is_batch = False
            self._line.clear()

    def _read(self, data: bytes) -> None:
        line = decode(_line_decoder, data)
        if line is None or bytes(line.custom_id) in NOTHING or not _is_outcome(line):
            self._note_other_line()
            return
        self._is_batch = True
        if not _succeeded(line):
            return
        found = _openai(line, len(data)) if line.result is None else _anthropic(line.result, len(data))
        if found is None:
            self.skipped += 1
        else:
            self._found.append(found)

    def _note_other_line(self) -> None:
        """An odd line among others says nothing; before any other it says that the file is no batch's."""
        if self._is_batch is None:
            self._is_batch, self.skipped = False, 0


def _is_outcome(line: _Line) -> bool:
    return line.response is not None or line.result is not None or bytes(line.error) not in NOTHING


def _succeeded(line: _Line) -> bool:
    """Only these are billed."""
    if line.result is not None:
        return short_text(line.result.type, None) == "succeeded"
    return line.response is not None and re.fullmatch(rb"2\d\d", bytes(line.response.status_code)) is not None


def _openai(line: _Line, size_bytes: int) -> Collected | None:
    assert line.response is not None
    kind = decode(_kind_decoder, bytes(line.response.body))
    endpoint = None if kind is None else _ENDPOINTS.get(bytes(kind.object))
    if kind is None or endpoint is None:
        return None
    request_id = short_text(line.response.request_id, None)
    # Azure's lines have no id of their own.
    item_id = short_text(line.id, None) or request_id or short_text(kind.id, None)
    return _read_answer(endpoint, line.response.body, item_id, size_bytes, request_id)


def _anthropic(result: _LineResult, size_bytes: int) -> Collected | None:
    kind = decode(_kind_decoder, bytes(result.message))
    item_id = None if kind is None else short_text(kind.id, None)
    return _read_answer("messages", result.message, item_id, size_bytes, None)


def _read_answer(
    endpoint: str, body: Raw, item_id: str | None, size_bytes: int, request_id: str | None
) -> Collected | None:
    dialect = dialect_for(endpoint)
    dialect.read_whole(bytes(body))
    if item_id is None or dialect.answer.usage is None:
        return None
    return Collected(item_id, endpoint, dialect.answer, 200, BATCH_TIER, size_bytes, request_id)
