"""Dated prices, and the rules that find the one for a call. Prices are data; the rules stand in two tables here.

A price is USD per million tokens (as every provider publishes it) by token class of ``record.TOKEN_CLASSES``.
An entry has one tariff per service tier; a tariff is one bracket of prices per context size. The bracket is
chosen by the call's whole input and then prices the *whole* call. What no table here covers has no price:
the call is then ``unpriced``, never guessed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fnmatch import fnmatchcase
from functools import cached_property
from typing import NamedTuple, TypeAlias

import msgspec

from submeter.core.record import TOKEN_CLASSES

STANDARD = "standard"

TIER_NAMES: dict[str | None, str] = {
    None: STANDARD,
    "auto": STANDARD,  # OpenAI, Anthropic: asked for; an answer that repeats it was not upgraded
    "default": STANDARD,  # OpenAI's name of the standard tier
    "on_demand": STANDARD,  # Groq's
    "batches": "batch",
}
"""Providers' names of service tiers that are not our own. Any other name is looked up as it is."""


class StandIn(NamedTuple):
    """Tokens of class ``wanted`` that have no price of their own are billed as ``instead``."""

    wanted: str
    instead: str
    unless: str = "\0"
    """A part of model names that the rule does not hold for."""


STAND_INS: tuple[StandIn, ...] = (
    # A provider that publishes no price for cached input gives no discount on it.
    StandIn("cached_read", "input_uncached"),
    # Anthropic: a write whose TTL is not named has the default TTL of 5 minutes; OpenAI's default is 30.
    StandIn("cache_write", "cache_write_5m"),
    StandIn("cache_write", "cache_write_30m"),
    # One published price for cache writes holds for every TTL.
    StandIn("cache_write_5m", "cache_write"),
    StandIn("cache_write_30m", "cache_write"),
    StandIn("cache_write_1h", "cache_write"),
    StandIn("cache_write_12h", "cache_write"),
    # OpenAI and those like it bill writes as ordinary input where they publish no price; Anthropic never does.
    StandIn("cache_write", "input_uncached", unless="claude"),
    StandIn("cache_write_30m", "input_uncached", unless="claude"),
    # A provider that publishes no price for cached audio gives no discount on it.
    StandIn("cached_audio", "input_audio"),
    # Images given as tokens are prompt tokens wherever no image price is published (OpenAI chat, Anthropic).
    StandIn("input_image", "input_uncached"),
    # Every provider documents reasoning as billed at the output price unless it names another.
    StandIn("reasoning", "output_text"),
)
"""Tried in order. In a tier, or above a context size, a stand-in counts only if it is also the price of the
class in the first standard bracket, or that has none either: a discount there says nothing about one here."""

ALIASES: tuple[tuple[str, re.Pattern[str]], ...] = (
    # gpt-4o-2026-01-31, claude-x-20260131, and Vertex AI's claude-x@20260131
    ("undated", re.compile(r"(.+)[-@](?:\d{4}-\d{2}-\d{2}|\d{8})")),
    ("latest", re.compile(r"(.+)-latest")),
    ("listed name", re.compile(r"models/(.+)")),  # Gemini's model list names models/gemini-x what calls name gemini-x
    ("version", re.compile(r"(gemini-.+)-\d{3}")),  # gemini-x-001 is the first stable version of gemini-x
    ("fine-tune", re.compile(r"(ft:[^:]+):.*")),  # ft:BASE:organization:name:id costs what ft:BASE costs
)
"""How a model that the snapshot does not name is found under another name: rule, pattern; group 1 is the name."""

Rates: TypeAlias = tuple[Decimal | None, ...]
"""Nano-USD per token, in the order of TOKEN_CLASSES; None: no price."""

RateCard: TypeAlias = tuple[tuple[int, Rates], ...]
"""(above_tokens, rates), largest context first."""

