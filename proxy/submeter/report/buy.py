"""BUY: the bill as it was recorded, the same bill at the prices in force, and at other models, providers and tiers.

A commitment or any other discount is an entry of ``prices:`` in submeter.yaml with ``discount_percent``, and so is in
every figure here. Nothing is priced that has no price: such an option is withheld, with the line that would mend it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal

import msgspec
import numpy as np

from submeter.core.pricebook import STANDARD, Match, Origin, PriceBook, PriceEntry, tier_name
from submeter.core.record import TOKEN_CLASSES
from submeter.core.week import Week
from submeter.report.alternatives import Buy, WorkloadChoice
from submeter.report.assumptions import Assumptions
from submeter.report.money import Option, Pricing, Repriced, Withheld, priced_option, reprice, usd, usd_by_day
from submeter.report.trace import COST_STATES, Flags, Trace, total_nano_usd

_MOST_UNPRICED = 0.01
"""Part of a workload's calls, tokens or dollars that may lack a price or tokens: a model tried once hides no bill."""
_LOOKED_AT = 10_000
"""Of calls that an offer cannot price, so many are asked why."""
_STATE = {state: place for place, state in enumerate(COST_STATES)}


# ---- the recorded bill -----------------------------------------------------------------------------------------


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The week's recorded cost. Never extrapolated: days without calls cost 0."""

    usd_by_day: tuple[Decimal, ...]
    week_usd: Decimal
    """Exact and estimated costs."""
    exact_usd: Decimal
    estimated_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    """With what is estimated or indeterminate at its bounds."""
    unbounded_calls: int
    """Of which ``high_usd`` is not a bound."""
    calls: dict[str, int]
    """By cost state, of what went upstream."""
    cached_calls: int
    """Answered without an upstream: they cost nothing."""


def recorded_bill(trace: Trace, week: Week) -> Bill:
    """``trace``: calls begun in the week."""
    days = usd_by_day(trace.cost_nano_usd, trace.started_at_ns, week.start_ns)
    states = {state: trace.upstream_call & (trace.cost_state == place) for state, place in _STATE.items()}
    return Bill(
        usd_by_day=days,
        week_usd=sum(days, Decimal(0)),
        exact_usd=usd(total_nano_usd(trace.cost_nano_usd[states["exact"]])),
        estimated_usd=usd(total_nano_usd(trace.cost_nano_usd[states["estimated"]])),
        low_usd=usd(total_nano_usd(trace.cost_low_nano_usd)),
        high_usd=usd(total_nano_usd(trace.cost_high_nano_usd)),
        unbounded_calls=int(trace.unbounded.sum()),
        calls={state: int(rows.sum()) for state, rows in states.items() if rows.any()},
        cached_calls=int((~trace.upstream_call).sum()),
    )


def as_recorded(trace: Trace, week: Week) -> Option | Withheld:
    """What was done, at what it cost; withheld where calls whose tokens are known have no price."""
    name = f"{_names(trace, 'model')} at {_names(trace, 'upstream')}, as recorded"
    unpriced = trace.upstream_call & trace.counted & (trace.cost_state == _STATE["unpriced"])
    calls, all_calls = int(unpriced.sum()), int((trace.upstream_call & trace.counted).sum())
    tokens = trace.tokens.sum(axis=1)
    of_tokens = int(tokens[unpriced].sum()) > _MOST_UNPRICED * int(tokens.sum())
    if calls > _MOST_UNPRICED * all_calls or of_tokens:
        what = f"{calls:,} of {all_calls:,} calls have no price, so that the bill is not known"
        model = trace.names["model"][trace.codes["model"][np.flatnonzero(unpriced)[0]]]
        return Withheld(kind="buy", name=name, what=what, line=_price_line(model, None))
    elsewhere = total_nano_usd(trace.cost_nano_usd[~trace.counted])
    if elsewhere > _MOST_UNPRICED * total_nano_usd(trace.cost_nano_usd):
        what = f"{usd(elsewhere):f} USD of the bill are for calls without known tokens, which no other option can price"
        return Withheld(kind="buy", name=name, what=what, line=None)
    days = usd_by_day(trace.cost_nano_usd, trace.started_at_ns, week.start_ns)
    notes = (f"{calls:,} calls without a price are not in it",) if calls else ()
    return priced_option("buy", name, days, notes, ())


