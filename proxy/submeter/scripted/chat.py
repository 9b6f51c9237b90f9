"""POST /v1/chat/completions."""

from collections.abc import Iterator

import msgspec

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Json, Order, Piece, Tool
from submeter.scripted.completion_stream import completion_stream, usage_block
from submeter.scripted.dialect import Dialect, Event, openai_error, openai_headers, openai_stream_error, read_json
from submeter.scripted.prices import tier_served
from submeter.scripted.script import Choices
from submeter.scripted.text import count_tokens, transcript


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Function(msgspec.Struct):
    name: str
    parameters: object = None


class FunctionTool(msgspec.Struct):
    function: Function | None = None


class ChatRequest(msgspec.Struct):
    model: str
    messages: list[dict[str, object]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: object = None
    service_tier: str | None = None


def read(body: bytes) -> Order:
    request = read_json(body, ChatRequest)
    prompt = transcript(request.messages)
    options, limit = request.stream_options, request.max_completion_tokens
    functions = [tool.function for tool in request.tools or [] if tool.function is not None]
    return Order(
        model=request.model,
        prompt=prompt,
        input_tokens=count_tokens(prompt),
        stream=request.stream is True,
        stream_options=options is not None,
        include_usage=options is not None and options.include_usage is True,
        n=1 if request.n is None else request.n,
        limit=request.max_tokens if limit is None else limit,
        tool=Tool.of(functions[0].name, functions[0].parameters) if functions else None,
        tool_required=request.tool_choice == "required" or isinstance(request.tool_choice, dict),
        service_tier=tier_served(request.model, request.service_tier),
    )


def whole(answer: Answer) -> Json:
    choices = [
        {"index": choice, "message": _message(answer, choice), "logprobs": None, "finish_reason": _finish(answer)}
        for choice in range(answer.order.n)
    ]
    return {**_head(answer, "chat.completion"), "choices": choices, **usage.last(answer, usage_block)}


def events(answer: Answer) -> Iterator[Event]:
    content = "" if answer.tool is None else None
    return completion_stream(
        answer,
        _head(answer, "chat.completion.chunk"),
        opening={"delta": {"role": "assistant", "content": content, "refusal": None}},
        said=lambda piece: {"delta": _delta(answer, piece)} if answer.shows(piece) else None,
        closing={"delta": {}},
        finish_reason=_finish(answer),
    )


def _head(answer: Answer, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{answer.ident[:29]}",
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": answer.order.service_tier,
        "system_fingerprint": "fp_scripted",
    }


def _finish(answer: Answer) -> str:
    if answer.truncated:
        return "length"
    return "stop" if answer.tool is None else "tool_calls"


def _message(answer: Answer, choice: int) -> Json:
    message: Json = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    if answer.shows_reasoning:
        message["reasoning_content"] = answer.text("reasoning", choice)
    if answer.tool is None:
        return {**message, "content": answer.text("text", choice)}
    return {**message, "tool_calls": [_call(answer, answer.tool, choice, answer.text("tool", choice))]}


def _delta(answer: Answer, piece: Piece) -> Json:
    if piece.kind == "reasoning":
        return {"reasoning_content": piece.text}
    if answer.tool is None:
        return {"content": piece.text}
    if piece.first:
        return {"tool_calls": [{"index": 0, **_call(answer, answer.tool, piece.choice, piece.text)}]}
    return {"tool_calls": [{"index": 0, "function": {"arguments": piece.text}}]}


def _call(answer: Answer, tool: Tool, choice: int, arguments: str) -> Json:
    function = {"name": tool.name, "arguments": arguments}
    return {"id": f"call_{answer.ident[:20]}{choice}", "type": "function", "function": function}


CHAT = Dialect("chat/completions", read, whole, events, openai_error, openai_stream_error, openai_headers)