NO_RATES: Rates = (None,) * len(TOKEN_CLASSES)
_NANO_PER_TOKEN = 1000
"""1 USD per million tokens is 1,000 nano-USD per token."""
_NS_PER_DAY = 86_400 * 10**9
_NS_PER_MINUTE = 60 * 10**9
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""A price × a multiplier does not round in it."""
_MAX_REMEMBERED = 4096
"""Model names come from callers: what is remembered of them is bounded."""


class Origin(NamedTuple):
    """Whose prices an upstream's calls have."""

    provider: str | None
    """None: self-hosted or unknown; only overlays price it."""
    region: str | None = None


class Bracket(msgspec.Struct, frozen=True, array_like=True):
    """The prices of calls with more than ``above_tokens`` input tokens, up to the next bracket."""

    above_tokens: int
    usd_per_million: dict[str, Decimal]


class Window(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of some weekdays, in UTC; one that passes midnight is two windows."""

    weekdays: tuple[int, ...]
    """ISO: Monday is 1."""
    start_minute: int
    end_minute: int
    """Exclusive; 1440 is midnight."""


class OffPeak(msgspec.Struct, frozen=True):
    """The tiers that hold within the windows, in place of those of the same name."""

    windows: tuple[Window, ...]
    tiers: dict[str, tuple[Bracket, ...]]

    def holds_at(self, at_ns: int) -> bool:
        days, rest_ns = divmod(at_ns, _NS_PER_DAY)
        weekday, minute = (days + 3) % 7 + 1, rest_ns // _NS_PER_MINUTE  # 1970-01-01 was a Thursday
        return any(
            weekday in window.weekdays and window.start_minute <= minute < window.end_minute for window in self.windows
        )


class PriceEntry(msgspec.Struct, frozen=True, kw_only=True, dict=True, omit_defaults=True):
    """The prices of one model at one provider. In an overlay the model may be a glob, and no provider means any."""

    model: str
    provider: str | None = None
    mode: str = "chat"
    source: str = ""
    checked_on: date | None = None
    """When somebody, or an import, last compared this with its source."""
    valid_from: date | None = None
    """First day, from 00:00 UTC."""
    valid_until: date | None = None
    """Last day, to 24:00 UTC."""
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    tiers: dict[str, tuple[Bracket, ...]] = {}
    fees: dict[str, Decimal] = {}
    """USD per unit of what is billed by the request: ``request``, ``web_search``."""
    regions: dict[str, Decimal] = {}
    """What token prices are multiplied by where a call is served in one of these regions."""
    off_peak: OffPeak | None = None
    discount: Decimal | None = None
    """Overlay only, in place of prices: the fraction that is taken off whatever price stands beneath."""

    def rates(self, service_tier: str | None, input_tokens: int) -> Rates | None:
        """The rates of a call; None if this entry does not price its service tier."""
        card = self.rate_cards.get(tier_name(service_tier))
        if card is None:
            return None
        return next(rates for above, rates in card if input_tokens > above or above == 0)

    @cached_property
    def rate_cards(self) -> dict[str, RateCard]:
        """By tier: every bracket with its stand-ins applied."""
        standard = self.tiers.get(STANDARD, ())
        return {tier: _rate_card(self.model, brackets, standard) for tier, brackets in self.tiers.items()}


def tier_name(service_tier: str | None) -> str:
    return TIER_NAMES[service_tier] if service_tier in TIER_NAMES else str(service_tier)


def _rate_card(model: str, brackets: tuple[Bracket, ...], standard: tuple[Bracket, ...]) -> RateCard:
    base = standard[0].usd_per_million if standard else {}
    card: dict[int, Rates] = {0: NO_RATES}
    # Where the standard tier changes its prices and this tier publishes none, this tier's are unknown.
    card.update((bracket.above_tokens, NO_RATES) for bracket in standard)
    card.update((bracket.above_tokens, _rates(model, bracket.usd_per_million, base)) for bracket in brackets)
    return tuple(sorted(card.items(), reverse=True))


def _rates(model: str, prices: dict[str, Decimal], base: dict[str, Decimal]) -> Rates:
    found = (_price(model, name, prices, base) for name in TOKEN_CLASSES)
    return tuple(None if price is None else price * _NANO_PER_TOKEN for price in found)


def _price(model: str, wanted: str, prices: dict[str, Decimal], base: dict[str, Decimal]) -> Decimal | None:
    if wanted in prices:
        return prices[wanted]
    for rule in STAND_INS:
        if rule.wanted == wanted and rule.instead in prices and rule.unless not in model:
            at_base = base.get(wanted)
            return prices[rule.instead] if at_base is None or at_base == base.get(rule.instead) else None
    return None


class Match(NamedTuple):
    entry: PriceEntry
    """As it holds for the call: discount, off-peak hours and region are applied to its prices."""
    rule: str
    """``overlay``, ``overlay glob``, ``exact`` or a rule of ALIASES."""
    applied: tuple[str, ...] = ()
    """``off-peak``, ``15 % off``, ``region us × 1.1``."""

    @property
    def text(self) -> str:
        """For the row: ``exact, off-peak``."""
        return ", ".join((self.rule, *self.applied))


class _Candidate(NamedTuple):
    """A match and when it holds."""

    from_ns: float
    until_ns: float
    match: Match
    off_peak: OffPeak | None = None

    def holds_at(self, at_ns: int) -> bool:
        in_time = self.from_ns <= at_ns < self.until_ns
        return in_time and (self.off_peak is None or self.off_peak.holds_at(at_ns))


@dataclass(frozen=True)
class PriceBook:
    """A snapshot and the caller's own entries over it. Look-ups are remembered: one dict access per call.

    The most specific overlay that is valid at the call's start wins, then one for the provider, then the latest
    ``valid_from``, then the last written. Without one the snapshot is asked, for the upstream's provider only: the
    model's own name first, then its ALIASES. Without a provider (self-hosted, unknown) only the overlay can price.
    """

    snapshot: tuple[PriceEntry, ...] = ()
    overlay: tuple[PriceEntry, ...] = ()
    snapshot_id: str = "none"
    _by_name: dict[tuple[str | None, str], list[PriceEntry]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _remembered: dict[tuple[str, str | None, str | None], tuple[_Candidate, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        for entry in self.snapshot:
            self._by_name.setdefault((entry.provider, entry.model), []).append(entry)

    def find(self, model: str, provider: str | None, at_ns: int, region: str | None = None) -> PriceEntry | None:
        """The entry that prices a call begun at ``at_ns`` (Unix nanoseconds), or None."""
        match = self.match(model, provider, at_ns, region)
        return None if match is None else match.entry

    def match(self, model: str, provider: str | None, at_ns: int, region: str | None = None) -> Match | None:
        """As ``find``, with the rule that led there and what was applied."""
        for candidate in self._candidates(model, provider, region):
            if candidate.holds_at(at_ns):
                return candidate.match
        return None

    def sellers(self, model: str, at_ns: int) -> list[str]:
        """The providers in the snapshot that have a price for the model at that time."""
        providers = {entry.provider for entry in self.snapshot if entry.provider is not None}
        return sorted(name for name in providers if self.match(model, name, at_ns) is not None)

    def _candidates(self, model: str, provider: str | None, region: str | None) -> tuple[_Candidate, ...]:
        known = self._remembered.get((model, provider, region))
        if known is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            known = tuple(_in_region(candidate, region) for candidate in self._all_candidates(model, provider))
            self._remembered[model, provider, region] = known
        return known

    def _all_candidates(self, model: str, provider: str | None) -> list[_Candidate]:
        """In the order in which they are asked. A discount stands on what is beneath it: built from the bottom up."""
        found: list[_Candidate] = []
        for entry, rule in reversed(list(self._matches(model, provider))):
            above = _discounted(entry, rule, found) if entry.discount is not None else _dated(entry, rule)
            found = [*above, *found]
        return found

    def _matches(self, model: str, provider: str | None) -> Iterator[tuple[PriceEntry, str]]:
        own = [
            (_specificity(entry), entry.valid_from or date.min, place, entry)
            for place, entry in enumerate(self.overlay)
            if entry.provider in (None, provider) and (entry.model == model or fnmatchcase(model, entry.model))
        ]
        for _, _, _, entry in sorted(own, key=lambda found: found[:3], reverse=True):
            yield entry, "overlay glob" if _is_glob(entry.model) else "overlay"
        if provider is None:
            return
        for rule, name in _names(model):
            dated = self._by_name.get((provider, name), [])
            for entry in sorted(dated, key=lambda entry: entry.valid_from or date.min, reverse=True):
                yield entry, rule


def _dated(entry: PriceEntry, rule: str) -> Iterator[_Candidate]:
    first, last = entry.valid_from, entry.valid_until
    from_ns = float("-inf") if first is None else _midnight_ns(first)
    until_ns = float("inf") if last is None else _midnight_ns(last) + _NS_PER_DAY
    if entry.off_peak is not None:
        cheaper = msgspec.structs.replace(entry, tiers={**entry.tiers, **entry.off_peak.tiers})
        yield _Candidate(from_ns, until_ns, Match(cheaper, rule, ("off-peak",)), entry.off_peak)
    yield _Candidate(from_ns, until_ns, Match(entry, rule))


def _discounted(entry: PriceEntry, rule: str, beneath: list[_Candidate]) -> Iterator[_Candidate]:
    """Everything beneath, at a lower price, while both hold."""
    assert entry.discount is not None
    for own in _dated(entry, rule):
        for candidate in beneath:
            base = candidate.match
            priced = _scaled(base.entry, 1 - entry.discount, fees=True)
            sources = "; ".join(source for source in (entry.source, base.entry.source) if source)
            applied = (*base.applied, f"{(entry.discount * 100).normalize():f} % off by {rule}")
            yield _Candidate(
                max(own.from_ns, candidate.from_ns),
                min(own.until_ns, candidate.until_ns),
                Match(msgspec.structs.replace(priced, source=sources), base.rule, applied),
                candidate.off_peak,
            )


def _in_region(candidate: _Candidate, region: str | None) -> _Candidate:
    entry, rule, applied = candidate.match
    factor = None if region is None else entry.regions.get(region)
    if factor is None:
        return candidate
    match = Match(_scaled(entry, factor), rule, (*applied, f"region {region} × {factor:f}"))
    return candidate._replace(match=match)


def _scaled(entry: PriceEntry, factor: Decimal, *, fees: bool = False) -> PriceEntry:
    tiers = {
        tier: tuple(Bracket(bracket.above_tokens, _times(bracket.usd_per_million, factor)) for bracket in brackets)
        for tier, brackets in entry.tiers.items()
    }
    return msgspec.structs.replace(entry, tiers=tiers, fees=_times(entry.fees, factor) if fees else entry.fees)


def _times(prices: dict[str, Decimal], factor: Decimal) -> dict[str, Decimal]:
    return {name: _EXACT.multiply(price, factor) for name, price in prices.items()}


def _midnight_ns(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _NS_PER_DAY


def _names(model: str) -> Iterator[tuple[str, str]]:
    yield "exact", model
    for rule, pattern in ALIASES:
        if found := pattern.fullmatch(model):
            yield rule, found[1]


def _is_glob(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


def _specificity(entry: PriceEntry) -> tuple[bool, int, bool]:
    """A name before any glob; of globs, the one with more literal characters; then one that names the provider."""
    literal = re.sub(r"\[[^\]]*\]|[*?]", "", entry.model)
    return not _is_glob(entry.model), len(literal), entry.provider is not None
