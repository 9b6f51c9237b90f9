"""What the bytes of an answer mean, per endpoint: first token, content, finish reason, usage, the end.

A dialect is a reader of one answer. ``read_event`` takes the fields of one SSE event, ``read_whole`` a complete
JSON body; both only ever add to ``Answer``. They take any bytes whatever: what cannot be read is skipped, and the
caller's bytes pass all the same (FAULTS 35, 36, 39). Leaves are kept raw: decoding an event costs about 1 us.
"""

import re
from typing import Literal, Protocol

import msgspec

from submeter.core import usage as usage_reader
from submeter.core.answer import EMPTY, NOTHING, Answer, Raw, decode, decode_any, short_text, string_bytes

ErrorKind = Literal["openai", "responses", "anthropic"]
_EVENT_LINES = re.compile(rb"(?:event:[^\r\n]*[\r\n]+)*+")


class Dialect(Protocol):
    """A reader of one endpoint's answers."""

    error_kind: ErrorKind
    answer: Answer

    def read_event(self, name: bytes, data: bytes) -> Literal["", "end", "usage_chunk"]:
        """Read one event: is it the one that ends the answer, or a chunk of usage alone?"""
        ...

    def may_end(self, tail: bytes) -> bool:
        """Could this unfinished event, from its first data or event line on, be the one that ends the answer?"""
        ...

    def read_whole(self, body: bytes) -> None: ...


def dialect_for(endpoint: str) -> Dialect:
    """The reader for a metered endpoint, named by its path after ``/v1/``."""
    if endpoint == "messages":
        return MessagesDialect()
    if endpoint == "responses":
        return ResponsesDialect()
    return ChatDialect(embeddings=endpoint == "embeddings")


# ---- chat, completions, embeddings -------------------------------------------------------------------------


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


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: Raw = EMPTY
    finish_reason: Raw = EMPTY
    index: Raw = EMPTY


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Raw = EMPTY
    model: Raw = EMPTY
    service_tier: Raw = EMPTY
    error: Raw = EMPTY


_chunk_decoder = msgspec.json.Decoder(_Chunk)


class ChatDialect:
    """``chat/completions`` and ``completions``, streamed and whole, and ``embeddings``."""

    error_kind: ErrorKind = "openai"

    def __init__(self, *, embeddings: bool = False) -> None:
        self.answer = Answer()
        self._read_usage = usage_reader.read_embeddings if embeddings else usage_reader.read_chat
        self._finished: set[bytes] = set()

    def read_event(self, name: bytes, data: bytes) -> Literal["", "end", "usage_chunk"]:
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
        return _begins_field(line)

    def read_whole(self, body: bytes) -> None:
        chunk = decode(_chunk_decoder, body)
        if chunk is not None:
            self._read_chunk(chunk)
            self.answer.complete = True

    def _read_chunk(self, chunk: _Chunk) -> None:
        answer = self.answer
        for choice in chunk.choices or ():
            delta = choice.delta if choice.message is None else choice.message
            if delta is not None:
                _read_delta(answer, delta)
            answer.saw(choice.text, content=True)
            reason = short_text(choice.finish_reason, None)
            if reason is not None:
                answer.finish_reason = reason
                self._finished.add(bytes(choice.index))
                answer.finished_choices = len(self._finished)
        answer.model = short_text(chunk.model, answer.model)
        answer.service_tier = short_text(chunk.service_tier, answer.service_tier)
        if bytes(chunk.usage) not in NOTHING:
            answer.take(self._read_usage(decode_any(chunk.usage)))
        if bytes(chunk.error) not in NOTHING:
            answer.error_seen = True


def _read_delta(answer: Answer, delta: _Delta) -> None:
    answer.saw(delta.content, content=True)
    answer.saw(delta.refusal, content=True)
    # Some providers send the same text under both names, or one of them as null.
    answer.saw(delta.reasoning_content if string_bytes(delta.reasoning_content) else delta.reasoning, content=False)
    for call in delta.tool_calls or ():
        answer.tool_calls = True
        if call.function is not None:
            answer.saw(call.function.name, content=False)
            answer.saw(call.function.arguments, content=False)
        answer.token_seen = True
    if delta.function_call is not None:
        answer.tool_calls = True
        answer.saw(delta.function_call.name, content=False)
        answer.saw(delta.function_call.arguments, content=False)