def _names(trace: Trace, key: str) -> str:
    """Those that occur, the most frequent first."""
    places, counts = np.unique(trace.codes[key][trace.upstream_call], return_counts=True)
    ordered = [trace.names[key][place] or "unknown" for place in places[np.argsort(-counts, kind="stable")]]
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} and {len(ordered) - 1} more" if ordered else "nothing"


# ---- the recorded bill at the prices in force ------------------------------------------------------------------


_UNMETERED = "not metered: nothing is known of its usage"
_INDETERMINATE = "usage not known: the cost lies between bounds"
_NO_TOKENS = "its tokens are not known, so that it has no other price"
_NO_PRICE = "no price, now as then: add it under prices: in submeter.yaml"
_LOST_PRICE = "recorded with a price that the price book in force does not have"
_NEW_PRICE = "recorded without a price, which the price book in force has: submeter reprice"
_ESTIMATED = "estimated at the service tier that was asked for, or at other prices than those in force"
_OTHER_PRICES = (
    "recorded at other prices than those in force, or corrected by a version of the costs (reprice, reconcile)"
)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one model whose recorded cost is not what they cost at the prices in force, for one reason."""

    reason: str
    model: str | None
    calls: int
    recorded_usd: Decimal
    repriced_usd: Decimal

    @property
    def text(self) -> str:
        amounts = f"recorded {self.recorded_usd:f} USD, repriced {self.repriced_usd:f} USD"
        return f"{self.model or 'unknown model'}, {self.calls:,} calls: {self.reason} ({amounts})"


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """``repriced_usd`` is ``recorded_usd`` but for what ``differences`` list, to the nano-USD."""

    recorded_usd: Decimal
    repriced_usd: Decimal
    differences: tuple[Difference, ...]


def reconcile(trace: Trace, book: PriceBook, origins: Mapping[str, Origin]) -> Reconciliation:
    """Every call priced anew at its recorded model, tier and moment, held against what is recorded."""
    found = reprice(trace, Pricing(book, origins))
    differences = (
        _difference(trace, found, reason, int(model), rows & (trace.codes["model"] == model))
        for reason, rows in _reasons(trace, found)
        for model in np.unique(trace.codes["model"][rows])
    )
    return Reconciliation(
        recorded_usd=usd(total_nano_usd(trace.cost_nano_usd)),
        repriced_usd=usd(total_nano_usd(found.nano_usd)),
        differences=tuple(differences),
    )


def _difference(trace: Trace, found: Repriced, reason: str, model: int, rows: Flags) -> Difference:
    return Difference(
        reason=reason,
        model=trace.names["model"][model],
        calls=int(rows.sum()),
        recorded_usd=usd(total_nano_usd(trace.cost_nano_usd[rows])),
        repriced_usd=usd(total_nano_usd(found.nano_usd[rows])),
    )


def _reasons(trace: Trace, found: Repriced) -> Iterator[tuple[str, Flags]]:
    """Each reason with the rows that it is the first for; rows that agree have none."""
    state = {name: trace.cost_state == place for name, place in _STATE.items()}
    settled = state["estimated"] | state["exact"]
    not_billed = ~trace.counted & settled & (trace.cost_nano_usd == 0)
    left = trace.upstream_call & ~not_billed & (~found.priced | (found.nano_usd != trace.cost_nano_usd))
    left |= trace.upstream_call & state["unpriced"]
    for reason, holds in (
        (_UNMETERED, state["unmetered"]),
        (_INDETERMINATE, state["indeterminate"]),
        (_NO_TOKENS, ~trace.counted),
        (_NO_PRICE, state["unpriced"] & ~found.priced),
        (_NEW_PRICE, state["unpriced"]),
        (_LOST_PRICE, ~found.priced),
        (_ESTIMATED, state["estimated"]),
        (_OTHER_PRICES, np.ones(len(trace), dtype=np.bool_)),
    ):
        rows = left & holds
        left &= ~rows
        if rows.any():
            yield reason, rows


# ---- other offers ----------------------------------------------------------------------------------------------


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A model that somebody sells by the token: the fields of ``alternatives.Buy``."""

    model: str
    provider: str
    tier: str | None = None
    """``None``: as recorded where it is sold, else standard."""
    tokenizer_ratio: Decimal = Decimal(1)
    length_ratio: Decimal = Decimal(1)

    @property
    def name(self) -> str:
        tier = "" if self.tier is None else f", {self.tier}"
        return f"{self.model} at {self.provider}{tier}"


