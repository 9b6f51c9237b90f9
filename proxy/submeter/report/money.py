"""What a week's calls cost at other prices: the arithmetic of ``core.cost`` and ``core.whatif`` over whole columns.

Each class of each call is rounded half-even once, as there, and a test holds the two together to the nano-USD. Integers
are 64 bits wide; where a product could leave them the same sum is made of Python's integers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal, NamedTuple, Self

import msgspec
import numpy as np

from submeter.core.pricebook import STANDARD, Match, Origin, PriceBook, PriceEntry, Rates, tier_name
from submeter.core.record import INPUT_CLASSES, OUTPUT_CLASSES, TOKEN_CLASSES
from submeter.core.week import DAYS
from submeter.core.when import DAY_NS
from submeter.report.trace import Flags, Ints, Trace, total_nano_usd

NANO_PER_USD = 10**9
_MINUTE_NS = 60 * 10**9
_INPUTS = [TOKEN_CLASSES.index(name) for name in INPUT_CLASSES]
_OUTPUTS = [TOKEN_CLASSES.index(name) for name in OUTPUT_CLASSES]
_IS_INPUT = np.array([name in INPUT_CLASSES for name in TOKEN_CLASSES], dtype=np.int64)
_INT64_MAX = int(np.iinfo(np.int64).max)
_RATIO = Context(prec=60)
_ONE = Decimal(1)


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One way to serve a workload for the week, and what it costs."""

    kind: Literal["buy", "rent", "build"]
    name: str
    usd_by_day: tuple[Decimal, ...]
    """Of the seven UTC days; their sum is ``weekly_usd``, exactly."""
    weekly_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    """At the ends of the price range; where prices have none, ``weekly_usd``."""
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    """Ids."""


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """An option that cannot be priced, and what would mend that."""

    kind: Literal["buy", "rent", "build"]
    name: str
    what: str
    line: str | None
    """To add to alternatives.yaml, or to ``prices:`` in submeter.yaml."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """At whose prices calls are priced anew. Every ``None`` is "as recorded"."""

    book: PriceBook
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Whose prices each upstream's calls have."""
    model: str | None = None
    provider: str | None = None
    tier: str | None = None
    """As recorded; at another model only where it is sold there, else standard."""
    tokenizer_ratio: Decimal = _ONE
    length_ratio: Decimal = _ONE


@dataclass(frozen=True, slots=True)
class Repriced:
    nano_usd: Ints
    """Per row of the trace; 0 where ``priced`` is not."""
    fees_nano_usd: Ints
    """Within ``nano_usd``."""
    priced: Flags
    parts: tuple[int, ...]
    """Nano-USD of all priced rows by token class; with the fees they sum to the whole."""
    matches: tuple[Match, ...]
    """The price-book entries that they fall under, in the order of first use."""
    other_tier: int
    """Rows priced at the standard tier because theirs is not sold there."""


class _Group(NamedTuple):
    """Rows of one trace with the entry that prices them."""

    rows: Ints
    match: Match


def reprice(trace: Trace, pricing: Pricing) -> Repriced:
    """Every counted row as ``core.cost.price_call`` prices it, at the price of its own minute; other rows are unpriced.

    Calls that were answered without an upstream (hits, coalesced) cost nothing anywhere, and are priced at 0.
    """
    sums = _Sums.of(trace)
    tokens = scaled_tokens(trace.tokens, pricing.tokenizer_ratio, pricing.length_ratio)
    matches: dict[int, Match] = {}
    other_tier = 0
    for group in _groups(trace, pricing):
        matches.setdefault(id(group.match.entry), group.match)
        for tier_code in np.unique(trace.codes["service_tier"][group.rows]):
            rows = group.rows[trace.codes["service_tier"][group.rows] == tier_code]
            recorded = trace.names["service_tier"][tier_code]
            tier = _tier(recorded, pricing, group.match.entry)
            other_tier += len(rows) if pricing.tier is None and tier_name(recorded) != tier else 0
            sums.add(tokens, trace.web_searches, rows, group.match.entry, tier)
    return Repriced(
        sums.nano_usd, sums.fees_nano_usd, sums.priced, tuple(sums.parts), tuple(matches.values()), other_tier
    )


