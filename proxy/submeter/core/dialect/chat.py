"""``chat/completions``, ``completions`` and ``embeddings``, as OpenAI has them and as others speak them.

What others do: usage on the finish chunk (DeepSeek, Mistral), on every chunk (Gemini, vLLM), inside the choice
(Moonshot) or under ``x_groq``; a chunk without choices that is no usage chunk (Azure); content as a list of parts
(Mistral); reasoning under two names (DeepSeek, vLLM, OpenRouter).
"""

import re

import msgspec

from submeter.core.answer import EMPTY, NOTHING, Answer, Raw, decode, short_text, string_bytes
from submeter.core.dialect.reading import ErrorKind, EventKind, begins_field, take_usage
from submeter.core.usage import Usage, decode_block, read_chat, read_embeddings

_EVENT_LINES = re.compile(rb"(?:event:[^\r\n]*[\r\n]+)*+")


class _Function(msgspec.Struct):
    name: Raw = EMPTY
    arguments: Raw = EMPTY


class _ToolCall(msgspec.Struct):
    function: _Function | None = None
    custom: Raw = EMPTY


class _Delta(msgspec.Struct):
    content: Raw = EMPTY
    reasoning_content: Raw = EMPTY
    reasoning: Raw = EMPTY
    refusal: Raw = EMPTY
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: Raw = EMPTY
    images: Raw = EMPTY


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: Raw = EMPTY
    finish_reason: Raw = EMPTY
    index: Raw = EMPTY
    usage: Raw = EMPTY


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Raw = EMPTY
    model: Raw = EMPTY
    service_tier: Raw = EMPTY
    error: Raw = EMPTY
    x_groq: Raw = EMPTY


class _Audio(msgspec.Struct):
    data: Raw = EMPTY
    transcript: Raw = EMPTY


class _Part(msgspec.Struct):
    """Of a content that is a list: text, or thinking that is a list of texts."""

    text: Raw = EMPTY
    thinking: list["_Part"] | None = None


class _Groq(msgspec.Struct):
    usage: Raw = EMPTY


_chunk_decoder = msgspec.json.Decoder(_Chunk)
_audio_decoder = msgspec.json.Decoder(_Audio)
_parts_decoder = msgspec.json.Decoder(list[_Part])
_groq_decoder = msgspec.json.Decoder(_Groq)


class ChatDialect:
    """Chunks of choices and their deltas; ``[DONE]`` ends a stream."""

    error_kind: ErrorKind = "openai"

    def __init__(self, *, embeddings: bool = False) -> None:
        self.answer = Answer()
        self._embeddings = embeddings
        self._finished: set[bytes] = set()

    def read_event(self, name: bytes, data: bytes) -> EventKind:
        if data.strip(b" \t") == b"[DONE]":
            self.answer.complete = True
            return "end"
        chunk = decode(_chunk_decoder, data)
        if chunk is None:
            self.answer.unreadable = self.answer.unreadable or bool(data)
            return ""
        self._read_chunk(chunk)
        usage_alone = chunk.choices == [] and bytes(chunk.usage)[:1] == b"{"
        return "usage_chunk" if usage_alone else ""

    def may_end(self, tail: bytes) -> bool:
        names = _EVENT_LINES.match(tail)  # which say nothing here
        line = tail if names is None else tail[names.end() :]
        if line.startswith(b"data:"):
            return b"[DONE]".startswith(line[5:64].strip()[:6])
        return begins_field(line)

    def read_whole(self, body: bytes) -> None:
        chunk = decode(_chunk_decoder, body)
        if chunk is not None:
            self._read_chunk(chunk)
            self.answer.complete = True

    def _read_chunk(self, chunk: _Chunk) -> None:
        answer = self.answer
        answer.model = short_text(chunk.model, answer.model)
        answer.service_tier = short_text(chunk.service_tier, answer.service_tier)
        for choice in chunk.choices or ():
            self._read_choice(choice)
        if bytes(chunk.usage) not in NOTHING:
            take_usage(answer, self._read_block(chunk.usage))
        elif chunk.x_groq is not EMPTY:
            self._read_groq(chunk.x_groq)
        if bytes(chunk.error) not in NOTHING:
            answer.error_seen = True

    def _read_choice(self, choice: _Choice) -> None:
        answer = self.answer
        delta = choice.delta if choice.message is None else choice.message
        if delta is not None:
            _read_delta(answer, delta)
        if choice.text is not EMPTY:
            answer.saw(choice.text, content=True)
        reason = short_text(choice.finish_reason, None)
        if reason is not None:
            answer.finish_reason = reason
            self._finished.add(bytes(choice.index))
            answer.finished_choices = len(self._finished)
        if choice.usage is not EMPTY:
            self._read_choice_usage(choice.usage)

    def _read_groq(self, raw: Raw) -> None:
        groq = decode(_groq_decoder, bytes(raw))
        if groq is not None and bytes(groq.usage) not in NOTHING:
            take_usage(self.answer, self._read_block(groq.usage))

    def _read_choice_usage(self, usage: Raw) -> None:
        """Moonshot's, with the choice's finish reason. Whether those of several choices add up is not documented."""
        if bytes(usage) in NOTHING:
            return
        take_usage(self.answer, self._read_block(usage))
        if len(self._finished) > 1:
            self.answer.usage, self.answer.usage_problem = None, "each choice has a usage of its own"

    def _read_block(self, usage: Raw) -> Usage:
        block = decode_block(usage)
        return read_embeddings(block) if self._embeddings else read_chat(block, model=self.answer.model)


def _read_delta(answer: Answer, delta: _Delta) -> None:
    if delta.content is not EMPTY:
        _read_content(answer, delta.content)
    if delta.refusal is not EMPTY:
        answer.saw(delta.refusal, content=True)
    if delta.reasoning is not EMPTY or delta.reasoning_content is not EMPTY:
        # Some providers send the same text under both names, or one of them as null.
        named = string_bytes(delta.reasoning_content) > 0
        answer.saw(delta.reasoning_content if named else delta.reasoning, content=False)
    for call in delta.tool_calls or ():
        _read_function(answer, call.function)
        answer.token_seen = True
    if delta.function_call is not None:
        _read_function(answer, delta.function_call)
    if delta.audio is not EMPTY:
        _read_audio(answer, delta.audio)
    if bytes(delta.images) not in NOTHING:
        answer.token_seen = answer.content_seen = True


def _read_function(answer: Answer, function: _Function | None) -> None:
    answer.tool_calls = True
    if function is not None:
        answer.saw(function.name, content=False)
        answer.saw(function.arguments, content=False)


def _read_content(answer: Answer, content: Raw) -> None:
    if bytes(content)[:1] != b"[":
        answer.saw(content, content=True)
        return
    for part in decode(_parts_decoder, bytes(content)) or ():
        answer.saw(part.text, content=True)
        for thought in part.thinking or ():
            answer.saw(thought.text, content=False)


def _read_audio(answer: Answer, raw: Raw) -> None:
    """The sound is a token, but its bytes bound none: a token of audio is thousands of them."""
    audio = decode(_audio_decoder, bytes(raw))
    if audio is None:
        return
    answer.saw(audio.transcript, content=True)
    if string_bytes(audio.data):
        answer.token_seen = answer.content_seen = True