def offer_of(buy: Buy) -> Offer:
    return Offer(**msgspec.structs.asdict(buy))


class Market(msgspec.Struct, frozen=True):
    """What prices are read from, and what is assumed by reading them."""

    book: PriceBook
    origins: Mapping[str, Origin]
    assumed: Assumptions


def price_offer(
    kind: Literal["buy", "rent"], trace: Trace, week: Week, offer: Offer, market: Market
) -> Option | Withheld:
    """The week's calls at the offer, each at the price of its own moment."""
    if trace.upstream_call.any() and not (trace.upstream_call & trace.counted).any():
        return Withheld(kind=kind, name=offer.name, what="no call of the week has known tokens", line=None)
    pricing = _pricing(offer, market)
    found = reprice(trace, pricing)
    missing = np.flatnonzero(trace.counted & ~found.priced)
    if len(missing):
        what, line = _why(trace.where(missing[:_LOOKED_AT]), len(missing), offer, pricing)
        return Withheld(kind=kind, name=offer.name, what=what, line=line)
    days = usd_by_day(found.nano_usd, trace.started_at_ns, week.start_ns)
    return priced_option(kind, offer.name, days, tuple(_notes(trace, found)), tuple(_assume(offer, found, market)))


def buy_options(trace: Trace, week: Week, choice: WorkloadChoice | None, market: Market) -> list[Option | Withheld]:
    """What was done, and what else the configuration would buy."""
    offers = () if choice is None else map(offer_of, choice.buy)
    return [as_recorded(trace, week), *(price_offer("buy", trace, week, offer, market) for offer in offers)]


def best(options: Iterable[Option | Withheld]) -> Option | None:
    """The cheapest that has a price; of equals, the first."""
    return min((each for each in options if isinstance(each, Option)), key=lambda each: each.weekly_usd, default=None)


def _pricing(offer: Offer, market: Market) -> Pricing:
    ratios = offer.tokenizer_ratio, offer.length_ratio
    return Pricing(market.book, market.origins, offer.model, offer.provider, offer.tier, *ratios)


def _why(unpriced: Trace, calls: int, offer: Offer, pricing: Pricing) -> tuple[str, str]:
    """What has no price there, by the first call that met it, and the line that gives it one."""
    match = pricing.book.match(offer.model, offer.provider, int(unpriced.started_at_ns[0]))
    line = _price_line(offer.model, offer.provider)
    if match is None:
        return f"{offer.model} has no price at {offer.provider}{_nearest(offer, pricing.book)}", line
    if offer.tier is not None and tier_name(offer.tier) not in match.entry.tiers:
        sold = ", ".join(match.entry.tiers)
        return f"{offer.name} is not sold: {offer.provider} has {sold}", f"tier: {next(iter(match.entry.tiers))}"
    unknown = [name for place, name in enumerate(TOKEN_CLASSES) if _lacks(unpriced, place, pricing)]
    line = _price_line(offer.model, offer.provider, match.entry, tier_name(offer.tier), unknown)
    return f"{offer.name} has no price for {', '.join(unknown) or 'web searches'}, which {calls:,} calls have", line


def _lacks(unpriced: Trace, place: int, pricing: Pricing) -> bool:
    """With tokens of this class alone, its calls are not priced either."""
    rows = unpriced.where(unpriced.tokens[:, place] > 0)
    if not len(rows):
        return False
    only = np.zeros_like(rows.tokens)
    only[:, place] = rows.tokens[:, place]
    return not reprice(replace(rows, tokens=only, web_searches=np.zeros_like(rows.web_searches)), pricing).priced.all()


