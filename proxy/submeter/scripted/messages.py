"""POST /v1/messages, Anthropic's dialect. Usage is told in two parts that a client must merge: ``message_start``
has the input, ``message_delta`` the output."""

from collections.abc import Iterator

import msgspec

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Json, Kind, Order, Piece, Tool
from submeter.scripted.dialect import Dialect, Event, encode, read_json
from submeter.scripted.prices import Tokens
from submeter.scripted.text import count_tokens, text_of, transcript


class MessagesTool(msgspec.Struct):
    name: str
    input_schema: object = None


class ToolChoice(msgspec.Struct):
    type: str


class MessagesRequest(msgspec.Struct):
    model: str
    messages: list[dict[str, object]]
    max_tokens: int
    system: object = None
    stream: bool | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: ToolChoice | None = None


def read(body: bytes) -> Order:
    request = read_json(body, MessagesRequest)
    prompt = text_of([request.system, transcript(request.messages)])
    tools = request.tools or []
    return Order(
        model=request.model,
        prompt=prompt,
        input_tokens=count_tokens(prompt),
        stream=request.stream is True,
        limit=request.max_tokens,
        tool=Tool.of(tools[0].name, tools[0].input_schema) if tools else None,
        tool_required=request.tool_choice is not None and request.tool_choice.type in ("any", "tool"),
        service_tier="standard",
        names_ttl=True,
    )


def whole(answer: Answer) -> Json:
    blocks = [_block(answer, kind, answer.text(kind)) for kind in _kinds(answer)]
    return _message(answer, blocks, _stop_reason(answer), usage.last(answer, usage_block))


def events(answer: Answer) -> Iterator[Event]:
    yield _event("message_start", {"message": _message(answer, [], None, _usage_at_start(answer))})
    if not answer.shows_reasoning:
        yield from (Event(b"", piece=piece) for piece in answer.of("reasoning"))
    for index, kind in enumerate(_kinds(answer)):
        yield from _block_events(answer, kind, index)
    yield from _message_deltas(answer)
    yield _event("message_stop", {}, last=True)


def usage_block(tokens: Tokens) -> Json:
    """Anthropic's shape: ``input_tokens`` excludes the cache; writes are split by time to live where that is known."""
    named = tokens.cache_write_5m + tokens.cache_write_1h
    by_ttl = {
        "ephemeral_5m_input_tokens": tokens.cache_write_5m,
        "ephemeral_1h_input_tokens": tokens.cache_write_1h,
    }
    return {
        "input_tokens": tokens.input_uncached,
        "cache_creation_input_tokens": tokens.cache_writes,
        "cache_read_input_tokens": tokens.cached_read,
        "cache_creation": by_ttl if named or not tokens.cache_write else None,
        **_output_usage(tokens),
        "service_tier": "standard",
    }


def _output_usage(tokens: Tokens) -> Json:
    thinking = {"output_tokens_details": {"thinking_tokens": tokens.reasoning}} if tokens.reasoning else {}
    return {"output_tokens": tokens.output, **thinking}


def _usage_at_start(answer: Answer) -> Json:
    """The input, and one token of output, as the real one begins. Where ``message_delta`` will tell the whole, the
    cache is left out here: a client that does not merge counts too little."""
    begun = usage.so_far(answer, usage_block, Tokens(input_uncached=answer.tokens.input_uncached))
    if begun is not None:
        return {"usage": begun}
    member = usage.last(answer, usage_block)
    block = member.get("usage")
    if isinstance(block, dict) and answer.script.usage in usage.HONEST - {"zero"}:
        block["output_tokens"] = 1
    return member


def _message_deltas(answer: Answer) -> Iterator[Event]:
    whole_block = answer.script.usage in ("cumulative", "decreasing")
    member = usage.last(answer, usage_block if whole_block else _output_usage)
    delta = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
    for _ in range(3 if answer.script.usage == "repeated" else 1):
        yield _event("message_delta", {"delta": delta, **member}, tells_usage=True)


def _kinds(answer: Answer) -> list[Kind]:
    """The content blocks, in order."""
    thinking: list[Kind] = ["reasoning"] if answer.shows_reasoning else []
    return [*thinking, "text" if answer.tool is None else "tool"]


def _block(answer: Answer, kind: Kind, text: str) -> Json:
    if kind == "reasoning":
        return {"type": "thinking", "thinking": text, "signature": _signature(answer) if text else ""}
    if answer.tool is None:
        return {"type": "text", "text": text}
    call_id = f"toolu_{answer.ident[:24]}"
    return {"type": "tool_use", "id": call_id, "name": answer.tool.name, "input": _arguments(text)}


def _arguments(text: str) -> object:
    """The call's input; one that ``max_tokens`` cut short has none."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}


def _block_events(answer: Answer, kind: Kind, index: int) -> Iterator[Event]:
    yield _event("content_block_start", {"index": index, "content_block": _block(answer, kind, "")})
    if index == 0:
        yield _event("ping", {})
    for piece in answer.of(kind):
        yield _event("content_block_delta", {"index": index, "delta": _delta(kind, piece.text)}, piece)
    if kind == "reasoning":
        signature = {"type": "signature_delta", "signature": _signature(answer)}
        yield _event("content_block_delta", {"index": index, "delta": signature})
    yield _event("content_block_stop", {"index": index})


def _delta(kind: Kind, text: str) -> Json:
    match kind:
        case "reasoning":
            return {"type": "thinking_delta", "thinking": text}
        case "text":
            return {"type": "text_delta", "text": text}
        case "tool":
            return {"type": "input_json_delta", "partial_json": text}


def _signature(answer: Answer) -> str:
    return f"sig_{answer.ident[:32]}"


def _message(answer: Answer, content: list[Json], stop_reason: str | None, usage_member: Json) -> Json:
    return {
        "id": f"msg_{answer.ident[:24]}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        **usage_member,
    }


def _stop_reason(answer: Answer) -> str:
    if answer.truncated:
        return "max_tokens"
    return "end_turn" if answer.tool is None else "tool_use"


def _event(
    kind: str, members: Json, piece: Piece | None = None, *, tells_usage: bool = False, last: bool = False
) -> Event:
    data = encode({"type": kind, **members})
    return Event(data, name=kind, piece=piece, usage=tells_usage, last=last)


def _error(status: int, message: str) -> Json:
    kind = _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def _stream_error(message: str) -> Event:
    return Event(encode(_error(529, message)), name="error")


def _headers(request_id: str, _processing_ms: float) -> dict[str, str]:
    return {
        "request-id": request_id,
        "anthropic-ratelimit-requests-limit": "10000",
        "anthropic-ratelimit-requests-remaining": "9999",
        "anthropic-ratelimit-requests-reset": "2100-01-01T00:00:00Z",
    }


_ERRORS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

MESSAGES = Dialect("messages", read, whole, events, _error, _stream_error, _headers)
