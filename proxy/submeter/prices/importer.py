"""litellm's price map → our entries. What is not understood is counted by name, never silently dropped.

The map is a JSON object: model key → fields such as ``input_cost_per_token``, with suffixes for cache TTL, context
size and service tier. Its rules of reading stand in the tables below.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from typing import NamedTuple

from submeter.core.pricebook import STANDARD, Bracket, PriceEntry, tier_name
from submeter.core.record import TOKEN_CLASSES
from submeter.errors import UsageError

MODES = ("chat", "completion", "embedding", "responses")

PROVIDERS = {
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai-embedding-models": "fireworks_ai",
    "text-completion-codestral": "codestral",
    "text-completion-inception": "inception",
    "text-completion-openai": "openai",
}
"""The map splits some providers by API; an upstream has one provider. ``vertex_ai-*`` is ``vertex_ai``."""

CLASSES = {
    "input_cost_per_token": "input_uncached",
    "cache_read_input_token_cost": "cached_read",
    "input_cost_per_token_cache_hit": "cached_read",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_token": "output_text",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "output_audio",
}

_FIELD = re.compile(
    rf"({'|'.join(sorted(CLASSES, key=len, reverse=True))})"
    r"(?:_above_(1|12)hr)?(?:_above_(\d+)k_tokens)?(?:_(flex|priority|batches|ultrafast|balanced))?"
)
_LIMITED_TTLS = {"1": "cache_write_1h", "12": "cache_write_12h"}

REFUSED_FIELDS = {
    "off_peak_pricing": "priced by the hour of the day",
    "input_cost_per_request": "priced by the request",
}
"""An entry that has one of these would be wrong for some calls at its token prices alone: it is left out."""

INCLUSIVE_PROVIDERS = frozenset({"xai"})
"""Whose higher bracket begins at the threshold, not above it (docs.x.ai, "Models and Pricing")."""

_EXACT_DIGITS = Context(prec=12)
"""The map's generators leave binary dust (1.3200000000000002E-7): more digits than this are rounded away."""


class Compiled(NamedTuple):
    entries: list[PriceEntry]
    left_out: Counter[str]
    """Reason → number of the map's entries."""
    not_understood: Counter[str]
    """Price field of an imported entry that this importer does not read → number of entries."""


def compile_map(raw: bytes) -> Compiled:
    """Compile litellm's map. Raises UsageError if it is none."""
    compiled = Compiled([], Counter(), Counter())
    chosen: dict[tuple[str, str], tuple[bool, PriceEntry]] = {}
    for key, fields in _read_map(raw).items():
        entry = _compile_entry(key, fields, compiled)
        if entry is None:
            continue
        place = (str(entry.provider), entry.model)
        prefixed = key != entry.model
        if place in chosen:
            compiled.left_out[_duplicate(chosen[place][1], entry)] += 1
        # A key that names its provider is that provider's own; a bare one may be an alias for routing.
        if place not in chosen or (prefixed and not chosen[place][0]):
            chosen[place] = prefixed, entry
    compiled.entries.extend(entry for _, entry in chosen.values())
    if not compiled.entries:
        raise UsageError("no prices in it: give a file or URL of litellm's model_prices_and_context_window.json")
    return compiled


