"""The assumptions ledger: every figure that a report rests on, with who says it, since when, and whether it is old.

A figure enters once, under an id such as ``gpu.h100_sxm.usd_per_hour``; options and lines name the ids they rest on.
"""

from collections.abc import Iterator
from datetime import date
from itertools import count
from typing import Literal

import msgspec

By = Literal["prior", "catalog", "price book", "config", "ledger"]

PRICE_DAYS = 90
"""A price this old is stale: GPU rents moved by a third within five months of 2026."""
HARDWARE_DAYS = 400
"""A data sheet or a published benchmark this old is stale: a generation of engines lies between."""


class Assumption(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    """For people."""
    value: str
    unit: str
    source: str
    """A document's title and section, an address, a price-book entry, or a line of alternatives.yaml."""
    as_of: date | None = None
    """When the source said so, or was last compared; ``None``: it does not age."""
    stale: bool = False
    by: By


class Assumptions:
    """What one report assumes, in the order in which it was first needed."""

    def __init__(self, on: date) -> None:
        """``on``: the day by which ages are judged, which is the end of the week reported (a rerun says the same)."""
        self._on = on
        self._by_id: dict[str, Assumption] = {}

    def add(
        self,
        id: str,  # noqa: A002
        name: str,
        value: object,
        unit: str,
        *,
        source: str,
        by: By,
        as_of: date | None = None,
        stale_after_days: int = PRICE_DAYS,
    ) -> str:
        """The id: the one given, or with a number, where it stands for another figure already (``price.mine.m#2``)."""
        stale = as_of is not None and (self._on - as_of).days > stale_after_days
        for number in count(1):
            free = id if number == 1 else f"{id}#{number}"
            new = Assumption(
                id=free, name=name, value=str(value), unit=unit, source=source, as_of=as_of, stale=stale, by=by
            )
            if self._by_id.setdefault(free, new) == new:
                break
        return free

    def listed(self) -> tuple[Assumption, ...]:
        return tuple(self._by_id.values())

    def stale(self) -> Iterator[Assumption]:
        return (each for each in self._by_id.values() if each.stale)

    def __getitem__(self, id: str) -> Assumption:  # noqa: A002
        return self._by_id[id]
