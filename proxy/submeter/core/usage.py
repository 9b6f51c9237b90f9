"""Provider usage blocks -> disjoint token classes.

Every reader takes any JSON whatever and never raises: what cannot be believed becomes a named problem and no
tokens, so that it is estimated and marked instead of guessed. A remainder that would be negative is a problem,
not a zero. Sources: the providers' API references for chat completions, responses, embeddings and messages.
"""

from collections.abc import Callable, Mapping

import msgspec

from submeter.core.record import TokenClasses

MAX_TOKENS = 1 << 53  # beyond this a JSON number is no longer an exact integer for most of the world

Json = Mapping[str, object]


class Usage(msgspec.Struct, frozen=True):
    """What a usage block says: ``tokens``, or why it is not believed; ``cost_usd`` where the provider names one."""

    tokens: TokenClasses | None = None
    problem: str | None = None
    cost_usd: str | None = None


class _Unbelievable(Exception):
    """Carries a fixed text that names the member."""


def read_chat(block: object) -> Usage:
    """Chat and completions: ``prompt_tokens`` and ``completion_tokens`` include their details."""
    return _read(block, _chat_classes)


def read_embeddings(block: object) -> Usage:
    """Embeddings have a prompt and no completion."""
    return _read(block, _embedding_classes)


def read_responses(block: object) -> Usage:
    """Responses: ``input_tokens`` and ``output_tokens`` include their details."""
    return _read(block, _responses_classes)


def read_messages(block: object) -> Usage:
    """Anthropic: ``input_tokens`` excludes what was read from or written to the prompt cache."""
    return _read(block, _messages_classes)


def merge_messages(earlier: Json, later: Json) -> Json:
    """``message_start`` and ``message_delta`` together: the last value that is not null wins, never a sum."""
    return {**earlier, **{name: value for name, value in later.items() if value is not None}}


def _read(block: object, classes: Callable[[Json], TokenClasses]) -> Usage:
    if not isinstance(block, dict):
        return Usage(problem=None if block is None else "usage is not an object")
    try:
        return Usage(classes(block), cost_usd=_cost(block))
    except _Unbelievable as why:
        return Usage(problem=str(why), cost_usd=_cost(block))


def _chat_classes(usage: Json) -> TokenClasses:
    return _openai_classes(
        prompt=_count(usage, "prompt_tokens"),
        prompt_details=_details(usage, "prompt_tokens_details"),
        completion=_count(usage, "completion_tokens"),
        completion_details=_details(usage, "completion_tokens_details"),
    )


def _embedding_classes(usage: Json) -> TokenClasses:
    return _openai_classes(
        prompt=_count(usage, "prompt_tokens"),
        prompt_details=_details(usage, "prompt_tokens_details"),
        completion=_part(usage, "completion_tokens"),
        completion_details={},
    )


def _responses_classes(usage: Json) -> TokenClasses:
    return _openai_classes(
        prompt=_count(usage, "input_tokens"),
        prompt_details=_details(usage, "input_tokens_details"),
        completion=_count(usage, "output_tokens"),
        completion_details=_details(usage, "output_tokens_details"),
    )


def _openai_classes(*, prompt: int, prompt_details: Json, completion: int, completion_details: Json) -> TokenClasses:
    cached = _part(prompt_details, "cached_tokens")
    written = _part(prompt_details, "cache_write_tokens")
    ttl = _details(prompt_details, "cache_write_tokens_details")
    written_30m, written_12h = _part(ttl, "ttl_30m_tokens"), _part(ttl, "ttl_12h_tokens")
    audio, image = _part(prompt_details, "audio_tokens"), _part(prompt_details, "image_tokens")
    reasoning = _part(completion_details, "reasoning_tokens")
    audio_out = _part(completion_details, "audio_tokens")
    return TokenClasses(
        input_uncached=_rest(prompt, cached + written + audio + image, "prompt details exceed the prompt tokens"),
        cached_read=cached,
        cache_write=_rest(written, written_30m + written_12h, "cache-write details exceed the cache-write tokens"),
        cache_write_30m=written_30m,
        cache_write_12h=written_12h,
        input_audio=audio,
        input_image=image,
        output_text=_rest(completion, reasoning + audio_out, "completion details exceed the completion tokens"),
        reasoning=reasoning,
        output_audio=audio_out,
    )


def _messages_classes(usage: Json) -> TokenClasses:
    written = _part(usage, "cache_creation_input_tokens")
    ttl = _details(usage, "cache_creation")
    written_5m, written_1h = _part(ttl, "ephemeral_5m_input_tokens"), _part(ttl, "ephemeral_1h_input_tokens")
    return TokenClasses(
        input_uncached=_count(usage, "input_tokens"),
        cached_read=_part(usage, "cache_read_input_tokens"),
        cache_write=_rest(written, written_5m + written_1h, "cache-write details exceed the cache-write tokens"),
        cache_write_5m=written_5m,
        cache_write_1h=written_1h,
        output_text=_count(usage, "output_tokens"),
    )


def _count(usage: Json, name: str) -> int:
    """A count that must be there."""
    value = usage.get(name)
    if value is None:
        raise _Unbelievable(f"{name} is missing")
    return _whole(value, name)


def _part(usage: Json, name: str) -> int:
    """A count that is part of another one: absent and null mean that the provider says none."""
    value = usage.get(name)
    return 0 if value is None else _whole(value, name)


def _whole(value: object, name: str) -> int:
    if type(value) is not int:  # bool is an int to isinstance, and True is no count
        raise _Unbelievable(f"{name} is not a whole number")
    if not 0 <= value <= MAX_TOKENS:
        raise _Unbelievable(f"{name} is negative or beyond 2^53")
    return value


def _details(usage: Json, name: str) -> Json:
    value = usage.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _Unbelievable(f"{name} is not an object")
    return value


def _rest(total: int, parts: int, problem: str) -> int:
    if parts > total:
        raise _Unbelievable(problem)
    return total - parts


def _cost(usage: Json) -> str | None:
    """OpenRouter's ``usage.cost``, kept as the provider's word."""
    value = usage.get("cost")
    if type(value) in (int, float):
        return repr(value)[:32]
    return None
