"""POST /v1/responses. Events in the documented order, numbered from 0; the last one carries the whole response."""

from collections.abc import Iterator
from itertools import count

import msgspec

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Json, Order, Piece, Tool
from submeter.scripted.dialect import Dialect, Event, encode, openai_error, openai_headers, read_json
from submeter.scripted.prices import Tokens, tier_served
from submeter.scripted.text import count_tokens, text_of, transcript


class FunctionTool(msgspec.Struct):
    type: str | None = None
    name: str | None = None
    parameters: object = None


class ResponsesRequest(msgspec.Struct):
    model: str
    input: str | list[dict[str, object]] = ""
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: object = None
    service_tier: str | None = None
    background: bool | None = None
    store: bool | None = None


def read(body: bytes) -> Order:
    request = read_json(body, ResponsesRequest)
    said = request.input if isinstance(request.input, str) else transcript(request.input)
    prompt = text_of([request.instructions, said])
    functions = [tool for tool in request.tools or [] if tool.type == "function"]
    return Order(
        model=request.model,
        prompt=prompt,
        input_tokens=count_tokens(prompt),
        stream=request.stream is True,
        limit=request.max_output_tokens,
        tool=Tool.of(functions[0].name, functions[0].parameters) if functions else None,
        tool_required=request.tool_choice == "required" or isinstance(request.tool_choice, dict),
        service_tier=tier_served(request.model, request.service_tier),
        background=request.background is True,
        store=request.store is True or request.background is True,
    )


def whole(answer: Answer) -> Json:
    return _response(answer, _status(answer), _output(answer), usage.last(answer, usage_block))


def unfinished(answer: Answer, status: str) -> Json:
    """A job that has no output yet, or that will never have any."""
    return _response(answer, status, [], {"usage": None})


def usage_block(tokens: Tokens) -> Json:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {
            "cached_tokens": tokens.cached_read,
            "cache_write_tokens": tokens.cache_writes,
        },
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }


def events(answer: Answer) -> Iterator[Event]:
    stream = _Stream(answer)
    begun = unfinished(answer, "in_progress")
    yield stream.event("response.created", {"response": begun})
    yield stream.event("response.in_progress", {"response": begun})
    yield from stream.reasoning() if answer.shows_reasoning else stream.hidden()
    yield from stream.message() if answer.tool is None else stream.call(answer.tool)
    yield stream.event(f"response.{_status(answer)}", {"response": whole(answer)}, ends=True)


class _Stream:
    """Numbers the events of one answer and the items in it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._sequence = count()
        self._index = 0

    def event(self, kind: str, members: Json, piece: Piece | None = None, *, ends: bool = False) -> Event:
        data = encode({"type": kind, "sequence_number": next(self._sequence), **members})
        return Event(data, name=kind, piece=piece, usage=ends, last=ends)

    def hidden(self) -> Iterator[Event]:
        for piece in self._answer.of("reasoning"):
            yield Event(b"", piece=piece)

    def reasoning(self) -> Iterator[Event]:
        place = self._place(_reasoning_id(self._answer), summary_index=0)
        text = self._answer.text("reasoning")
        part = _summary_part(text)
        yield self._added(_reasoning_item(self._answer, []))
        yield self.event("response.reasoning_summary_part.added", {**place, "part": _summary_part("")})
        for piece in self._answer.of("reasoning"):
            yield self.event("response.reasoning_summary_text.delta", {**place, "delta": piece.text}, piece)
        yield self.event("response.reasoning_summary_text.done", {**place, "text": text})
        yield self.event("response.reasoning_summary_part.done", {**place, "part": part})
        yield self._done(_reasoning_item(self._answer, [part]))

    def message(self) -> Iterator[Event]:
        place = self._place(_message_id(self._answer), content_index=0)
        text = self._answer.text("text")
        part = _text_part(text)
        yield self._added(_message_item(self._answer, "in_progress", []))
        yield self.event("response.content_part.added", {**place, "part": _text_part("")})
        for piece in self._answer.of("text"):
            delta = {**place, "delta": piece.text, "logprobs": []}
            yield self.event("response.output_text.delta", delta, piece)
        yield self.event("response.output_text.done", {**place, "text": text, "logprobs": []})
        yield self.event("response.content_part.done", {**place, "part": part})
        yield self._done(_message_item(self._answer, _status(self._answer), [part]))

    def call(self, tool: Tool) -> Iterator[Event]:
        place = self._place(_call_id(self._answer))
        text = self._answer.text("tool")
        done = {**place, "name": tool.name, "arguments": text}
        yield self._added(_call_item(self._answer, tool, "in_progress", ""))
        for piece in self._answer.of("tool"):
            yield self.event("response.function_call_arguments.delta", {**place, "delta": piece.text}, piece)
        yield self.event("response.function_call_arguments.done", done)
        yield self._done(_call_item(self._answer, tool, _status(self._answer), text))

    def _place(self, item_id: str, **indexes: int) -> Json:
        return {"item_id": item_id, "output_index": self._index, **indexes}

    def _added(self, item: Json) -> Event:
        return self.event("response.output_item.added", {"output_index": self._index, "item": item})

    def _done(self, item: Json) -> Event:
        event = self.event("response.output_item.done", {"output_index": self._index, "item": item})
        self._index += 1
        return event


def _response(answer: Answer, status: str, output: list[Json], usage_member: Json) -> Json:
    reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": response_id(answer),
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "background": answer.order.background,
        "error": None,
        "incomplete_details": reason,
        "instructions": None,
        "max_output_tokens": answer.order.limit,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": answer.order.service_tier,
        "store": answer.order.store,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        **usage_member,
    }


def _output(answer: Answer) -> list[Json]:
    items, status = [], _status(answer)
    if answer.shows_reasoning:
        items.append(_reasoning_item(answer, [_summary_part(answer.text("reasoning"))]))
    if answer.tool is None:
        items.append(_message_item(answer, status, [_text_part(answer.text("text"))]))
    else:
        items.append(_call_item(answer, answer.tool, status, answer.text("tool")))
    return items


def _status(answer: Answer) -> str:
    return "incomplete" if answer.truncated else "completed"


def response_id(answer: Answer) -> str:
    return f"resp_{answer.ident[:32]}"


def _reasoning_id(answer: Answer) -> str:
    return f"rs_{answer.ident[:32]}"


def _message_id(answer: Answer) -> str:
    return f"msg_{answer.ident[:32]}"


def _call_id(answer: Answer) -> str:
    return f"fc_{answer.ident[:32]}"


def _reasoning_item(answer: Answer, summary: list[Json]) -> Json:
    return {"type": "reasoning", "id": _reasoning_id(answer), "summary": summary}


def _summary_part(text: str) -> Json:
    return {"type": "summary_text", "text": text}


def _message_item(answer: Answer, status: str, content: list[Json]) -> Json:
    return {
        "type": "message",
        "id": _message_id(answer),
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(answer: Answer, tool: Tool, status: str, arguments: str) -> Json:
    return {
        "type": "function_call",
        "id": _call_id(answer),
        "call_id": f"call_{answer.ident[:24]}",
        "status": status,
        "name": tool.name,
        "arguments": arguments,
    }


def _stream_error(message: str) -> Event:
    error = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 0}
    return Event(encode(error), name="error")


RESPONSES = Dialect("responses", read, whole, events, openai_error, _stream_error, openai_headers)