def _nearest(offer: Offer, book: PriceBook) -> str:
    names = {entry.model for entry in book.snapshot if entry.provider == offer.provider}
    close = get_close_matches(offer.model, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _price_line(
    model: str | None,
    provider: str | None,
    sold: PriceEntry | None = None,
    tier: str = STANDARD,
    lacking: Sequence[str] = (),
) -> str:
    """The entry of ``prices:`` that would price the model: what is known of it, and what somebody has to fill in."""
    known = {} if sold is None else {name: brackets[0].usd_per_million for name, brackets in sold.tiers.items()}
    item = [f'model: "{model or "*"}"', *([] if provider is None else [f"provider: {provider}"])]
    item.append(f"usd_per_million: {_in_yaml(known.get(STANDARD, {}), lacking if tier == STANDARD else ())}")
    if tier != STANDARD:
        item.append(f"tiers: {{{tier}: {_in_yaml(known.get(tier, {}), lacking)}}}")
    return f"prices: [{{{', '.join(item)}}}]  # submeter.yaml"


def _in_yaml(prices: Mapping[str, Decimal], lacking: Sequence[str]) -> str:
    texts = {**{name: f"{price:f}" for name, price in prices.items()}, **dict.fromkeys(lacking, "…")}
    return "{" + ", ".join(f'{name}: "{text}"' for name, text in (texts or {"input": "…", "output": "…"}).items()) + "}"


def _notes(trace: Trace, found: Repriced) -> Iterator[str]:
    if found.other_tier:
        yield f"{found.other_tier:,} calls at the standard tier: theirs is not sold there"
    unknown = int((trace.upstream_call & ~trace.counted & (trace.cost_state != _STATE["estimated"])).sum())
    if unknown:
        yield f"{unknown:,} calls of which no usage is known are in the bill alone"
    reasoning = int(trace.tokens[:, TOKEN_CLASSES.index("reasoning")].sum())
    if reasoning:
        yield f"{reasoning:,} reasoning tokens as recorded: another model thinks at another length"


def _assume(offer: Offer, found: Repriced, market: Market) -> Iterator[str]:
    for match in found.matches:
        yield assume_price(match, offer.tier, market.assumed)
    for what, ratio, name in (
        ("tokenizer", offer.tokenizer_ratio, "tokens per recorded token, of the same text"),
        ("length", offer.length_ratio, "length of its answers per recorded answer"),
    ):
        yield market.assumed.add(
            f"{what}.{offer.provider}.{offer.model}.{ratio}",
            f"{offer.model} at {offer.provider}: {name}",
            ratio,
            "",
            source=f"{what}_ratio in alternatives.yaml" + (", where nobody has set another" if ratio == 1 else ""),
            by="prior" if ratio == 1 else "config",
        )
    yield market.assumed.add(
        "prompt_cache",
        "input tokens that a provider's prompt cache serves",
        "as recorded",
        "",
        source="the ledger's cached tokens, at each option's price for them where it has one",
        by="ledger",
    )


def assume_price(match: Match, tier: str | None, assumed: Assumptions) -> str:
    """Enters a price-book entry as it was applied; its id."""
    entry, name = match.entry, tier_name(tier)
    since = "" if entry.valid_from is None else f".{entry.valid_from}"
    applied = "".join(f".{what}" for what in match.applied)
    own = match.rule.startswith("overlay")
    return assumed.add(
        f"price.{entry.provider or 'own'}.{entry.model}.{name}{since}{applied}",
        f"{entry.model} at {entry.provider or 'your own prices'}, {name}"
        + "".join(f", {what}" for what in match.applied),
        _prices(entry, name),
        "USD per million tokens",
        source=entry.source or ("prices: in submeter.yaml" if own else "the price book"),
        as_of=entry.checked_on,
        by="config" if own else "price book",
    )


def _prices(entry: PriceEntry, tier: str) -> str:
    brackets = entry.tiers.get(tier, entry.tiers.get(STANDARD, ()))
    texts = (" ".join(f"{name} {price:f}" for name, price in each.usd_per_million.items()) for each in brackets)
    above = ("" if each.above_tokens == 0 else f"above {each.above_tokens}: " for each in brackets)
    return "; ".join(map("".join, zip(above, texts, strict=True)))
