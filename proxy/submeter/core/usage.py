"""Provider usage blocks -> disjoint token classes.

Every reader takes any JSON whatever and never raises: what cannot be believed becomes a named problem and no
tokens, so that it is estimated and marked instead of guessed. A remainder that would be negative is a problem,
not a zero, and so is a total that its parts do not add up to: somebody bills what is in neither. Sources: the
providers' API references for chat completions, responses, embeddings and messages.

Providers agree on names more than on what they include. Where ``total_tokens`` stands, it decides:

    total = prompt + completion                 OpenAI, DeepSeek, Groq, Mistral, vLLM: reasoning is in completion
    total = prompt + completion + reasoning     xAI: reasoning is on top of completion
    total > prompt + completion, none named     Gemini: the difference is the thoughts
    anything else                               a problem
"""

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import NamedTuple

import msgspec

from submeter.core.record import TokenClasses

MAX_TOKENS = 1 << 53  # beyond this a JSON number is no longer an exact integer for most of the world
MAX_SEARCHES = 10_000
"""No call is billed for more of them; a count beyond is none."""
MAX_COST_CHARACTERS = 32
_AMOUNT = re.compile(r"\d{1,16}(?:\.\d+)?(?:[eE](?:\+?\d|-\d\d?))?")
_EXACT = Context(prec=200)
"""Sums of two such amounts are exact in it."""
XAI_TICKS_PER_USD_EXPONENT = 10

Json = Mapping[str, object]


class Usage(msgspec.Struct, frozen=True):
    """What a usage block says: ``tokens``, or why it is not believed; the rest where the provider names it."""

    tokens: TokenClasses | None = None
    problem: str | None = None
    cost_usd: str | None = None
    web_searches: int | None = None
    region: str | None = None


class WrittenNumber(str):
    """A JSON number with a point or an exponent, as it was written: no float loses a digit of it."""

    __slots__ = ()


class _Unbelievable(Exception):
    """Carries a fixed text that names the member."""


class _Names(NamedTuple):
    prompt: str
    prompt_details: str
    completion: str
    completion_details: str
    plain: frozenset[str]
    """The members of a block that has totals alone."""


_CHAT = _Names(
    "prompt_tokens",
    "prompt_tokens_details",
    "completion_tokens",
    "completion_tokens_details",
    frozenset({"prompt_tokens", "completion_tokens", "total_tokens"}),
)
_RESPONSES = _Names(
    "input_tokens",
    "input_tokens_details",
    "output_tokens",
    "output_tokens_details",
    frozenset({"input_tokens", "output_tokens", "total_tokens"}),
)
_CACHED = ("cached_tokens",)
_CACHED_BESIDE = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
"""Not in the details but beside the totals: Moonshot, DeepSeek, LiteLLM."""
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens")
_WRITTEN_BESIDE = ("cache_creation_input_tokens",)
_REASONING = ("reasoning_tokens",)
_BILLED_APART = ("citation_tokens", "prompt_audio_seconds")
"""Perplexity's and Mistral's: billed, and neither in the totals nor of any class."""
_OWN_ITERATIONS = ("message", "compaction")
_SEARCH_COUNTS = (
    ("server_tool_use", "web_search_requests"),  # Anthropic, OpenRouter, LiteLLM
    ("server_side_tool_usage_details", "web_search_calls"),  # xAI
    (None, "num_search_queries"),  # Perplexity
    (None, "num_sources_used"),  # xAI's live search, billed by the source
)
_BESIDE_TOKENS = frozenset(
    {"cost", "cost_in_usd_ticks", "inference_geo", *(block or name for block, name in _SEARCH_COUNTS)}
)
_NO_REGION = ("", "global", "not_available")
_decoder = msgspec.json.Decoder(float_hook=WrittenNumber)


