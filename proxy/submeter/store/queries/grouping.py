"""The keys that sums and percentiles can be grouped by, and the rows that they count."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func

from submeter.core import when
from submeter.store.schema import calls

Group = dict[str, str | None]
"""Key → value; ``None`` where the calls have none."""

MODEL: ColumnElement[Any] = func.coalesce(calls.c.model_served, calls.c.model_requested)

GROUP_KEYS: Mapping[str, ColumnElement[Any]] = {
    "model": MODEL,
    **{
        name: calls.c[name]
        for name in (
            *("team", "app", "user", "key_id", "class", "session", "prompt", "prompt_version"),
            *("endpoint", "upstream", "model_requested", "service_tier", "stream"),
            *("cache", "outcome", "finish_reason", "status", "cost_state", "usage_source", "price_snapshot"),
        )
    },
    "day": calls.c.started_at_ns // when.DAY_NS,
    "hour": calls.c.started_at_ns // when.HOUR_NS,
}
"""What each key reads; ``model`` is the one served, where the provider named it. Days and hours are UTC."""

CHRONOLOGICAL = frozenset({"day", "hour"})

_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "day": when.day,
    "hour": when.hour,
    "stream": lambda value: "true" if value else "false",
}

WENT_UPSTREAM: ColumnElement[bool] = calls.c.cache.in_(("miss", "bypass"))
"""Hits and coalesced callers have rows of their own, whose tokens were bought once, by another row."""


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


def within(since_ns: int | None, until_ns: int | None) -> list[ColumnElement[bool]]:
    """Calls begun in [since, until); ``None`` is no limit."""
    started_at_ns = calls.c.started_at_ns
    conditions: list[ColumnElement[bool]] = []
    if since_ns is not None:
        conditions.append(started_at_ns >= since_ns)
    if until_ns is not None:
        conditions.append(started_at_ns < until_ns)
    return conditions
