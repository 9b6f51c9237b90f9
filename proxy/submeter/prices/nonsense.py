"""Prices that cannot be right, or that nobody has looked at for long: what ``submeter prices check`` finds."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import pairwise

import msgspec

from submeter.core.pricebook import STANDARD, Bracket, PriceEntry
from submeter.prices.history import Place, in_force, place_of
from submeter.prices.review import STALE_DAYS, age_days, jumps
from submeter.prices.snapshot import Snapshot

CHEAP_OUTPUT = 2
"""Output below input ÷ this is taken for a slip: providers that charge less for output charge about the same."""
JUMP = 10
"""Ten times, or a tenth, of what it was: a slipped decimal point."""
DEAR_TIER = 10
"""No provider's dearest tier is that much above its standard one (OpenAI's ultrafast is 6 times)."""
DEAR_CONTEXT = 6
"""Long prompts cost up to five times as much (claude-haiku-5-5 above 100,000 tokens)."""
CLOSE = 0.9
"""How alike two model names are when one is taken for a slip of the other (difflib's ratio)."""
DEAR_WRITE = 3
"""Cache writes cost up to twice the input."""


class Finding(msgspec.Struct, frozen=True):
    kind: str
    """``stale``, ``cheap_output``, ``zero_price``, ``jump``, ``dear_tier``, ``dear_context``, ``dear_cache``,
    ``overlap`` or ``matches_nothing``."""
    subject: str
    text: str


def check(
    snapshot: Snapshot,
    entries: Iterable[PriceEntry],
    now: datetime,
    *,
    overlay: Iterable[PriceEntry] = (),
    previous: Snapshot | None = None,
) -> list[Finding]:
    """What looks wrong. ``entries``: those of the snapshot that can price a call (their providers have an upstream);
    ``previous``: the snapshot before this one."""
    checked, own = list(entries), list(overlay)
    found = list(_stale(snapshot, now))
    for entry in (*own, *checked):
        found.extend(_nonsense(entry))
    found.extend(_jumps(checked, previous))
    found.extend(_overlaps(own))
    found.extend(_matching_nothing(own, snapshot.entries))
    return found


def _stale(snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    age = age_days(snapshot, now)
    if age > STALE_DAYS:
        text = f"imported {age} days ago: run submeter prices import with a newer litellm, a file or a URL"
        yield Finding("stale", snapshot.id, text)


def _nonsense(entry: PriceEntry) -> Iterator[Finding]:
    if entry.mode == "embedding":
        return
    base = entry.tiers.get(STANDARD, ())
    for tier, brackets in entry.tiers.items():
        for bracket in brackets:
            yield from _within(entry, tier, bracket.usd_per_million)
        if tier != STANDARD and brackets and base:
            yield from _beside(entry, "dear_tier", f"{tier} is", brackets[0], base[0], DEAR_TIER)
        for lower, higher in pairwise(brackets):
            what = f"{tier} above {higher.above_tokens:,} tokens is"
            yield from _beside(entry, "dear_context", what, higher, lower, DEAR_CONTEXT)


def _within(entry: PriceEntry, tier: str, prices: dict[str, Decimal]) -> Iterator[Finding]:
    subject, asked, given = _subject(entry), prices.get("input_uncached"), prices.get("output_text")
    if asked is None:
        return
    if given is not None and tier != "decisions":  # OpenAI's decisions bill input only
        if (asked == 0) != (given == 0):
            yield Finding("zero_price", subject, f"{tier}: input {asked}, output {given}: one is free, one is not")
        elif given * CHEAP_OUTPUT < asked:
            yield Finding("cheap_output", subject, f"{tier}: output {given} is far below input {asked}")
    for name, price in prices.items():
        most = asked if name == "cached_read" else asked * DEAR_WRITE if name.startswith("cache_write") else None
        if most is not None and price > most:
            yield Finding("dear_cache", subject, f"{tier}: {name} {price} is far above input {asked}")


def _beside(entry: PriceEntry, kind: str, what: str, one: Bracket, base: Bracket, most: int) -> Iterator[Finding]:
    for name, price in one.usd_per_million.items():
        usual = base.usd_per_million.get(name)
        if usual and price >= usual * most:
            yield Finding(kind, _subject(entry), f"{what} {price / usual:.3g} times as dear for {name}: {price}")


def _jumps(entries: Iterable[PriceEntry], previous: Snapshot | None) -> Iterator[Finding]:
    before: dict[Place, PriceEntry] = {}
    if previous is not None:
        before = {place_of(entry): entry for entry in in_force(previous.entries)}
    for entry in in_force(entries):
        old = before.get(place_of(entry))
        for name, factor in ({} if old is None else jumps(old, entry)).items():
            if factor >= JUMP:
                yield Finding("jump", _subject(entry), f"{name} changed {factor:.3g}-fold since the last snapshot")


def _overlaps(overlay: list[PriceEntry]) -> Iterator[Finding]:
    for place, one in enumerate(overlay):
        for other in overlay[place + 1 :]:
            same = (one.model, one.provider) == (other.model, other.provider)
            if same and _first(one) <= _last(other) and _first(other) <= _last(one):
                text = "two entries hold on the same days: the later from wins, then the later written; give until"
                yield Finding("overlap", _subject(other), text)


def _first(entry: PriceEntry) -> date:
    return entry.valid_from or date.min


def _last(entry: PriceEntry) -> date:
    return entry.valid_until or date.max


def _matching_nothing(overlay: list[PriceEntry], known: tuple[PriceEntry, ...]) -> Iterator[Finding]:
    """A discount needs a price beneath. Other entries may well be for models that no list has: only a name that is
    nearly a listed one is taken for a slip."""
    names = {entry.model for entry in known}
    for entry in overlay:
        if any(_falls_under(entry, other) for other in (*known, *overlay) if other.discount is None and other != entry):
            continue
        near = get_close_matches(entry.model, names, n=1, cutoff=CLOSE)
        if entry.discount is not None:
            yield Finding("matches_nothing", _subject(entry), "a discount, but no price is known that it could lower")
        elif near:
            yield Finding("matches_nothing", _subject(entry), f"no list has this model; is {near[0]} meant?")


def _falls_under(pattern: PriceEntry, entry: PriceEntry) -> bool:
    provider = None in (pattern.provider, entry.provider) or pattern.provider == entry.provider
    return provider and (fnmatchcase(entry.model, pattern.model) or fnmatchcase(pattern.model, entry.model))


def _subject(entry: PriceEntry) -> str:
    return entry.model if entry.provider is None else f"{entry.provider}/{entry.model}"