def _tier(recorded: str | None, pricing: Pricing, entry: PriceEntry) -> str:
    name = tier_name(recorded) if pricing.tier is None else tier_name(pricing.tier)
    sold = name in entry.tiers or pricing.model is None or pricing.tier is not None
    return name if sold else STANDARD


# ---- which entry prices which rows -----------------------------------------------------------------------------


def _groups(trace: Trace, pricing: Pricing) -> Iterator[_Group]:
    counted = np.flatnonzero(trace.counted & trace.upstream_call)
    for rows, (model, upstream, region) in _alike(trace, counted, ("model", "upstream", "region")):
        wanted = model if pricing.model is None else pricing.model
        own = pricing.origins.get(upstream or "", Origin(None))
        provider = own.provider if pricing.provider is None else pricing.provider
        # A region's surcharge belongs to who served there; of another provider the list price is all that is known.
        place = region if provider == own.provider else None
        if wanted is not None:
            yield from _dated(trace, rows, pricing.book, wanted, provider, place)


def _alike(trace: Trace, rows: Ints, keys: Sequence[str]) -> Iterator[tuple[Ints, tuple[str | None, ...]]]:
    """The rows by their values of ``keys``, in the order of the codes."""
    key = np.zeros(len(rows), dtype=np.int64)
    for name in keys:
        key = key * len(trace.names[name]) + trace.codes[name][rows]
    for value in np.unique(key):
        group = rows[key == value]
        yield group, tuple(trace.names[name][trace.codes[name][group[0]]] for name in keys)


def _dated(
    trace: Trace, rows: Ints, book: PriceBook, model: str, provider: str | None, region: str | None
) -> Iterator[_Group]:
    """Prices change at midnight and at the minutes of off-peak windows, never within a minute."""
    minutes, at = np.unique(trace.started_at_ns[rows] // _MINUTE_NS, return_inverse=True)
    found = [book.match(model, provider, int(minute) * _MINUTE_NS, region) for minute in minutes]
    distinct = {id(match): match for match in found}
    place = {key: place for place, key in enumerate(distinct)}
    of_row = np.fromiter((place[id(match)] for match in found), np.int64, len(found))[at]
    for number, match in enumerate(distinct.values()):
        if match is not None:
            yield _Group(rows[of_row == number], match)


# ---- tokens × rates ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sums:
    """Columns that are filled group by group."""

    nano_usd: Ints
    fees_nano_usd: Ints
    priced: Flags
    parts: list[int]

    @classmethod
    def of(cls, trace: Trace) -> Self:
        zeros = np.zeros((2, len(trace)), dtype=np.int64)
        return cls(zeros[0], zeros[1], ~trace.upstream_call, [0] * len(TOKEN_CLASSES))

    def add(self, tokens: Ints, searches: Ints, rows: Ints, entry: PriceEntry, tier: str) -> None:
        inputs, upto = tokens[rows] @ _IS_INPUT, _INT64_MAX
        for above, rates in entry.rate_cards.get(tier, ()):
            inside = rows[(inputs <= upto) & ((inputs > above) | (above == 0))]
            self._add_bracket(tokens, searches, inside, entry, rates)
            upto = above

    def _add_bracket(self, tokens: Ints, searches: Ints, rows: Ints, entry: PriceEntry, rates: Rates) -> None:
        fees, priced = _fees(searches[rows], entry)
        total, parts = fees, {}
        for place, rate in enumerate(rates):
            count = tokens[rows, place]
            if rate is None:
                priced &= count == 0
            elif count.any():
                parts[place] = times(count, rate)
                total = _added(total, parts[place])
        for place, part in parts.items():
            self.parts[place] += total_nano_usd(part[priced])
        self.nano_usd[rows] = np.where(priced, total, 0)
        self.fees_nano_usd[rows] = np.where(priced, fees, 0)
        self.priced[rows] = priced


def _fees(searches: Ints, entry: PriceEntry) -> tuple[Ints, Flags]:
    """What is billed by the request, and where it has a price."""
    request = entry.fees.get("request")
    fees = np.zeros(len(searches), dtype=np.int64)
    if request is not None:
        fees += nano(request)
    each = entry.fees.get("web_search")
    if each is None:
        return fees, searches == 0
    return _added(fees, times(searches, each * NANO_PER_USD)), np.ones(len(searches), dtype=np.bool_)


def times(counts: Ints, rate: Decimal) -> Ints:
    """``counts × rate``, exact, each rounded half-even to an integer. Raises ``OverflowError`` beyond 64 bits."""
    numerator, denominator = rate.as_integer_ratio()
    most = max(abs(int(counts.max(initial=0))), abs(int(counts.min(initial=0))), 1)
    if most * abs(numerator) > _INT64_MAX or 2 * denominator > _INT64_MAX:
        return _half_even(counts.astype(object), numerator, denominator).astype(np.int64)
    return _half_even(counts, numerator, denominator)


def _half_even(counts: Ints, numerator: int, denominator: int) -> Ints:
    product = counts * numerator
    if denominator == 1:
        return product
    whole, rest = product // denominator, product % denominator
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (whole % 2 == 1))
    rounded: Ints = whole + up.astype(whole.dtype)
    return rounded