def decode_block(raw: bytes | msgspec.Raw) -> object:
    """A usage block as it came; what is no JSON is ``"unreadable"``, and is then no usage block either."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "unreadable"


def read_chat(block: object, *, model: str | None = None) -> Usage:
    """Chat and completions: ``prompt_tokens`` and ``completion_tokens`` include their details."""
    return _read(block, lambda usage: _openai_classes(usage, _CHAT, model))


def read_embeddings(block: object) -> Usage:
    """Embeddings have a prompt and no completion; some providers (Voyage) name the total alone."""
    return _read(block, _embedding_classes)


def read_responses(block: object, *, model: str | None = None) -> Usage:
    """Responses: ``input_tokens`` and ``output_tokens`` include their details."""
    return _read(block, lambda usage: _openai_classes(usage, _RESPONSES, model))


def read_messages(block: object) -> Usage:
    """Anthropic: ``input_tokens`` excludes what was read from or written to the prompt cache."""
    return _read(block, _messages_classes)


def merge_messages(earlier: Json, later: Json) -> Json:
    """``message_start`` and ``message_delta`` together: the last value that is not null wins, never a sum."""
    return {**earlier, **{name: value for name, value in later.items() if value is not None}}


def whole_count(value: object, most: int) -> int | None:
    """A count that nothing depends on; None for what is no whole number between 0 and ``most``."""
    return value if type(value) is int and 0 <= value <= most else None


def _read(block: object, classes: Callable[[Json], TokenClasses]) -> Usage:
    if not isinstance(block, dict):
        return Usage(problem=None if block is None else "usage is not an object")
    tokens, problem = None, None
    try:
        tokens = classes(block)
    except _Unbelievable as why:
        problem = str(why)
    if block.keys().isdisjoint(_BESIDE_TOKENS):
        return Usage(tokens, problem)
    return Usage(tokens, problem, _cost_usd(block), _web_searches(block), _region(block))


# ---- chat, completions, embeddings, responses ----------------------------------------------------------------


def _openai_classes(usage: Json, names: _Names, model: str | None) -> TokenClasses:
    prompt, completion = _count(usage, names.prompt), _count(usage, names.completion)
    unnamed = _beyond(usage, prompt + completion)
    if unnamed == 0 and usage.keys() <= names.plain:  # running totals, which come with every chunk
        return TokenClasses(input_uncached=prompt, output_text=completion)
    details = _details(usage, names.completion_details)
    _nothing_billed_apart(usage)
    reasoning, on_top = _reasoning(usage, details, unnamed, model)
    audio, image = _part(details, "audio_tokens"), _part(details, "image_tokens")
    # Accepted and rejected predictions are billed as the output that they are counted in.
    text = _rest(completion + on_top, reasoning + audio + image, "completion details exceed the completion tokens")
    return TokenClasses(
        **_input_classes(usage, prompt, _details(usage, names.prompt_details)),
        output_text=text,
        reasoning=reasoning,
        output_audio=audio,
        output_image=image,
    )


def _embedding_classes(usage: Json) -> TokenClasses:
    prompt = _count(usage, "total_tokens" if usage.get("prompt_tokens") is None else "prompt_tokens")
    completion = _part(usage, "completion_tokens")
    if _beyond(usage, prompt + completion):
        raise _Unbelievable("total_tokens exceeds prompt_tokens")
    inputs = _input_classes(usage, prompt, _details(usage, "prompt_tokens_details"))
    return TokenClasses(**inputs, output_text=completion)


def _input_classes(usage: Json, prompt: int, details: Json) -> dict[str, int]:
    """Audio and image counts include what of them was cached, where the provider says how much that is; where it
    does not, ``cached_tokens`` are taken to be text, and a remainder that would be negative shows if they are not."""
    cached = _named(details, _CACHED, usage, _CACHED_BESIDE)
    written = _named(details, _WRITTEN, usage, _WRITTEN_BESIDE)
    cached_audio, cached_image = _cached_parts(details, cached)
    audio = _rest(_part(details, "audio_tokens"), cached_audio, "cached audio exceeds the audio_tokens")
    image = _rest(_part(details, "image_tokens"), cached_image, "cached images exceed the image_tokens")
    return {
        "input_uncached": _rest(prompt, cached + written + audio + image, "prompt details exceed the prompt tokens"),
        "cached_read": cached - cached_audio,
        "cached_audio": cached_audio,
        "input_audio": audio,
        "input_image": image,
        **_written_classes(written, usage, details),
    }


def _cached_parts(details: Json, cached: int) -> tuple[int, int]:
    """(audio, images) of what was cached. Cached images are billed as cached text."""
    parts = _details(details, "cached_tokens_details")
    audio, image = _part(parts, "audio_tokens"), _part(parts, "image_tokens")
    _rest(cached, audio + image, "cached_tokens_details exceed the cached_tokens")
    return audio, image


def _written_classes(written: int, usage: Json, details: Json) -> dict[str, int]:
    """OpenAI writes for 30 minutes or 12 hours; gateways before Anthropic have its words for 5 minutes or an hour."""
    own = _details(details, "cache_write_tokens_details")
    gateway = _details(details, "cache_creation_token_details") or _details(usage, "cache_creation")
    if not (own or gateway):
        return {"cache_write": written}
    named = {
        "cache_write_5m": _part(gateway, "ephemeral_5m_input_tokens"),
        "cache_write_30m": _named(own, ("ttl_30m_tokens",), gateway, ("ephemeral_30m_input_tokens",)),
        "cache_write_1h": _part(gateway, "ephemeral_1h_input_tokens"),
        "cache_write_12h": _named(own, ("ttl_12h_tokens",), gateway, ("ephemeral_12h_input_tokens",)),
    }
    rest = _rest(written, sum(named.values()), "cache-write details exceed the cache-write tokens")
    return {"cache_write": rest, **named}


def _reasoning(usage: Json, details: Json, unnamed: int, model: str | None) -> tuple[int, int]:
    """(reasoning tokens, how many of them are on top of the completion), by the table above."""
    reasoning = _named(details, _REASONING, usage, _REASONING)
    if unnamed == 0 and reasoning and not details.get("reasoning_tokens"):
        raise _Unbelievable("reasoning_tokens may be in the completion or on top of it")
    if unnamed in (0, reasoning):
        return reasoning, unnamed
    if reasoning == 0 and model is not None and "gemini" in model.lower():
        return unnamed, unnamed
    raise _Unbelievable("total_tokens exceeds the prompt, the completion and the reasoning")


def _beyond(usage: Json, counted: int) -> int:
    """Tokens of the provider's total that are in neither the prompt nor the completion."""
    total = usage.get("total_tokens")
    return 0 if total is None else _rest(_whole(total, "total_tokens"), counted, "total_tokens is less than its parts")


