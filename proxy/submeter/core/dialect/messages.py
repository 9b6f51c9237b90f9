"""Anthropic's ``messages``: usage comes in two parts, and only the second one makes it complete."""

import msgspec

from submeter.core import usage as usage_reader
from submeter.core.answer import EMPTY, NOTHING, Answer, Raw, decode, short_text
from submeter.core.dialect.reading import ErrorKind, EventKind, may_be_named, take_usage

_ENDS = ("message_stop", "error")


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


class _Event(msgspec.Struct):
    type: Raw = EMPTY
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: Raw = EMPTY


_event_decoder = msgspec.json.Decoder(_Event)
_message_decoder = msgspec.json.Decoder(_Message)


class MessagesDialect:
    """Usage in two parts: the input and the cache in ``message_start``, the output in ``message_delta``."""

    error_kind: ErrorKind = "anthropic"

    def __init__(self) -> None:
        self.answer = Answer()
        self._usage: usage_reader.Json = {}

    def read_event(self, name: bytes, data: bytes) -> EventKind:
        event = decode(_event_decoder, data)
        if event is None:
            self.answer.unreadable = self.answer.unreadable or bool(data)
            return ""
        kind = short_text(event.type, None) or name.decode("ascii", "replace")
        if event.message is not None:
            self._read_message(event.message, complete=False)
        if event.content_block is not None:
            self._read_block(event.content_block)
        if event.delta is not None:
            self._read_block(event.delta)
        if bytes(event.usage) not in NOTHING:
            self._read_usage(event.usage, complete=True)
        self.answer.error_seen = self.answer.error_seen or kind == "error"
        if kind not in _ENDS:
            return ""
        self.answer.complete = True
        return "end"

    def may_end(self, tail: bytes) -> bool:
        return may_be_named(tail, _ENDS)

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
        if block.text is not EMPTY:
            answer.saw(block.text, content=True)
        if block.thinking is not EMPTY:
            answer.saw(block.thinking, content=False)
        if block.partial_json is not EMPTY:
            answer.saw(block.partial_json, content=False)
        if bytes(block.name) not in NOTHING:
            answer.tool_calls = True
            answer.saw(block.name, content=False)
            if bytes(block.input) not in NOTHING:
                answer.output_bytes += len(bytes(block.input))
        if block.stop_reason is not EMPTY:
            self._read_stop(block.stop_reason)

    def _read_stop(self, reason: Raw) -> None:
        self.answer.finish_reason = short_text(reason, self.answer.finish_reason)
        self.answer.finished_choices = int(self.answer.finish_reason is not None)

    def _read_usage(self, raw: Raw, *, complete: bool) -> None:
        block = usage_reader.decode_block(raw)
        answer = self.answer
        if not isinstance(block, dict):
            answer.take(usage_reader.read_messages(block))
            return
        self._usage = usage_reader.merge_messages(self._usage, block)
        self._read_tier()
        if complete:
            # The output of message_start is only its beginning: the last word must have a count of its own.
            whole = {**self._usage, "output_tokens": block.get("output_tokens")}
            take_usage(answer, usage_reader.read_messages(whole))
            return
        read = usage_reader.read_messages(self._usage)
        answer.region = read.region
        if read.tokens is not None:
            # What message_start counts as output is not billed before there is any.
            answer.seen = msgspec.structs.replace(read.tokens, output_text=0, reasoning=0)

    def _read_tier(self) -> None:
        """Fast mode has prices of its own: as a tier that the price book does not know, it is unpriced, not wrong."""
        answer = self.answer
        for name in ("service_tier", "speed"):
            tier = self._usage.get(name)
            if isinstance(tier, str) and tier not in ("", "standard") and "\x00" not in tier:
                answer.service_tier = tier[:64]
            elif tier == "standard" and answer.service_tier is None:
                answer.service_tier = tier