def _added(one: Ints, other: Ints) -> Ints:
    """Raises ``OverflowError`` where a sum leaves 64 bits."""
    total = one + other
    if (((one ^ total) & (other ^ total)) < 0).any():
        raise OverflowError("a call that costs more than 9 billion USD")
    return total


def scaled_tokens(tokens: Ints, tokenizer_ratio: Decimal, length_ratio: Decimal) -> Ints:
    """As ``core.whatif.changed``: every class × the tokenizer's ratio, outputs × that of lengths too, half-even."""
    output_ratio = _RATIO.multiply(tokenizer_ratio, length_ratio)
    if tokenizer_ratio == 1 and output_ratio == 1:
        return tokens
    scaled = tokens.copy()
    for places, ratio in ((_INPUTS, tokenizer_ratio), (_OUTPUTS, output_ratio)):
        for place in places:
            if tokens[:, place].any():
                scaled[:, place] = times(tokens[:, place], ratio)
    return scaled


# ---- sums ----------------------------------------------------------------------------------------------------


def usd(nano_usd: int) -> Decimal:
    return Decimal(nano_usd).scaleb(-9)


def nano(amount: Decimal) -> int:
    """Integer nano-USD of an amount in USD, rounded half-even."""
    return int((amount * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def usd_by_day(nano_usd: Ints, started_at_ns: Ints, start_ns: int) -> tuple[Decimal, ...]:
    """USD of the seven days from ``start_ns``. Raises ``ValueError`` where a row lies outside them: none is dropped."""
    day = (started_at_ns - start_ns) // DAY_NS
    if len(day) and not 0 <= int(day.min()) <= int(day.max()) < DAYS:
        raise ValueError("a call outside the week")
    return tuple(usd(total_nano_usd(nano_usd[day == each])) for each in range(DAYS))


def priced_option(
    kind: Literal["buy", "rent"], name: str, days: tuple[Decimal, ...], notes: tuple[str, ...], ids: tuple[str, ...]
) -> Option:
    """An option whose prices are list prices: they have no range."""
    week = sum(days, Decimal(0))
    return Option(
        kind=kind,
        name=name,
        usd_by_day=days,
        weekly_usd=week,
        low_usd=week,
        high_usd=week,
        notes=notes,
        assumptions=ids,
    )
