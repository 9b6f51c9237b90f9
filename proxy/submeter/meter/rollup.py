"""Sums and percentiles by many groupings for one reading of the ledger: the finest groups are read, then merged.

A page has five groupings; asking the ledger for each would read every call of the period five times, twice over.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from submeter.core.latency import Percentiles, percentiles
from submeter.meter.documents import SUMS
from submeter.store import queries
from submeter.store.ledger import Ledger
from submeter.store.queries import GROUP_KEYS, CostLine
from submeter.store.queries.latency import Durations, durations

KEYS = ("model", "team", "prompt", "prompt_version")

Values = tuple[str | None, ...]
"""The values of some of the keys, in order; ``None`` where the calls have none."""


class Latency(NamedTuple):
    """``None`` where no call has the figure."""

    ttft: Percentiles | None = None
    e2e: Percentiles | None = None


class Rollup:
    """The calls begun since ``since_ns``, by any of ``KEYS``. Raises ``LedgerUnavailable``."""

    def __init__(self, ledger: Ledger, since_ns: int) -> None:
        self._costs = queries.cost_by(ledger, KEYS, since_ns)
        with ledger.reading() as connection:
            self._durations = durations(connection, [GROUP_KEYS[key] for key in KEYS], since_ns, None)

    def total(self) -> CostLine:
        """Zeros where there are no calls."""
        return _sum((), (), self._costs)

    def costs(self, *keys: str) -> list[CostLine]:
        """The dearest first, then the busiest."""
        groups: dict[Values, list[CostLine]] = {}
        for line in self._costs:
            groups.setdefault(tuple(line.group[key] for key in keys), []).append(line)
        return sorted((_sum(keys, values, lines) for values, lines in groups.items()), key=_order)

    def latencies(self, *keys: str) -> dict[Values, Latency]:
        """Of the calls that went upstream and ended well; exact, as the durations themselves are merged."""
        at = [KEYS.index(key) for key in keys]
        groups: dict[Values, list[Durations]] = {}
        for values, found in self._durations.items():
            groups.setdefault(tuple(values[index] for index in at), []).append(found)
        return {values: _merged(parts) for values, parts in groups.items()}


def _sum(keys: Sequence[str], values: Values, lines: Sequence[CostLine]) -> CostLine:
    sums = {name: sum(getattr(line, name) for line in lines) for name in SUMS}
    return CostLine(group=dict(zip(keys, values, strict=True)), **sums)


def _order(line: CostLine) -> tuple[int, int, list[str]]:
    return -line.cost_nano_usd, -line.calls, [value or "" for value in line.group.values()]


def _merged(parts: Sequence[Durations]) -> Latency:
    ttft, e2e = array("q"), array("q")
    for part in parts:
        ttft.extend(part.ttft)
        e2e.extend(part.e2e)
    return Latency(percentiles(ttft), percentiles(e2e))
