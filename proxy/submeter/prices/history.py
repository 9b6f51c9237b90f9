"""Dated prices: importing over a snapshot adds to it. What a call cost when it was made stays what it cost.

A price that changed ends the day before, and the new one holds from that day on. A model that the map no longer has
ends likewise. A price that is the same stays as it is and is only marked as checked again.
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

import msgspec

from submeter.core.pricebook import PriceEntry

Place = tuple[str | None, str]
"""Provider and model."""


def continue_history(before: Iterable[PriceEntry], after: Iterable[PriceEntry], effective: date) -> list[PriceEntry]:
    """The entries of a snapshot that was ``before``, when the map says ``after`` from the day ``effective`` on.

    What was dated from that day or later is replaced: an import can be repeated.
    """
    known = _by_place(before)
    found: list[PriceEntry] = []
    for entry in after:
        found.extend(_continue(known.pop(place_of(entry), []), entry, effective))
    for entries in known.values():
        found.extend(_ended(entries, effective))
    return found


def in_force(entries: Iterable[PriceEntry]) -> list[PriceEntry]:
    """The entries that have not ended: one for each model."""
    return [entry for entry in entries if entry.valid_until is None]


def place_of(entry: PriceEntry) -> Place:
    return entry.provider, entry.model


def same_money(one: PriceEntry, other: PriceEntry) -> bool:
    return _money(one) == _money(other)


def _money(entry: PriceEntry) -> tuple[object, ...]:
    return entry.tiers, entry.fees, entry.regions, entry.off_peak


def _by_place(entries: Iterable[PriceEntry]) -> dict[Place, list[PriceEntry]]:
    found: dict[Place, list[PriceEntry]] = {}
    for entry in entries:
        found.setdefault(place_of(entry), []).append(entry)
    return found


def _continue(known: list[PriceEntry], entry: PriceEntry, effective: date) -> Iterator[PriceEntry]:
    if not known:
        yield entry  # nothing says that it ever was another
        return
    current = next(iter(in_force(known)), None)
    if current is not None and same_money(current, entry):
        yield from (old for old in known if old is not current)
        yield msgspec.structs.replace(entry, valid_from=current.valid_from)
        return
    yield from _ended(known, effective)
    yield msgspec.structs.replace(entry, valid_from=effective)


def _ended(entries: Iterable[PriceEntry], effective: date) -> Iterator[PriceEntry]:
    last = effective - timedelta(days=1)
    for entry in entries:
        if (entry.valid_from or date.min) <= last:
            until = last if entry.valid_until is None else min(entry.valid_until, last)
            yield msgspec.structs.replace(entry, valid_until=until)
