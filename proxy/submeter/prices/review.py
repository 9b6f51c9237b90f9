"""Looking at price data: what changed between two snapshots."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from submeter.core.pricebook import STANDARD, PriceEntry
from submeter.prices.history import in_force, place_of
from submeter.prices.snapshot import Snapshot

STALE_DAYS = 14
BIG_FACTOR = 2
"""A price that at least doubles, or falls to half, is shown with its factor."""


class Diff(NamedTuple):
    added: list[PriceEntry]
    removed: list[PriceEntry]
    changed: list[tuple[PriceEntry, PriceEntry]]
    """(before, after) where a price or a limit differs; the biggest jump first."""


def compare(before: Iterable[PriceEntry], after: Iterable[PriceEntry]) -> Diff:
    """What is in force in one and not in the other."""
    old = {place_of(entry): entry for entry in in_force(before)}
    new = {place_of(entry): entry for entry in in_force(after)}
    changed = [(old[place], entry) for place, entry in new.items() if place in old and not _alike(old[place], entry)]
    return Diff(
        added=[new[place] for place in new if place not in old],
        removed=[old[place] for place in old if place not in new],
        changed=sorted(changed, key=lambda pair: largest_jump(*pair), reverse=True),
    )


def _alike(one: PriceEntry, other: PriceEntry) -> bool:
    return _undated(one) == _undated(other)


def _undated(entry: PriceEntry) -> PriceEntry:
    return msgspec.structs.replace(entry, source="", checked_on=None, valid_from=None)


def prices_by_name(entry: PriceEntry) -> dict[str, Decimal]:
    """Every figure: ``output_text``, ``output_text flex``, ``output_text >272000``, ``region eu`` …"""
    found: dict[str, Decimal] = {}
    quiet = {} if entry.off_peak is None else {"off-peak": entry.off_peak.tiers.get(STANDARD, ())}
    for tier, brackets in {**entry.tiers, **quiet}.items():
        for bracket in brackets:
            suffix = "" if tier == STANDARD else f" {tier}"
            suffix += f" >{bracket.above_tokens}" if bracket.above_tokens else ""
            found.update((name + suffix, price) for name, price in bracket.usd_per_million.items())
    found |= {f"{name} fee": fee for name, fee in entry.fees.items()}
    return found | {f"region {name}": factor for name, factor in entry.regions.items()}


def jumps(before: PriceEntry, after: PriceEntry) -> dict[str, Decimal]:
    """Name → by how much it went up or down: 10 for ten times, and for a tenth."""
    old, new = prices_by_name(before), prices_by_name(after)
    return {name: _jump(price, new[name]) for name, price in old.items() if price and new.get(name)}


def largest_jump(before: PriceEntry, after: PriceEntry) -> Decimal:
    return max(jumps(before, after).values(), default=Decimal(1))


def _jump(one: Decimal, other: Decimal) -> Decimal:
    return max(one, other) / min(one, other)


def describe_change(before: PriceEntry, after: PriceEntry) -> str:
    """``input_uncached 2.5 → 25 (× 10), output_text 10 → 8``."""
    old, new = _figures(before), _figures(after)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    parts = [f"{name} {old.get(name, '–')} → {new.get(name, '–')}{_factor(before, after, name)}" for name in names]
    return ", ".join([*parts, *(["off-peak hours"] if _hours(before) != _hours(after) else [])])


def _figures(entry: PriceEntry) -> dict[str, str]:
    limits = {"max_output_tokens": str(entry.max_output_tokens), "max_input_tokens": str(entry.max_input_tokens)}
    return {name: f"{price:f}" for name, price in prices_by_name(entry).items()} | limits


def _factor(before: PriceEntry, after: PriceEntry, name: str) -> str:
    old, new = prices_by_name(before).get(name), prices_by_name(after).get(name)
    if not old or not new or _jump(old, new) < BIG_FACTOR:
        return ""
    return f" (× {(new / old).quantize(Decimal('0.01')).normalize():f})"


def _hours(entry: PriceEntry) -> object:
    return None if entry.off_peak is None else entry.off_peak.windows


def age_days(snapshot: Snapshot, now: datetime) -> int:
    return (now - datetime.fromisoformat(snapshot.imported_at).astimezone(UTC)).days
