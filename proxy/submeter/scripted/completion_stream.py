"""The stream that chat and legacy completions share: chunks of choices, an optional usage chunk, ``[DONE]``."""

from collections.abc import Callable, Iterator

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Json, Piece
from submeter.scripted.dialect import Event, encode
from submeter.scripted.prices import Tokens


def completion_stream(
    answer: Answer,
    head: Json,
    *,
    opening: Json | None,
    said: Callable[[Piece], Json | None],
    closing: Json,
    finish_reason: str,
) -> Iterator[Event]:
    """``head`` is what every chunk begins with; the rest are the members of a choice when it opens (``None``: no
    chunk), for a piece (``None``: it is not shown), and when it finishes."""

    def chunk(choice: int, content: Json, finish: str | None = None, more: Json | None = None) -> bytes:
        choices = [{"index": choice, **content, "logprobs": None, "finish_reason": finish}]
        return encode({**head, "choices": choices, **(_no_usage(answer) if more is None else more)})

    if opening is not None:
        for choice in range(answer.order.n):
            yield Event(chunk(choice, opening))
    generated = answer.tokens.prompt
    for piece in answer.pieces:
        generated = piece.added_to(generated)
        content = said(piece)
        if content is None:
            yield Event(b"", piece=piece)
        else:
            yield Event(chunk(piece.choice, content, more=_so_far(answer, generated)), piece=piece)
    in_finish = answer.script.usage == "finish_chunk"
    for choice in range(answer.order.n):
        ends = in_finish and choice == answer.order.n - 1
        member = usage.last(answer, usage_block) if ends else None
        yield Event(chunk(choice, closing, finish_reason, member), usage=ends)
    if answer.order.include_usage and not in_finish:
        yield from _usage_chunks(answer, head)
    if answer.script.done:
        yield Event(b"[DONE]", last=True)


def usage_block(tokens: Tokens) -> Json:
    """OpenAI's shape: the prompt includes what the cache read and wrote, the completion its reasoning."""
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached_read,
            "cache_write_tokens": tokens.cache_writes,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _usage_chunks(answer: Answer, head: Json) -> Iterator[Event]:
    member = usage.last(answer, usage_block)
    if not member:
        return
    times = 3 if answer.script.usage == "repeated" else 1
    for _ in range(times):
        yield Event(encode({**head, "choices": [], **member}), usage=True)


def _so_far(answer: Answer, generated: Tokens) -> Json | None:
    block = usage.so_far(answer, usage_block, generated)
    return None if block is None else {"usage": block}


def _no_usage(answer: Answer) -> Json:
    """OpenAI says ``usage: null`` in every other chunk of a stream that was asked for usage."""
    return {"usage": None} if answer.order.include_usage else {}