def _nothing_billed_apart(usage: Json) -> None:
    for name in _BILLED_APART:
        value = usage.get(name)
        if isinstance(value, WrittenNumber) or (type(value) is int and value != 0):
            raise _Unbelievable(f"{name} is billed and has no class")


# ---- messages ------------------------------------------------------------------------------------------------


def _messages_classes(usage: Json) -> TokenClasses:
    """The totals leave out what a compaction of the context used, by the same model."""
    tokens = _message_classes(usage)
    iterations = usage.get("iterations")
    if iterations is None:
        return tokens
    if not isinstance(iterations, list):
        raise _Unbelievable("iterations is not a list")
    for iteration in iterations:
        if not isinstance(iteration, dict) or iteration.get("type") not in _OWN_ITERATIONS:
            raise _Unbelievable("iterations has one of another model")  # an advisor's, a fallback's: other prices
        if iteration["type"] == "compaction":
            tokens = _sum(tokens, _message_classes(iteration))
    return tokens


def _message_classes(usage: Json) -> TokenClasses:
    written = _part(usage, "cache_creation_input_tokens")
    ttl = _details(usage, "cache_creation")
    written_5m, written_1h = _part(ttl, "ephemeral_5m_input_tokens"), _part(ttl, "ephemeral_1h_input_tokens")
    output = _count(usage, "output_tokens")
    thinking = _part(_details(usage, "output_tokens_details"), "thinking_tokens")
    return TokenClasses(
        input_uncached=_count(usage, "input_tokens"),
        cached_read=_part(usage, "cache_read_input_tokens"),
        cache_write=_rest(written, written_5m + written_1h, "cache-write details exceed the cache-write tokens"),
        cache_write_5m=written_5m,
        cache_write_1h=written_1h,
        output_text=_rest(output, thinking, "thinking_tokens exceed the output_tokens"),
        reasoning=thinking,
    )


