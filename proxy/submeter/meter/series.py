"""The numbers behind /metrics: integers, in a bounded number of series, of which the changed ones are kept.

A series is a list of integers: one of a counter; of a histogram one per bucket (not cumulative) and the sum. What is
kept of them, in the ledger, is each of these integers under the family's name and the series' labels, for a
histogram with ``le`` beside them, so that a restarted meter goes on where the committed rows end.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from submeter.meter.families import KEPT, OTHER_SERIES, Family, Labels
from submeter.meter.labels import OTHER
from submeter.store.ledger import CounterKey

MOST_KEPT = 2**63 - 1
"""The ledger's integers; a provider that reports absurd numbers must not stop the shipping."""
SUM = "sum"


class Exemplar(NamedTuple):
    """The latest call of a bucket, or of a counter's sample."""

    call_id: str
    value: int
    at_ns: int


class Series:
    """``cells`` as said above. Compared by identity, so that marking one as changed costs next to nothing."""

    __slots__ = ("bounds", "cells", "family", "kept", "labels", "latest")

    def __init__(self, family: Family, labels: Labels) -> None:
        cells = len(family.buckets) + 2 if family.buckets else 1
        self.family = family
        self.labels = labels
        self.bounds = [round(bound * family.per_unit) for bound in family.buckets]
        self.cells = [0] * cells
        self.kept = [-1] * cells
        """The cells as they were last committed; -1: not at all. A series at 0 is kept too: it must not begin anew."""
        self.latest: list[Exemplar | None] = [None] * cells


class SeriesTable:
    """All series. Whoever calls holds the lock of ``Metrics``."""

    def __init__(self, begins: Mapping[str, Iterable[Labels]]) -> None:
        """``begins``: combinations that are there from the start, by family, beside those that the family names."""
        self._series: dict[str, dict[Labels, Series]] = {family.name: {} for family in KEPT}
        self._changed: set[Series] = set()
        self._saving: set[Series] = set()
        for family in KEPT:
            for labels in (*family.begins, *begins.get(family.name, ())):
                self.find(family, labels)

    def of(self, family: Family) -> Iterable[Series]:
        return self._series[family.name].values()

    def find(self, family: Family, labels: Labels) -> Series:
        """The series of this combination, or, when the family's are used up, the one of all others."""
        known = self._series[family.name]
        series = known.get(labels)
        if series is None:
            if len(known) >= family.most - 1 and labels != _others(family):
                if not family.begins:  # else its values are a closed set, and a newer relay has one more
                    self.add(OTHER_SERIES, (family.shown,))
                return self.find(family, _others(family))
            series = known[labels] = Series(family, labels)
        return series

    def add(self, family: Family, labels: Labels, count: int = 1) -> Series:
        series = self._series[family.name].get(labels) or self.find(family, labels)
        series.cells[0] += count
        self._changed.add(series)
        return series

    def observe(self, family: Family, labels: Labels, value: int) -> tuple[Series, int]:
        """(the series, which bucket)."""
        series = self._series[family.name].get(labels) or self.find(family, labels)
        bucket = bisect_left(series.bounds, value)
        series.cells[bucket] += 1
        series.cells[-1] += value
        self._changed.add(series)
        return series, bucket

    # -- kept across restarts ------------------------------------------------------------------------------------

    @property
    def has_changed(self) -> bool:
        return bool(self._changed or self._saving)

    def changes(self) -> dict[CounterKey, int]:
        """What has changed since the last ``committed``, to be written with the rows that changed it."""
        self._saving |= self._changed
        self._changed = set()
        return dict(_changes(self._saving))

    def committed(self) -> None:
        """What ``changes`` said is in the ledger; all that was counted since was said there too."""
        for series in self._saving | self._changed:
            series.kept = list(series.cells)
        self._saving, self._changed = set(), set()

    def restore(self, kept: Mapping[CounterKey, int]) -> None:
        """Of a metric that has other labels or buckets by now, nothing comes back: it begins at 0. What an older
        version had more of than there may be now does not come back either."""
        families = {family.kept_as: family for family in KEPT}
        for (name, labels), value in kept.items():
            family = families.get(name)
            if family is not None:
                self._restore(family, dict(labels), value)

    def _restore(self, family: Family, labels: dict[str, str], value: int) -> None:
        cell = _cell_names(family).index(labels.pop("le", None))
        combination, known = tuple(labels.values()), self._series[family.name]
        if tuple(labels) == family.labels and (combination in known or len(known) < family.most):
            series = known.setdefault(combination, Series(family, combination))
            series.cells[cell] = series.kept[cell] = value


def _others(family: Family) -> Labels:
    return (OTHER,) * len(family.labels)


def _changes(changed: Iterable[Series]) -> Iterator[tuple[CounterKey, int]]:
    for series in changed:
        pairs = tuple(zip(series.family.labels, series.labels, strict=True))
        names = _cell_names(series.family)
        for name, now, before in zip(names, series.cells, series.kept, strict=True):
            if now != before:
                key = pairs if name is None else (*pairs, ("le", name))
                yield (series.family.kept_as, key), min(now, MOST_KEPT)


def _cell_names(family: Family) -> tuple[str | None, ...]:
    return (*map(repr, family.buckets), "+Inf", SUM) if family.buckets else (None,)