# ---- responses -----------------------------------------------------------------------------------------------

RESPONSES_ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
_RESPONSES_CONTENT = ("response.output_text.delta", "response.refusal.delta")


class _Incomplete(msgspec.Struct):
    reason: Raw = EMPTY


class _Part(msgspec.Struct):
    text: Raw = EMPTY
    refusal: Raw = EMPTY


class _Item(msgspec.Struct):
    """One item of a whole response's output: a message, reasoning, a tool call."""

    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    name: Raw = EMPTY
    arguments: Raw = EMPTY


class _Response(msgspec.Struct):
    model: Raw = EMPTY
    service_tier: Raw = EMPTY
    status: Raw = EMPTY
    usage: Raw = EMPTY
    error: Raw = EMPTY
    incomplete_details: _Incomplete | None = None
    output: list[_Item] | None = None


class _ResponsesEvent(msgspec.Struct):
    type: Raw = EMPTY
    delta: Raw = EMPTY
    response: _Response | None = None


_responses_event_decoder = msgspec.json.Decoder(_ResponsesEvent)
_response_decoder = msgspec.json.Decoder(_Response)


class ResponsesDialect:
    """``responses``: typed events; the last one carries the whole response with its usage."""

    error_kind: ErrorKind = "responses"

    def __init__(self) -> None:
        self.answer = Answer()

    def read_event(self, name: bytes, data: bytes) -> Literal["", "end", "usage_chunk"]:
        event = decode(_responses_event_decoder, data)
        if event is None:
            self.answer.unreadable = self.answer.unreadable or bool(data)
            return ""
        kind = short_text(event.type, None) or name.decode("ascii", "replace")
        answer = self.answer
        if kind.endswith(".delta"):
            answer.saw(event.delta, content=kind in _RESPONSES_CONTENT)
            answer.tool_calls = answer.tool_calls or kind.endswith("_arguments.delta")
        if event.response is not None:
            self._read_response(event.response)
        if kind not in RESPONSES_ENDS:
            return ""
        answer.error_seen = answer.error_seen or kind in ("response.failed", "error")
        answer.complete = True
        return "end"

    def may_end(self, tail: bytes) -> bool:
        return _may_be_named(tail, RESPONSES_ENDS)

    def read_whole(self, body: bytes) -> None:
        response = decode(_response_decoder, body)
        if response is not None:
            self._read_response(response)
            self._read_output(response.output or [])
            self.answer.complete = True

    def _read_output(self, items: list[_Item]) -> None:
        """The text of a whole answer; a stream's has been seen in its deltas."""
        for item in items:
            for part in item.content or ():
                self.answer.saw(part.text, content=True)
                self.answer.saw(part.refusal, content=True)
            for part in item.summary or ():
                self.answer.saw(part.text, content=False)
            self.answer.saw(item.name, content=False)
            self.answer.saw(item.arguments, content=False)

    def _read_response(self, response: _Response) -> None:
        answer = self.answer
        answer.model = short_text(response.model, answer.model)
        answer.service_tier = short_text(response.service_tier, answer.service_tier)
        status = short_text(response.status, None)
        if status in ("completed", "incomplete", "failed", "cancelled"):
            answer.finished_choices = 1
            reason = response.incomplete_details
            answer.finish_reason = status if reason is None else short_text(reason.reason, status)
        if bytes(response.usage) not in NOTHING:
            answer.take(usage_reader.read_responses(decode_any(response.usage)))
        if bytes(response.error) not in NOTHING:
            answer.error_seen = True


# ---- messages ------------------------------------------------------------------------------------------------


class _Block(msgspec.Struct):
    type: Raw = EMPTY
    text: Raw = EMPTY
    thinking: Raw = EMPTY
    partial_json: Raw = EMPTY
    name: Raw = EMPTY
    input: Raw = EMPTY
    stop_reason: Raw = EMPTY


class _Message(msgspec.Struct):
    model: Raw = EMPTY
    usage: Raw = EMPTY
    stop_reason: Raw = EMPTY
    content: list[_Block] | None = None
    type: Raw = EMPTY


class _MessagesEvent(msgspec.Struct):
    type: Raw = EMPTY
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: Raw = EMPTY


_messages_event_decoder = msgspec.json.Decoder(_MessagesEvent)
_message_decoder = msgspec.json.Decoder(_Message)


