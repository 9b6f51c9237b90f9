"""Tokens and money by any grouping. Three figures, never one: confirmed, estimated, indeterminate."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, FromClause, Label, Select, func, select

from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import (
    CHRONOLOGICAL,
    GROUP_KEYS,
    Group,
    check_keys,
    group_of,
    went_upstream,
    within,
)
from submeter.store.queries.priced import priced_calls


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One group's sums over its rows. ``calls`` = ``hits`` + the five counts by cost state, and
    = ``hits`` + ``misses`` + ``bypassed``."""

    group: Group
    calls: int
    """Rows: one per upstream attempt, and one per hit."""
    hits: int
    """Answered from the cache, or by another caller's answer (coalesced)."""
    coalesced: int
    """Of the hits, those by another caller's answer, as it came."""
    misses: int
    """Asked for in the cache and not found: with the hits, the cacheable calls."""
    bypassed: int
    """Nothing for the cache, or kept from it."""
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
    def cacheable(self) -> int:
        """Calls that the cache could have answered."""
        return self.hits + self.misses

    @property
    def cost_nano_usd(self) -> int:
        """Confirmed and estimated; what is indeterminate comes on top."""
        return self.confirmed_nano_usd + self.estimated_nano_usd


def _sums(rows: FromClause) -> dict[str, ColumnElement[Any]]:
    """Every figure of a line, in the order of its fields."""
    bought = went_upstream(rows)

    def count(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count().filter(*conditions)

    def total(column: str, *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
        return func.sum(rows.c[column]).filter(*conditions)

    def state(name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return bought, rows.c.cost_state == name

    bounded = rows.c.cost_state.in_(("estimated", "indeterminate"))
    no_bound = rows.c.unbounded | rows.c.cost_high_nano_usd.is_(None)
    return {
        "calls": func.count(),
        "hits": count(~bought),
        **{name: count(rows.c.cache == status) for name, status in _CACHE.items()},
        **{f"{name}_calls": count(*state(name)) for name in _STATES},
        "unbounded_calls": count(bought, bounded, no_bound),
        **{name: total(name, bought) for name in _TOKENS},
        "confirmed_nano_usd": total("cost_nano_usd", *state("exact")),
        "estimated_nano_usd": total("cost_nano_usd", *state("estimated")),
        "estimated_low_nano_usd": total("cost_low_nano_usd", *state("estimated")),
        "estimated_high_nano_usd": total("cost_high_nano_usd", *state("estimated")),
        "indeterminate_low_nano_usd": total("cost_low_nano_usd", *state("indeterminate")),
        "indeterminate_high_nano_usd": total("cost_high_nano_usd", *state("indeterminate")),
        "saved_nano_usd": total("saved_nano_usd", ~bought),
    }


_STATES = ("exact", "estimated", "indeterminate", "unpriced", "unmetered")
_CACHE = {"coalesced": "coalesced", "misses": "miss", "bypassed": "bypass"}
_TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_FIGURES = tuple(name for name in CostLine.__struct_fields__ if name != "group")


def cost_by(
    ledger: Ledger,
    keys: Sequence[str],
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    version: str | None = None,
) -> list[CostLine]:
    """One line per group of the calls begun in [since, until); no keys: one line, the total.

    The costs are those of the selected version, unless ``version`` names another (``v1`` …, ``original``).
    Days and hours come in order of time, everything else the dearest first. Raises ``UnknownKeyError``, and
    ``UsageError`` for a version that is not there.
    """
    check_keys(keys)
    with ledger.reading() as connection:
        rows = priced_calls(connection, version)
        lines = [_line(keys, row) for row in connection.execute(_select(rows, keys, since_ns, until_ns))]
    return sorted(lines, key=_order)


def _select(rows: FromClause, keys: Sequence[str], since_ns: int | None, until_ns: int | None) -> Select[Any]:
    groups = [Label(f"by_{key}", GROUP_KEYS[key](rows)) for key in keys]
    sums = [Label(name, column) for name, column in _sums(rows).items()]
    # Grouped by label: repeating the expression would repeat its parameters, which Postgres takes for two groupings.
    by_labels = (group.name for group in groups)
    return select(*groups, *sums).where(*within(since_ns, until_ns, rows)).group_by(*by_labels)


def _line(keys: Sequence[str], row: Sequence[Any]) -> CostLine:
    # A sum over no row is NULL in SQL, and 0 here: there were no such tokens. Postgres sums into a decimal.
    sums = {name: int(0 if value is None else value) for name, value in zip(_FIGURES, row[len(keys) :], strict=True)}
    return CostLine(group=group_of(keys, row), **sums)


def _order(line: CostLine) -> tuple[list[str], int, list[str]]:
    group = {key: value or "" for key, value in line.group.items()}
    return (
        [value for key, value in group.items() if key in CHRONOLOGICAL],
        -line.cost_nano_usd,
        list(group.values()),
    )


def summary(
    ledger: Ledger, since_ns: int | None = None, until_ns: int | None = None, *, version: str | None = None
) -> CostLine:
    """The total of all calls begun in [since, until); zeros where there are none."""
    return cost_by(ledger, (), since_ns, until_ns, version=version)[0]
