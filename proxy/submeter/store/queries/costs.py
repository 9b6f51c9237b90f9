"""Tokens and money by any grouping. Three figures, never one: confirmed, estimated, indeterminate."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Label, func, select

from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import (
    CHRONOLOGICAL,
    GROUP_KEYS,
    WENT_UPSTREAM,
    Group,
    check_keys,
    group_of,
    within,
)
from submeter.store.schema import calls


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One group's sums over its rows. ``calls`` = ``hits`` + the five counts by cost state."""

    group: Group
    calls: int
    """Rows: one per upstream attempt, and one per hit."""
    hits: int
    """Answered from the cache, or by another caller's answer (coalesced)."""
    exact_calls: int
    estimated_calls: int
    indeterminate_calls: int
    unpriced_calls: int
    """Usage is known, a price is not: in no money figure."""
    unmetered_calls: int
    """Passed through unread: in no money figure."""
    unbounded_calls: int
    """Estimated or indeterminate calls whose upper bound may be exceeded (server tools), or is unknown."""
    input_tokens: int
    """Totals; the cached, cache-write and reasoning counts are parts of them."""
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    confirmed_nano_usd: int
    """Σ cost of the exact calls."""
    estimated_nano_usd: int
    """Σ cost of the estimated calls, which lies in [low, high]."""
    estimated_low_nano_usd: int
    estimated_high_nano_usd: int
    indeterminate_low_nano_usd: int
    """Calls whose end nobody saw have bounds and no figure."""
    indeterminate_high_nano_usd: int
    saved_nano_usd: int
    """What the hits would have cost."""

    @property
    def cost_nano_usd(self) -> int:
        """Confirmed and estimated; what is indeterminate comes on top."""
        return self.confirmed_nano_usd + self.estimated_nano_usd


def _rows(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(*conditions)


def _upstream(state: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return WENT_UPSTREAM, calls.c.cost_state == state


def _sum(column: str, *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(calls.c[column]).filter(*conditions)


_BOUNDED_STATES = calls.c.cost_state.in_(("estimated", "indeterminate"))
_NO_BOUND = calls.c.unbounded | calls.c.cost_high_nano_usd.is_(None)

_SUMS: dict[str, ColumnElement[Any]] = {
    "calls": func.count(),
    "hits": _rows(~WENT_UPSTREAM),
    "exact_calls": _rows(*_upstream("exact")),
    "estimated_calls": _rows(*_upstream("estimated")),
    "indeterminate_calls": _rows(*_upstream("indeterminate")),
    "unpriced_calls": _rows(*_upstream("unpriced")),
    "unmetered_calls": _rows(*_upstream("unmetered")),
    "unbounded_calls": _rows(WENT_UPSTREAM, _BOUNDED_STATES, _NO_BOUND),
    "input_tokens": _sum("input_tokens", WENT_UPSTREAM),
    "cached_input_tokens": _sum("cached_input_tokens", WENT_UPSTREAM),
    "cache_write_tokens": _sum("cache_write_tokens", WENT_UPSTREAM),
    "output_tokens": _sum("output_tokens", WENT_UPSTREAM),
    "reasoning_tokens": _sum("reasoning_tokens", WENT_UPSTREAM),
    "confirmed_nano_usd": _sum("cost_nano_usd", *_upstream("exact")),
    "estimated_nano_usd": _sum("cost_nano_usd", *_upstream("estimated")),
    "estimated_low_nano_usd": _sum("cost_low_nano_usd", *_upstream("estimated")),
    "estimated_high_nano_usd": _sum("cost_high_nano_usd", *_upstream("estimated")),
    "indeterminate_low_nano_usd": _sum("cost_low_nano_usd", *_upstream("indeterminate")),
    "indeterminate_high_nano_usd": _sum("cost_high_nano_usd", *_upstream("indeterminate")),
    "saved_nano_usd": _sum("saved_nano_usd", ~WENT_UPSTREAM),
}


def cost_by(
    ledger: Ledger, keys: Sequence[str], since_ns: int | None = None, until_ns: int | None = None
) -> list[CostLine]:
    """One line per group of the calls begun in [since, until); no keys: one line, the total.

    Days and hours come in order of time, everything else the dearest first. Raises ``UnknownKeyError``.
    """
    check_keys(keys)
    groups = [Label(f"by_{key}", GROUP_KEYS[key]) for key in keys]
    sums = [Label(name, column) for name, column in _SUMS.items()]
    # Grouped by label: repeating the expression would repeat its parameters, which Postgres takes for two groupings.
    by_labels = (group.name for group in groups)
    wanted = select(*groups, *sums).where(*within(since_ns, until_ns)).group_by(*by_labels)
    with ledger.reading() as connection:
        lines = [_line(keys, row) for row in connection.execute(wanted)]
    return sorted(lines, key=_order)


def _line(keys: Sequence[str], row: Sequence[Any]) -> CostLine:
    # A sum over no row is NULL in SQL, and 0 here: there were no such tokens. Postgres sums into a decimal.
    sums = {name: int(0 if value is None else value) for name, value in zip(_SUMS, row[len(keys) :], strict=True)}
    return CostLine(group=group_of(keys, row), **sums)


def _order(line: CostLine) -> tuple[list[str], int, list[str]]:
    group = {key: value or "" for key, value in line.group.items()}
    return (
        [value for key, value in group.items() if key in CHRONOLOGICAL],
        -line.cost_nano_usd,
        list(group.values()),
    )


def summary(ledger: Ledger, since_ns: int | None = None, until_ns: int | None = None) -> CostLine:
    """The total of all calls begun in [since, until); zeros where there are none."""
    return cost_by(ledger, (), since_ns, until_ns)[0]
