"""An answer as the load test reads it: lines of SSE with their times, or a whole JSON document.

Reads the few members that it needs, and keeps no text. Anything may come: what cannot be read is passed over, and the
call then has no token counts.
"""

import msgspec

_DATA = b"data:"
_DONE = b"[DONE]"


class _Delta(msgspec.Struct):
    content: object = None
    reasoning_content: object = None
    reasoning: object = None
    tool_calls: object = None
    refusal: object = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Document(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: object = None


_documents = msgspec.json.Decoder(_Document)


class Answer:
    """Durations are ns since ``begun_ns``, by the clock that gives ``at_ns``; ``None``: has not happened."""

    def __init__(self, begun_ns: int) -> None:
        self._begun_ns = begun_ns
        self._last_ns: int | None = None
        self._done = False
        self.ttft_ns: int | None = None
        """The first content, reasoning or tool-call delta that is not empty."""
        self.first_content_ns: int | None = None
        self.max_gap_ns: int | None = None
        """Between two such deltas; one may hold several tokens."""
        self.input_tokens: int | None = None
        self.cached_input_tokens: int | None = None
        self.output_tokens: int | None = None
        self._error: str | None = None

    def line(self, line: bytes, at_ns: int) -> None:
        """A line of a stream, with or without its end."""
        if not line.startswith(_DATA):
            return
        data = line[len(_DATA) :].strip()
        if data == _DONE:
            self._done = True
        elif data:
            self._event(data, at_ns)

    def whole(self, body: bytes) -> None:
        """The body of an answer that was not streamed."""
        self._done = True
        self._read(body)

    @property
    def error(self) -> str | None:
        """What is wrong with an answer that has ended; never the provider's words."""
        if self._error is None and not self._done:
            return "the stream ended before [DONE]"
        return self._error

    def _event(self, data: bytes, at_ns: int) -> None:
        document = self._read(data)
        deltas = [] if document is None else [each.delta for each in document.choices if each.delta is not None]
        content = any(delta.content for delta in deltas)
        if not (content or any(map(_says_anything, deltas))):
            return
        since_ns = at_ns - self._begun_ns
        if self.ttft_ns is None:
            self.ttft_ns = since_ns
        if content and self.first_content_ns is None:
            self.first_content_ns = since_ns
        if self._last_ns is not None:
            gap_ns = at_ns - self._last_ns
            self.max_gap_ns = gap_ns if self.max_gap_ns is None else max(gap_ns, self.max_gap_ns)
        self._last_ns = at_ns

    def _read(self, data: bytes) -> _Document | None:
        try:
            document = _documents.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._error = "an answer that cannot be read"
            return None
        if document.error is not None:
            self._error = "an error in the answer"
        if document.usage is not None:
            self._count(document.usage)
        return document

    def _count(self, usage: _Usage) -> None:
        details = usage.prompt_tokens_details
        self.input_tokens, self.output_tokens = usage.prompt_tokens, usage.completion_tokens
        self.cached_input_tokens = None if details is None else details.cached_tokens


def _says_anything(delta: _Delta) -> bool:
    return bool(delta.reasoning_content or delta.reasoning or delta.tool_calls or delta.refusal)
