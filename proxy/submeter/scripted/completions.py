"""POST /v1/completions, the legacy one: prompts in, text out. Its reasoning is never shown."""

from collections.abc import Iterator

import msgspec

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Json, Order, Piece
from submeter.scripted.chat import StreamOptions
from submeter.scripted.completion_stream import completion_stream, usage_block
from submeter.scripted.dialect import Dialect, Event, openai_error, openai_headers, openai_stream_error, read_json
from submeter.scripted.script import Choices
from submeter.scripted.text import Inputs, as_inputs


class CompletionRequest(msgspec.Struct):
    model: str
    prompt: Inputs
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    max_tokens: int | None = None


def read(body: bytes) -> Order:
    request = read_json(body, CompletionRequest)
    prompts = as_inputs(request.prompt)
    options = request.stream_options
    return Order(
        model=request.model,
        prompt="\n".join(prompt.text for prompt in prompts),
        input_tokens=sum(prompt.tokens for prompt in prompts),
        stream=request.stream is True,
        stream_options=options is not None,
        include_usage=options is not None and options.include_usage is True,
        n=len(prompts) * (1 if request.n is None else request.n),
        limit=request.max_tokens,
    )


def whole(answer: Answer) -> Json:
    choices = [
        {"index": choice, "text": answer.text("text", choice), "logprobs": None, "finish_reason": _finish(answer)}
        for choice in range(answer.order.n)
    ]
    return {**_head(answer), "choices": choices, **usage.last(answer, usage_block)}


def events(answer: Answer) -> Iterator[Event]:
    def said(piece: Piece) -> Json | None:
        return {"text": piece.text} if piece.kind == "text" else None

    return completion_stream(
        answer,
        _head(answer),
        opening=None,
        said=said,
        closing={"text": ""},
        finish_reason=_finish(answer),
    )


def _head(answer: Answer) -> Json:
    return {
        "id": f"cmpl-{answer.ident[:29]}",
        "object": "text_completion",
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": "fp_scripted",
    }


def _finish(answer: Answer) -> str:
    return "length" if answer.truncated else "stop"


COMPLETIONS = Dialect("completions", read, whole, events, openai_error, openai_stream_error, openai_headers)
