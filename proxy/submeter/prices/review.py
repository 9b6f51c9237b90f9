"""Looking at price data: what changed between two snapshots, and what cannot be right."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from submeter.core.pricebook import STANDARD, PriceEntry
from submeter.prices.snapshot import Snapshot

STALE_DAYS = 14
CHEAP_OUTPUT = 2
"""Output below input ÷ this is taken for a slip: providers that charge less for output charge about the same."""


class Diff(NamedTuple):
    added: list[PriceEntry]
    removed: list[PriceEntry]
    changed: list[tuple[PriceEntry, PriceEntry]]
    """(before, after) where a price or a limit differs."""


class Finding(msgspec.Struct, frozen=True):
    kind: str
    """``stale``, ``cheap_output`` or ``zero_price``."""
    subject: str
    text: str


def compare(before: Iterable[PriceEntry], after: Iterable[PriceEntry]) -> Diff:
    old, new = _by_place(before), _by_place(after)
    return Diff(
        added=[new[place] for place in new if place not in old],
        removed=[old[place] for place in old if place not in new],
        changed=[(old[place], entry) for place, entry in new.items() if place in old and not _alike(old[place], entry)],
    )


def _by_place(entries: Iterable[PriceEntry]) -> dict[tuple[object, ...], PriceEntry]:
    return {(entry.provider, entry.model, entry.valid_from): entry for entry in entries}


def _alike(one: PriceEntry, other: PriceEntry) -> bool:
    return msgspec.structs.replace(one, source="") == msgspec.structs.replace(other, source="")


def price_texts(entry: PriceEntry) -> dict[str, str]:
    """USD per million for a person to read, by ``output_text``, ``output_text flex``, ``output_text >272000``."""
    texts: dict[str, str] = {}
    for tier, brackets in entry.tiers.items():
        for bracket in brackets:
            suffix = "" if tier == STANDARD else f" {tier}"
            suffix += f" >{bracket.above_tokens}" if bracket.above_tokens else ""
            texts.update((name + suffix, f"{price:f}") for name, price in bracket.usd_per_million.items())
    return texts


def describe_change(before: PriceEntry, after: PriceEntry) -> str:
    """``input_uncached 2.5 → 2, output_text 10 → 8``."""
    old, new = price_texts(before), price_texts(after)
    old |= {"max_output_tokens": str(before.max_output_tokens), "max_input_tokens": str(before.max_input_tokens)}
    new |= {"max_output_tokens": str(after.max_output_tokens), "max_input_tokens": str(after.max_input_tokens)}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name, '–')} → {new.get(name, '–')}" for name in names)


def age_days(snapshot: Snapshot, now: datetime) -> int:
    return (now - datetime.fromisoformat(snapshot.imported_at).astimezone(UTC)).days


def check(snapshot: Snapshot, entries: Iterable[PriceEntry], now: datetime) -> list[Finding]:
    """What looks wrong. ``entries``: those that can price a call (their providers have an upstream)."""
    found: list[Finding] = []
    age = age_days(snapshot, now)
    if age > STALE_DAYS:
        text = f"imported {age} days ago: run submeter prices import with a newer litellm, a file or a URL"
        found.append(Finding("stale", snapshot.id, text))
    for entry in entries:
        found.extend(_nonsense(entry))
    return found


def _nonsense(entry: PriceEntry) -> Iterator[Finding]:
    if entry.mode == "embedding":
        return
    subject = entry.model if entry.provider is None else f"{entry.provider}/{entry.model}"
    for tier, brackets in entry.tiers.items():
        for bracket in brackets:
            asked, given = (bracket.usd_per_million.get(name) for name in ("input_uncached", "output_text"))
            if asked is not None and given is not None:
                yield from _nonsense_pair(subject, tier, asked, given)


def _nonsense_pair(subject: str, tier: str, asked: Decimal, given: Decimal) -> Iterator[Finding]:
    if (asked == 0) != (given == 0):
        yield Finding("zero_price", subject, f"{tier}: input {asked}, output {given}: one is free, one is not")
    elif given * CHEAP_OUTPUT < asked:
        yield Finding("cheap_output", subject, f"{tier}: output {given} is far below input {asked}")
