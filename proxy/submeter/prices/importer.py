"""litellm's price map → our entries. What is not understood is counted by name, never silently dropped.

The map is a JSON object: model key → fields such as ``input_cost_per_token``, with suffixes for cache TTL, context
size and service tier. Its rules of reading stand in the tables below.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from submeter.core.pricebook import STANDARD, Bracket, OffPeak, PriceEntry
from submeter.core.record import TOKEN_CLASSES
from submeter.errors import UsageError
from submeter.prices.extras import REGIONS, SEARCH, Tiers, read_fast, read_fees, read_off_peak, read_regions
from submeter.prices.fields import CLASSES, plain, read_field, token_class, usd, usd_per_million

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

REFUSED_FIELDS = {"citation_cost_per_token": "priced by the citation token, which no usage names apart"}
"""An entry that has one of these would be wrong for some calls at its token prices alone: it is left out."""

INCLUSIVE_PROVIDERS = frozenset({"xai"})
"""Whose higher bracket begins at the threshold, not above it (docs.x.ai, "Models and Pricing")."""

DEFAULT_CACHE_DISCOUNT = {"fireworks_ai": Decimal("0.5")}
"""What a provider charges of the input price for cached input where it lists no other (docs.fireworks.ai,
"Serverless Overview": 50 % on text and vision models)."""

SECOND_TIER_NAMES = {"openai": {"priority": "fast"}}
"""Two names of one tier (developers.openai.com, "Fast mode": priority processing has been called fast since July 2026).
At other providers ``fast`` is a tier of its own."""

CACHE_MULTIPLIERS = {"anthropic": {"cached_read": "0.1", "cache_write_5m": "1.25", "cache_write_1h": "2"}}
"""What a provider multiplies the input price by in every tier and context (platform.claude.com, "Pricing": the prompt
caching multipliers stack with the batch discount). Used where the map's standard prices bear it out."""

ONE_PRICE_FOR_EVERY_MODALITY = frozenset({"gemini", "vertex_ai"})
"""Where Google's price list names no audio price apart, Gemini's input price holds for audio too, as does the cached
one (ai.google.dev, "Gemini Developer API pricing")."""


class Compiled(NamedTuple):
    entries: list[PriceEntry]
    left_out: Counter[str]
    """Reason → number of the map's entries."""
    not_understood: Counter[str]
    """Price field of an imported entry that this importer does not read → number of entries."""


def compile_map(raw: bytes, checked_on: date | None = None) -> Compiled:
    """Compile litellm's map; ``checked_on`` is written on every entry. Raises UsageError if it is none."""
    compiled = Compiled([], Counter(), Counter())
    chosen: dict[tuple[str, str], tuple[bool, PriceEntry]] = {}
    for key, fields in _read_map(raw).items():
        entry = _compile_entry(key, fields, compiled, checked_on)
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


def place_of(key: str, fields: Mapping[str, object]) -> tuple[str, str]:
    """The provider, and the model as the provider names it."""
    named = str(fields["litellm_provider"])
    provider = "vertex_ai" if named.startswith("vertex_ai-") else PROVIDERS.get(named, named)
    return provider, next((key[len(name) + 1 :] for name in (named, provider) if key.startswith(f"{name}/")), key)


def _compile_entry(
    key: str, fields: Mapping[str, object], compiled: Compiled, checked_on: date | None
) -> PriceEntry | None:
    reason = _reason_against(fields)
    tiers = {} if reason is not None else _tiers(key, fields)
    if reason is None and not tiers:
        reason = "without a price per token"
    fees = read_fees(fields)
    if reason is None and not any((*_all_prices(tiers), fees.get("request"))):
        reason = "all prices zero: free, or unknown to the map"
    if reason is not None:
        compiled.left_out[reason] += 1
        return None
    off_peak = read_off_peak(key, fields, tiers)
    compiled.not_understood.update(_not_understood(fields, fees, off_peak))
    provider, model = place_of(key, fields)
    return PriceEntry(
        model=model,
        provider=provider,
        mode=str(fields["mode"]),
        source=str(fields.get("source", "")),
        checked_on=checked_on,
        max_input_tokens=_limit(fields.get("max_input_tokens")),
        max_output_tokens=_limit(fields.get("max_output_tokens")),
        tiers=tiers,
        fees=fees,
        regions=read_regions(fields),
        off_peak=off_peak,
    )


def _reason_against(fields: Mapping[str, object]) -> str | None:
    if fields.get("mode") not in MODES:
        return f"mode {fields.get('mode')}"
    if not isinstance(fields.get("litellm_provider"), str):
        return "without a provider"
    if fields["litellm_provider"] == "perplexity" and SEARCH in fields and "web_search" not in read_fees(fields):
        return "priced by the search context, which no answer names"
    return next((reason for name, reason in REFUSED_FIELDS.items() if name in fields), None)


