"""Tokens × rates → integer nano-USD. Each class is rounded half-even once; a total is the sum of its parts."""

from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import ceil, floor, inf
from typing import NamedTuple

import msgspec

from submeter.core.pricebook import PriceEntry, RateCard, Rates
from submeter.core.record import INPUT_CLASSES, OUTPUT_CLASSES, TOKEN_CLASSES, TokenClasses

_CONTEXT = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""A count (≤ 19 digits) × a rate (≤ 30 digits) is exact in it; only the rounding to an integer rounds."""
_INPUTS = tuple(map(TOKEN_CLASSES.index, INPUT_CLASSES))
_OUTPUTS = tuple(map(TOKEN_CLASSES.index, OUTPUT_CLASSES))
_NANO_PER_USD = 10**9


class Cost(msgspec.Struct, frozen=True):
    parts: TokenClasses
    """Nano-USD per class."""
    fees: int
    """Nano-USD: what is billed by the request."""
    total: int
    """Nano-USD: the sum of the parts and the fees."""


NO_COST = Cost(TokenClasses(), 0, 0)


class Range(NamedTuple):
    """What the tokens of a call that was not seen whole can be."""

    input_known: TokenClasses | None
    """Its input classes, where the provider has said them; its output is not read."""
    input_max: int
    output_min: int
    output_max: int
    web_searches: int = 0
    """That were seen."""


def price_call(tokens: TokenClasses, entry: PriceEntry, service_tier: str | None, web_searches: int = 0) -> Cost | None:
    """What a call costs; None where the entry prices neither the tier nor a class or a search that occurs."""
    rates, fees = entry.rates(service_tier, tokens.input_total), _fees(entry, web_searches)
    if rates is None or fees is None:
        return None
    parts: list[int] = []
    for count, rate in zip(msgspec.structs.astuple(tokens), rates, strict=True):
        if not count:
            parts.append(0)
        elif rate is None:
            return None
        else:
            parts.append(_nano_usd(count, rate))
    return Cost(TokenClasses(*parts), fees, sum(parts) + fees)


def _fees(entry: PriceEntry, web_searches: int) -> int | None:
    request = _nano_usd(_NANO_PER_USD, entry.fees["request"]) if "request" in entry.fees else 0
    if not web_searches:
        return request
    each = entry.fees.get("web_search")
    return None if each is None else request + _nano_usd(web_searches * _NANO_PER_USD, each)


def bounds(entry: PriceEntry, tiers: Iterable[str], tokens: Range) -> tuple[int, int] | None:
    """(lowest, highest) cost in nano-USD over every tier and context bracket that can apply; None: unpriced."""
    cards = [entry.rate_cards[tier] for tier in tiers if tier in entry.rate_cards]
    pairs = [_bounds(rates, tokens) for card in cards for rates in _reachable(card, tokens)]
    priced = [pair for pair in pairs if pair is not None]
    fees = _fees(entry, tokens.web_searches)
    if not priced or fees is None:
        return None
    return min(low for low, _ in priced) + fees, max(high for _, high in priced) + fees


def _reachable(card: RateCard, tokens: Range) -> Iterator[Rates]:
    """The rates of the brackets that the input can fall into."""
    known = tokens.input_known
    low, high = (0, tokens.input_max) if known is None else (known.input_total, known.input_total)
    upto: float = inf
    for above, rates in card:
        if low <= upto and (high > above or above == 0):
            yield rates
        upto = above


def _bounds(rates: Rates, tokens: Range) -> tuple[int, int] | None:
    inputs = _input_bounds(rates, tokens)
    outputs = [rate for rate in (rates[place] for place in _OUTPUTS) if rate is not None]
    if inputs is None or (tokens.output_max and not outputs):
        return None
    # Rates rounded outwards to whole nano-USD: no rounding of an unknown split into parts can pass them.
    low = tokens.output_min * floor(min(outputs, default=Decimal(0)))
    high = tokens.output_max * ceil(max(outputs, default=Decimal(0)))
    return inputs[0] + low, inputs[1] + high


def _input_bounds(rates: Rates, tokens: Range) -> tuple[int, int] | None:
    if tokens.input_known is None:
        dearest = max((rate for rate in (rates[place] for place in _INPUTS) if rate is not None), default=None)
        return None if dearest is None else (0, tokens.input_max * ceil(dearest))
    counts, total = msgspec.structs.astuple(tokens.input_known), 0
    for place in _INPUTS:
        count, rate = counts[place], rates[place]
        if count and rate is None:
            return None
        total += _nano_usd(count, rate) if rate is not None else 0
    return total, total


def _nano_usd(count: int, rate: Decimal) -> int:
    return int(_CONTEXT.to_integral_value(_CONTEXT.multiply(Decimal(count), rate)))
