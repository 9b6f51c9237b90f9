"""The keys that sums and percentiles can be grouped by, and the rows that they count."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, func

from submeter.core import when
from submeter.store.schema import calls

Group = dict[str, str | None]
"""Key → value; ``None`` where the calls have none."""

Key = Callable[[FromClause], ColumnElement[Any]]
"""What is read of the rows of ``calls``, or of any query that has its columns."""

_COLUMNS = (
    *("team", "app", "user", "key_id", "class", "session", "prompt", "prompt_version"),
    *("endpoint", "upstream", "model_requested", "service_tier", "stream"),
    *("cache", "outcome", "finish_reason", "status", "cost_state", "usage_source", "price_snapshot"),
)


def _column(name: str) -> Key:
    return lambda rows: rows.c[name]


GROUP_KEYS: Mapping[str, Key] = {
    "model": lambda rows: func.coalesce(rows.c.model_served, rows.c.model_requested),
    **{name: _column(name) for name in _COLUMNS},
    "day": lambda rows: rows.c.started_at_ns // when.DAY_NS,
    "hour": lambda rows: rows.c.started_at_ns // when.HOUR_NS,
}
"""What each key reads; ``model`` is the one served, where the provider named it. Days and hours are UTC."""

CHRONOLOGICAL = frozenset({"day", "hour"})

_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "day": when.day,
    "hour": when.hour,
    "stream": lambda value: "true" if value else "false",
}


def went_upstream(rows: FromClause) -> ColumnElement[bool]:
    """Hits and coalesced callers have rows of their own, whose tokens were bought once, by another row."""
    return rows.c.cache.in_(("miss", "bypass"))


class UnknownKeyError(ValueError):
    """The text names the key, the nearest right one and all the others."""


def check_keys(keys: Sequence[str]) -> None:
    """Raises ``UnknownKeyError``; a key named twice is an error too."""
    for position, key in enumerate(keys):
        if key not in GROUP_KEYS:
            near = difflib.get_close_matches(key, GROUP_KEYS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UnknownKeyError(f"cannot group by {key!r}: {hint}The keys are {', '.join(GROUP_KEYS)}")
        if key in keys[:position]:
            raise UnknownKeyError(f"cannot group by {key!r} twice")


def group_of(keys: Sequence[str], values: Sequence[object]) -> Group:
    """The group that a result row belongs to, from its first columns."""
    return {
        key: None if value is None else _TEXTS.get(key, str)(value) for key, value in zip(keys, values, strict=False)
    }


def within(since_ns: int | None, until_ns: int | None, rows: FromClause = calls) -> list[ColumnElement[bool]]:
    """Calls begun in [since, until); ``None`` is no limit."""
    started_at_ns = rows.c.started_at_ns
    conditions: list[ColumnElement[bool]] = []
    if since_ns is not None:
        conditions.append(started_at_ns >= since_ns)
    if until_ns is not None:
        conditions.append(started_at_ns < until_ns)
    return conditions