def _limit(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _duplicate(one: PriceEntry, other: PriceEntry) -> str:
    agrees = one.tiers == other.tiers
    return "second name of one model" if agrees else f"second name with other prices: {one.provider} {one.model}"


def _tiers(key: str, fields: Mapping[str, object]) -> Tiers:
    prices: dict[str, dict[int, dict[str, Decimal]]] = {}
    for tier, above, name, price in _read_prices(key, fields):
        prices.setdefault(tier, {}).setdefault(above, {})[name] = price
    ordered = sorted(prices.items(), key=lambda item: (item[0] != STANDARD, item[0]))
    provider, model = place_of(key, fields)
    tiers = {tier: _brackets(by_context) for tier, by_context in ordered}
    tiers |= {name: tiers[tier] for tier, name in SECOND_TIER_NAMES.get(provider, {}).items() if tier in tiers}
    fast = read_fast(fields)
    if fast is not None and STANDARD in tiers:
        tiers["fast"] = _scaled(tiers[STANDARD], fast)
    return _with_published_rules(provider, model, tiers)


def _brackets(by_context: dict[int, dict[str, Decimal]]) -> tuple[Bracket, ...]:
    return tuple(Bracket(above, _ordered(prices)) for above, prices in sorted(by_context.items()))


def _ordered(prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: prices[name] for name in TOKEN_CLASSES if name in prices}


def _scaled(brackets: tuple[Bracket, ...], factor: Decimal) -> tuple[Bracket, ...]:
    return tuple(
        Bracket(above, {name: plain(price * factor) for name, price in prices.items()})
        for above, prices in ((bracket.above_tokens, bracket.usd_per_million) for bracket in brackets)
    )


def _with_published_rules(provider: str, model: str, tiers: Tiers) -> Tiers:
    """Prices that the provider's own page derives from those that the map names."""
    derived: dict[str, tuple[str, Decimal]] = {}
    named = tiers[STANDARD][0].usd_per_million if STANDARD in tiers else {}
    if provider in DEFAULT_CACHE_DISCOUNT and "cached_read" not in named:
        derived["cached_read"] = "input_uncached", DEFAULT_CACHE_DISCOUNT[provider]
    for name, factor in CACHE_MULTIPLIERS.get(provider, {}).items():
        if name in named and named[name] == named.get("input_uncached", 0) * Decimal(factor):
            derived[name] = "input_uncached", Decimal(factor)
    if provider in ONE_PRICE_FOR_EVERY_MODALITY and "gemini" in model and "input_audio" not in named:
        derived |= {"input_audio": ("input_uncached", Decimal(1)), "cached_audio": ("cached_read", Decimal(1))}
    return {tier: tuple(_derive(bracket, derived) for bracket in brackets) for tier, brackets in tiers.items()}


def _derive(bracket: Bracket, derived: Mapping[str, tuple[str, Decimal]]) -> Bracket:
    prices = bracket.usd_per_million
    more = {name: plain(prices[of] * factor) for name, (of, factor) in derived.items() if of in prices}
    return Bracket(bracket.above_tokens, _ordered({**more, **prices}))


def _read_prices(key: str, fields: Mapping[str, object]) -> Iterator[tuple[str, int, str, Decimal]]:
    """(tier, above tokens, class, USD per million) of every price field that is understood."""
    tiered = fields.get("tiered_pricing")
    if isinstance(tiered, list):
        yield from _tiered_prices(key, fields, tiered)
        return
    for name, value in fields.items():
        field, price = read_field(name), usd_per_million(value)
        if field is None or price is None:
            continue
        above = field.above_tokens
        if above and fields.get("litellm_provider") in INCLUSIVE_PROVIDERS:
            above -= 1
        yield field.tier, above, token_class(key, fields, field.base, field.hours), price


def _tiered_prices(
    key: str, fields: Mapping[str, object], tiered: list[object]
) -> Iterator[tuple[str, int, str, Decimal]]:
    """A list of context ranges (DashScope and its like); it stands instead of the flat prices."""
    for part in tiered:
        bounds = part.get("range") if isinstance(part, dict) else None
        lower = bounds[0] if isinstance(bounds, list) and bounds else None
        if not isinstance(part, dict) or not isinstance(lower, int | Decimal):
            continue
        for base in CLASSES:
            price = usd_per_million(part.get(base))
            if price is not None:
                yield STANDARD, int(lower), token_class(key, fields, base), price


def _all_prices(tiers: Tiers) -> Iterator[Decimal]:
    for brackets in tiers.values():
        for bracket in brackets:
            yield from bracket.usd_per_million.values()


def _not_understood(
    fields: Mapping[str, object], fees: Mapping[str, Decimal], off_peak: OffPeak | None
) -> Iterator[str]:
    understood = {
        *REGIONS,
        *(name for name, value in fields.items() if read_field(name) and usd_per_million(value) is not None),
        *(["input_cost_per_request"] if "request" in fees else []),
        *([SEARCH] if "web_search" in fees else []),
        *(["off_peak_pricing"] if off_peak is not None else []),
    }
    for name in fields:
        is_price = any(part in name for part in ("cost", "multiplier", "off_peak"))
        if is_price and name not in understood:
            yield name
    own = fields.get("provider_specific_entry")
    for name, value in own.items() if isinstance(own, dict) else ():
        if name not in ("us", "fast") and usd(value) is not None:
            yield f"provider_specific_entry.{name}"