def _read_map(raw: bytes) -> Mapping[str, Mapping[str, object]]:
    try:
        found = json.loads(raw, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError("not a JSON price map: give a file or URL of litellm's model_prices_and_context_window.json")
    return {key: fields for key, fields in found.items() if isinstance(fields, dict) and key != "sample_spec"}


def _no_number(text: str) -> object:
    raise ValueError(text)


def _compile_entry(key: str, fields: Mapping[str, object], compiled: Compiled) -> PriceEntry | None:
    reason = _reason_against(fields)
    tiers = {} if reason is not None else _tiers(key, fields)
    if reason is None and not tiers:
        reason = "without a price per token"
    if reason is None and not any(_all_prices(tiers)):
        reason = "all prices zero: free, or unknown to the map"
    if reason is not None:
        compiled.left_out[reason] += 1
        return None
    compiled.not_understood.update(_not_understood(fields))
    provider = _provider(str(fields["litellm_provider"]))
    return PriceEntry(
        model=_bare_name(key, str(fields["litellm_provider"]), provider),
        provider=provider,
        mode=str(fields["mode"]),
        source=str(fields.get("source", "")),
        max_input_tokens=_limit(fields.get("max_input_tokens")),
        max_output_tokens=_limit(fields.get("max_output_tokens")),
        tiers=tiers,
    )


def _reason_against(fields: Mapping[str, object]) -> str | None:
    if fields.get("mode") not in MODES:
        return f"mode {fields.get('mode')}"
    if not isinstance(fields.get("litellm_provider"), str):
        return "without a provider"
    return next((reason for name, reason in REFUSED_FIELDS.items() if name in fields), None)


def _provider(name: str) -> str:
    return "vertex_ai" if name.startswith("vertex_ai-") else PROVIDERS.get(name, name)


def _bare_name(key: str, *providers: str) -> str:
    return next((key[len(name) + 1 :] for name in providers if key.startswith(f"{name}/")), key)


def _limit(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _duplicate(one: PriceEntry, other: PriceEntry) -> str:
    agrees = one.tiers == other.tiers
    return "second name of one model" if agrees else f"second name with other prices: {one.provider} {one.model}"


def _tiers(key: str, fields: Mapping[str, object]) -> dict[str, tuple[Bracket, ...]]:
    prices: dict[str, dict[int, dict[str, Decimal]]] = {}
    for tier, above, name, price in _read_prices(key, fields):
        prices.setdefault(tier, {}).setdefault(above, {})[name] = price
    ordered = sorted(prices.items(), key=lambda item: (item[0] != STANDARD, item[0]))
    return {tier: _brackets(by_context) for tier, by_context in ordered}


def _brackets(by_context: dict[int, dict[str, Decimal]]) -> tuple[Bracket, ...]:
    return tuple(
        Bracket(above, {name: prices[name] for name in TOKEN_CLASSES if name in prices})
        for above, prices in sorted(by_context.items())
    )


def _read_prices(key: str, fields: Mapping[str, object]) -> Iterator[tuple[str, int, str, Decimal]]:
    """(tier, above tokens, class, USD per million) of every price field that is understood."""
    tiered = fields.get("tiered_pricing")
    if isinstance(tiered, list):
        yield from _tiered_prices(key, fields, tiered)
        return
    for field, value in fields.items():
        found, price = _FIELD.fullmatch(field), _usd_per_million(value)
        if found is None or price is None:
            continue
        base, ttl, thousands, tier = found.groups()
        above = 0 if thousands is None else int(thousands) * 1000
        if above and fields.get("litellm_provider") in INCLUSIVE_PROVIDERS:
            above -= 1
        yield tier_name(tier), above, _class(key, fields, base, ttl), price


def _tiered_prices(
    key: str, fields: Mapping[str, object], tiered: list[object]
) -> Iterator[tuple[str, int, str, Decimal]]:
    """A list of context ranges (DashScope and its like); it stands instead of the flat prices."""
    for part in tiered:
        lower = part.get("range", [None])[0] if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(lower, int | Decimal):
            continue
        for base in CLASSES:
            price = _usd_per_million(part.get(base))
            if price is not None:
                yield STANDARD, int(lower), _class(key, fields, base, None), price


def _class(key: str, fields: Mapping[str, object], base: str, ttl: str | None) -> str:
    name = CLASSES[base]
    if name != "cache_write":
        return name
    if ttl is not None:
        return _LIMITED_TTLS[ttl]
    # The plain price is that of the default TTL, where a provider sells more than one.
    if "claude" in key or "cache_creation_input_token_cost_above_1hr" in fields:
        return "cache_write_5m"
    return "cache_write_30m" if "cache_creation_input_token_cost_above_12hr" in fields else name


def _usd_per_million(value: object) -> Decimal | None:
    if type(value) not in (int, Decimal):
        return None
    price = _EXACT_DIGITS.plus(Decimal(str(value))).scaleb(6)
    # Zero is 0, not 0E+6, and no exponents: as a person writes it.
    return Decimal(format(price.normalize(), "f")) if price >= 0 else None


def _all_prices(tiers: dict[str, tuple[Bracket, ...]]) -> Iterator[Decimal]:
    for brackets in tiers.values():
        for bracket in brackets:
            yield from bracket.usd_per_million.values()


def _not_understood(fields: Mapping[str, object]) -> Iterator[str]:
    for field, value in fields.items():
        is_price = "cost" in field or "multiplier" in field or field == "provider_specific_entry"
        if is_price and (_FIELD.fullmatch(field) is None or _usd_per_million(value) is None):
            yield field