def _sum(one: TokenClasses, other: TokenClasses) -> TokenClasses:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return TokenClasses(*(left + right for left, right in pairs))


# ---- counts --------------------------------------------------------------------------------------------------


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


def _named(details: Json, names: tuple[str, ...], beside: Json, names_beside: tuple[str, ...]) -> int:
    """One count that may stand under several names, in the details and beside them; two that differ are a problem."""
    found: int | None = None
    for block, block_names in ((details, names), (beside, names_beside)):
        for name in block_names:
            value = block.get(name)
            if value is None:
                continue
            count = _whole(value, name)
            if found not in (None, count):
                raise _Unbelievable(f"{names[0]} has two values")
            found = count
    return 0 if found is None else found


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


# ---- what is no token ----------------------------------------------------------------------------------------


def _web_searches(usage: Json) -> int | None:
    """Searches billed by the request, by the first name that has a count. Anthropic's web fetches are free."""
    for block, name in _SEARCH_COUNTS:
        place = usage if block is None else usage.get(block)
        count = whole_count(place.get(name), MAX_SEARCHES) if isinstance(place, dict) else None
        if count is not None:
            return count
    return None


def _region(usage: Json) -> str | None:
    """Anthropic's ``inference_geo``, where it is one that may have a price of its own."""
    value = usage.get("inference_geo")
    if not isinstance(value, str) or isinstance(value, WrittenNumber) or value in _NO_REGION:
        return None
    return value if len(value) <= 32 and value.isascii() and value.isprintable() else None


def _cost_usd(usage: Json) -> str | None:
    """OpenRouter's ``usage.cost``, Perplexity's, xAI's: kept as the provider's word, digit by digit.

    With a key of the caller's own (``is_byok``) OpenRouter's cost is its fee; the model is billed beside it.
    """
    cost, ticks = usage.get("cost"), whole_count(usage.get("cost_in_usd_ticks"), MAX_TOKENS)
    written = _written_amount(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if written is None and ticks is not None:
        return format(Decimal(ticks).scaleb(-XAI_TICKS_PER_USD_EXPONENT), "f")
    details = usage.get("cost_details")
    if written is None or usage.get("is_byok") is not True or not isinstance(details, dict):
        return written
    upstream = _written_amount(details.get("upstream_inference_cost"))
    return written if upstream is None else _plain_sum(written, upstream)


def _written_amount(value: object) -> str | None:
    """The text of a number that can be an amount: not negative, and of no more digits than money has."""
    if type(value) is not int and not isinstance(value, WrittenNumber):
        return None
    text = str(value)[: MAX_COST_CHARACTERS + 1] if type(value) is not int or value <= MAX_TOKENS else ""
    return text if len(text) <= MAX_COST_CHARACTERS and _AMOUNT.fullmatch(text) else None


def _plain_sum(one: str, other: str) -> str | None:
    text = format(_EXACT.add(Decimal(one), Decimal(other)), "f")
    return text if len(text) <= MAX_COST_CHARACTERS else None
