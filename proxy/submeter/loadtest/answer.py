"""An answer as the load test reads it: lines of SSE with their times, or a whole JSON document.

Reads the few members that it needs, and keeps no text. Anything may come: what cannot be read is passed over, and the
call then has no token counts.
"""

import msgspec

_DATA = b"data:"
_DONE = b"[DONE]"


class _Delta(msgspec.Struct, gc=False):
    content: object = None
    reasoning_content: object = None
    reasoning: object = None
    tool_calls: object = None
    refusal: object = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Document(msgspec.Struct, gc=False):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: object = None


_documents = msgspec.json.Decoder(_Document)


class Answer:
    """Durations are ns since ``begun_ns``, by the clock that gives ``at_ns``; ``None``: has not happened."""

    def __init__(self, begun_ns: int) -> None:
        self._begun_ns = begun_ns
        self._last_ns: int | None = None
        self._rest = b""
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

    def piece(self, data: bytes, at_ns: int) -> None:
        """What has come of a stream; it may end within a line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(_DATA):
                self._line(line, at_ns)

    def end(self, at_ns: int) -> None:
        """Of a stream, whose last line may lack its end."""
        self.piece(b"\n", at_ns)

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

    def _line(self, line: bytes, at_ns: int) -> None:
        data = line[len(_DATA) :].strip()
        if data == _DONE:
            self._done = True
        elif data:
            document = self._read(data)
            if document is not None:
                for choice in document.choices:
                    if choice.delta is not None:
                        self._delta(choice.delta, at_ns)

    def _delta(self, delta: _Delta, at_ns: int) -> None:
        if not (delta.content or _says_anything(delta)):
            return
        if self.ttft_ns is None:
            self.ttft_ns = at_ns - self._begun_ns
        if self.first_content_ns is None and delta.content:
            self.first_content_ns = at_ns - self._begun_ns
        if self._last_ns is not None:
            gap_ns = at_ns - self._last_ns
            if self.max_gap_ns is None or gap_ns > self.max_gap_ns:
                self.max_gap_ns = gap_ns
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