class MessagesDialect:
    """Anthropic's ``messages``: usage comes in two parts, and only the second one makes it complete."""

    error_kind: ErrorKind = "anthropic"

    def __init__(self) -> None:
        self.answer = Answer()
        self._usage: usage_reader.Json = {}

    def read_event(self, name: bytes, data: bytes) -> Literal["", "end", "usage_chunk"]:
        event = decode(_messages_event_decoder, data)
        if event is None:
            self.answer.unreadable = self.answer.unreadable or bool(data)
            return ""
        kind = short_text(event.type, None) or name.decode("ascii", "replace")
        if event.message is not None:
            self._read_message(event.message, complete=False)
        for block in (event.content_block, event.delta):
            if block is not None:
                self._read_block(block)
        if bytes(event.usage) not in NOTHING:
            self._read_usage(event.usage, complete=True)
        self.answer.error_seen = self.answer.error_seen or kind == "error"
        if kind not in ("message_stop", "error"):
            return ""
        self.answer.complete = True
        return "end"

    def may_end(self, tail: bytes) -> bool:
        return _may_be_named(tail, ("message_stop", "error"))

    def read_whole(self, body: bytes) -> None:
        message = decode(_message_decoder, body)
        if message is None:
            return
        self._read_message(message, complete=True)
        self.answer.error_seen = short_text(message.type, None) == "error"
        self.answer.complete = True

    def _read_message(self, message: _Message, *, complete: bool) -> None:
        answer = self.answer
        answer.model = short_text(message.model, answer.model)
        self._read_stop(message.stop_reason)
        for block in message.content or ():
            self._read_block(block)
        if bytes(message.usage) not in NOTHING:
            self._read_usage(message.usage, complete=complete)

    def _read_block(self, block: _Block) -> None:
        answer = self.answer
        answer.saw(block.text, content=True)
        answer.saw(block.thinking, content=False)
        answer.saw(block.partial_json, content=False)
        if bytes(block.name) not in NOTHING:
            answer.tool_calls = True
            answer.saw(block.name, content=False)
            if bytes(block.input) not in NOTHING:
                answer.output_bytes += len(bytes(block.input))
        self._read_stop(block.stop_reason)

    def _read_stop(self, reason: Raw) -> None:
        self.answer.finish_reason = short_text(reason, self.answer.finish_reason)
        self.answer.finished_choices = int(self.answer.finish_reason is not None)

    def _read_usage(self, raw: Raw, *, complete: bool) -> None:
        block = decode_any(raw)
        answer = self.answer
        if not isinstance(block, dict):
            answer.take(usage_reader.read_messages(block))
            return
        self._usage = usage_reader.merge_messages(self._usage, block)
        # Fast mode has prices of its own: as a tier that the price book does not know, it is unpriced and not wrong.
        for name in ("service_tier", "speed"):
            tier = self._usage.get(name)
            if isinstance(tier, str) and tier not in ("", "standard") and "\x00" not in tier:
                answer.service_tier = tier[:64]
            elif tier == "standard" and answer.service_tier is None:
                answer.service_tier = tier
        read = usage_reader.read_messages(self._usage)
        if complete:
            # The output of message_start is only its beginning: the last word must have a count of its own.
            answer.take(usage_reader.read_messages({**self._usage, "output_tokens": block.get("output_tokens")}))
        elif read.tokens is not None:
            # What message_start counts as output is not billed before there is any.
            answer.seen = msgspec.structs.replace(read.tokens, output_text=0)


def _begins_field(line: bytes) -> bool:
    """Could this beginning of a line become a data or an event line?"""
    return b"data:".startswith(line[:5]) or b"event:".startswith(line[:6])


def _may_be_named(tail: bytes, names: tuple[str, ...]) -> bool:
    """Could an event that begins like this bear one of these names, in its event line or its data's type?"""
    first, *others = re.split(rb"[\r\n]", tail, maxsplit=1)
    if first.startswith(b"event:"):
        name = first[6:].strip()
        if others:
            return name.decode("ascii", "replace") in names
        return any(known.encode().startswith(name) for known in names)
    if not first.startswith(b"data:"):
        return _begins_field(first)
    start = first.find(b'"type"')
    value = first[start + 6 : start + 70].lstrip(b" :").removeprefix(b'"')
    if start < 0 or not value:
        return len(first) < 256
    return any(known.encode().startswith(value[: len(known)]) for known in names)
