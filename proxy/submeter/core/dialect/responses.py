"""``responses``: typed events; the last one carries the whole response with its usage."""

import msgspec

from submeter.core import usage as usage_reader
from submeter.core.answer import EMPTY, NOTHING, Answer, Raw, decode, short_text, string_bytes
from submeter.core.dialect.reading import ErrorKind, EventKind, may_be_named, take_usage

_ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
_CONTENT = ("response.output_text.delta", "response.refusal.delta", "response.audio.transcript.delta")
_SOUND = ("response.audio.delta", "response.output_audio.delta")
_TOOL_OUTPUT = "response.shell_call_output_content.delta"
_PENDING = ("queued", "in_progress")
_FINISHED = ("completed", "incomplete", "failed", "cancelled")


class _Incomplete(msgspec.Struct):
    reason: Raw = EMPTY


class _Part(msgspec.Struct):
    text: Raw = EMPTY
    refusal: Raw = EMPTY


class _Item(msgspec.Struct):
    """One item of a response's output: a message, reasoning, a tool call."""

    type: Raw = EMPTY
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    name: Raw = EMPTY
    arguments: Raw = EMPTY
    action: Raw = EMPTY


class _Response(msgspec.Struct):
    model: Raw = EMPTY
    service_tier: Raw = EMPTY
    status: Raw = EMPTY
    usage: Raw = EMPTY
    error: Raw = EMPTY
    incomplete_details: _Incomplete | None = None
    output: list[_Item] | None = None


class _Event(msgspec.Struct):
    type: Raw = EMPTY
    delta: Raw = EMPTY
    response: _Response | None = None
    item: Raw = EMPTY


class _Typed(msgspec.Struct):
    type: Raw = EMPTY


_event_decoder = msgspec.json.Decoder(_Event)
_response_decoder = msgspec.json.Decoder(_Response)
_item_decoder = msgspec.json.Decoder(_Item)
_typed_decoder = msgspec.json.Decoder(_Typed)


class ResponsesDialect:
    """A stream's text is read of its deltas, a whole answer's of its output."""

    error_kind: ErrorKind = "responses"

    def __init__(self) -> None:
        self.answer = Answer()
        self._searches = 0

    def read_event(self, name: bytes, data: bytes) -> EventKind:
        event = decode(_event_decoder, data)
        if event is None:
            self.answer.unreadable = self.answer.unreadable or bool(data)
            return ""
        kind = short_text(event.type, None) or name.decode("ascii", "replace")
        if kind.endswith(".delta"):
            self._read_delta(kind, event.delta)
        elif kind == "response.output_item.done":
            item = decode(_item_decoder, bytes(event.item))
            self._see_items([] if item is None else [item])
        if event.response is not None:
            self._read_response(event.response)
        if kind not in _ENDS:
            return ""
        self.answer.error_seen = self.answer.error_seen or kind in ("response.failed", "error")
        self.answer.complete = True
        return "end"

    def may_end(self, tail: bytes) -> bool:
        return may_be_named(tail, _ENDS)

    def read_whole(self, body: bytes) -> None:
        response = decode(_response_decoder, body)
        if response is None:
            return
        self._read_response(response)
        self._read_output(response.output or [])
        pending = short_text(response.status, None) in _PENDING
        self.answer.deferred = pending and bytes(response.usage) in NOTHING
        self.answer.complete = True

    def _read_delta(self, kind: str, delta: Raw) -> None:
        answer = self.answer
        if kind in _SOUND:  # the bytes of a sound bound no tokens
            answer.token_seen = answer.content_seen = answer.content_seen or string_bytes(delta) > 0
        elif kind != _TOOL_OUTPUT:
            answer.saw(delta, content=kind in _CONTENT)
            answer.tool_calls = answer.tool_calls or kind.endswith(("_arguments.delta", "_input.delta"))

    def _read_output(self, items: list[_Item]) -> None:
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
        if status in _FINISHED:
            answer.finished_choices = 1
            reason = response.incomplete_details
            answer.finish_reason = status if reason is None else short_text(reason.reason, status)
        if response.output:
            self._searches = 0  # the whole output: what its items had said one by one is in it
            self._see_items(response.output)
        if bytes(response.usage) not in NOTHING:
            block = usage_reader.decode_block(response.usage)
            take_usage(answer, usage_reader.read_responses(block, model=answer.model))
        if bytes(response.error) not in NOTHING:
            answer.error_seen = True

    def _see_items(self, items: list[_Item]) -> None:
        self._count_searches(items)
        calls = any(bytes(item.type).endswith(b'_call"') for item in items)
        self.answer.tool_calls = self.answer.tool_calls or calls

    def _count_searches(self, items: list[_Item]) -> None:
        """A search is billed; opening a page that it found, or searching in that, is not."""
        calls = [item for item in items if bytes(item.type) == b'"web_search_call"']
        if not calls:
            return
        actions = (decode(_typed_decoder, bytes(call.action)) for call in calls)
        self._searches += sum(action is None or bytes(action.type) in (b"", b'"search"') for action in actions)
        self.answer.web_searches = self._searches
