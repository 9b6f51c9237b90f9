"""The ledger's side: sums by day, model and key at the selected cost version, and the rows behind them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from submeter.core import when
from submeter.core.record import CallRow
from submeter.store.ledger import Ledger
from submeter.store.queries import CostLine, cost_by
from submeter.store.versions import stored_rows

UPSTREAM_STATUSES = ("miss", "bypass")
"""Hits and coalesced callers cost nothing, and no provider knows of them."""


class Place(NamedTuple):
    """What is compared with what: all of one model (or item) of one day, of one key where keys are mapped."""

    day: int
    name: str | None
    """``None``: calls of which nothing is known, or all of the day where the invoice names no models."""
    key: str | None


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls are compared, and under which names."""

    since_day: int
    until_day: int
    """Exclusive."""
    upstreams: frozenset[str] | None = None
    """``None``: all."""
    names: Mapping[str, str] = {}
    """The ledger's name of a model → the invoice's, where they differ."""
    by_model: bool = True
    by_key: bool = False

    def covers(self, day: int) -> bool:
        return self.since_day <= day < self.until_day

    def place(self, day: int, model: str | None, key: str | None) -> Place:
        name = model if model is None else self.names.get(model, model)
        return Place(day, name if self.by_model else None, key if self.by_key else None)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the calls of one place that went upstream."""

    calls: int = 0
    estimated_calls: int = 0
    indeterminate_calls: int = 0
    unpriced_calls: int = 0
    unmetered_calls: int = 0
    unbounded_calls: int = 0
    unreported_calls: int = 0
    """Calls that may have been billed, and whose usage the provider did not report to us."""
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    confirmed_nano_usd: int = 0
    estimated_nano_usd: int = 0
    estimated_low_nano_usd: int = 0
    estimated_high_nano_usd: int = 0
    indeterminate_low_nano_usd: int = 0
    indeterminate_high_nano_usd: int = 0

    @property
    def cost_nano_usd(self) -> int:
        return self.confirmed_nano_usd + self.estimated_nano_usd

    @property
    def low_nano_usd(self) -> int:
        return self.confirmed_nano_usd + self.estimated_low_nano_usd + self.indeterminate_low_nano_usd

    @property
    def high_nano_usd(self) -> int:
        return self.confirmed_nano_usd + self.estimated_high_nano_usd + self.indeterminate_high_nano_usd

    @property
    def is_uncertain(self) -> bool:
        return self.high_nano_usd > self.low_nano_usd or self.unbounded_calls > 0

    @property
    def metered_calls(self) -> int:
        return self.calls - self.unmetered_calls

    def __add__(self, other: "Side") -> "Side":
        return Side(**{name: getattr(self, name) + getattr(other, name) for name in SUMS})


SUMS: tuple[str, ...] = Side.__struct_fields__
_FROM_LINE = tuple(name for name in SUMS if name not in ("calls", "unreported_calls"))
_KEYS = ("day", "model", "upstream", "usage_source")


def sides(ledger: Ledger, scope: Scope) -> dict[Place, Side]:
    """Both sums and places come from the selected version. Raises ``LedgerUnavailable``."""
    keys = (*_KEYS, "key_id") if scope.by_key else _KEYS
    found: dict[Place, Side] = {}
    for line in cost_by(ledger, keys, scope.since_day * when.DAY_NS, scope.until_day * when.DAY_NS):
        if scope.upstreams is not None and line.group["upstream"] not in scope.upstreams:
            continue
        day = line.group["day"]
        assert day is not None, "every call has a start"
        place = scope.place(when.parse_moment(day) // when.DAY_NS, line.group["model"], line.group.get("key_id"))
        found[place] = found.get(place, Side()) + _side(line)
    return {place: side for place, side in found.items() if side.calls}


def _side(line: CostLine) -> Side:
    calls = line.calls - line.hits
    side = Side(calls=calls, **{name: getattr(line, name) for name in _FROM_LINE})
    reported = line.group["usage_source"] == "provider"
    # Errors and refusals report no usage and cost nothing: nothing is unknown about those.
    free = not (side.high_nano_usd or side.cost_nano_usd or side.unbounded_calls)
    return side if reported or free else side + Side(unreported_calls=calls - line.unmetered_calls)


def rows_of(ledger: Ledger, scope: Scope, days: Iterable[int]) -> Iterator[tuple[Place, CallRow]]:
    """The calls of some days that went upstream, with their places, read as they are consumed."""
    for day in sorted(set(days)):
        for row in stored_rows(ledger, day * when.DAY_NS, (day + 1) * when.DAY_NS):
            if row.cache in UPSTREAM_STATUSES and (scope.upstreams is None or row.upstream in scope.upstreams):
                model = row.model_requested if row.model_served is None else row.model_served
                yield scope.place(day, model, row.key_id), row
