"""Exact percentiles of TTFT, TPOT, end to end and overhead by any grouping.

Read row by row and ranked here: SQLite has no percentile, and a window function per figure sorts the table four times.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from submeter.core.latency import Percentiles, percentiles, tpot_ns
from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import (
    CHRONOLOGICAL,
    GROUP_KEYS,
    Group,
    Key,
    check_keys,
    group_of,
    went_upstream,
    within,
)
from submeter.store.queries.priced import priced_calls

ROWS_PER_FETCH = 1000

_FIGURES = ("stream", "output_tokens", "ttft_ns", "e2e_ns", "overhead_ns")


class LatencyLine(msgspec.Struct, frozen=True, kw_only=True):
    """One group's ``n`` calls that went upstream and ended well; a figure is ``None`` where no call has it."""

    group: Group
    n: int
    ttft: Percentiles | None
    tpot: Percentiles | None
    e2e: Percentiles | None
    overhead: Percentiles | None


class Durations:
    """One group's figures while they are read: eight bytes each."""

    def __init__(self) -> None:
        self.n = 0
        self.ttft = array("q")
        self.tpot = array("q")
        self.e2e = array("q")
        self.overhead = array("q")

    def add(
        self,
        stream: bool,
        output_tokens: int | None,
        ttft_ns: int | None,
        e2e_ns: int | None,
        overhead_ns: int | None,
    ) -> None:
        self.n += 1
        if ttft_ns is not None:
            self.ttft.append(ttft_ns)
        if overhead_ns is not None:
            self.overhead.append(overhead_ns)
        each = tpot_ns(e2e_ns, ttft_ns, output_tokens, stream=stream)
        if each is not None:
            self.tpot.append(each)
        if e2e_ns is not None:
            self.e2e.append(e2e_ns)

    def line(self, group: Group) -> LatencyLine:
        return LatencyLine(
            group=group,
            n=self.n,
            ttft=percentiles(self.ttft),
            tpot=percentiles(self.tpot),
            e2e=percentiles(self.e2e),
            overhead=percentiles(self.overhead),
        )


def latency_by(
    ledger: Ledger,
    keys: Sequence[str],
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> list[LatencyLine]:
    """One line per group of the calls begun in [since, until) with outcome ``ok``; hits are left out.

    Days and hours come in order of time, everything else the busiest first. Raises ``UnknownKeyError``.
    """
    check_keys(keys)
    with ledger.reading() as connection:
        groups = durations(connection, [GROUP_KEYS[key] for key in keys], since_ns, until_ns)
    lines = (found.line(group_of(keys, values)) for values, found in groups.items())
    return sorted(lines, key=_order)


def _order(line: LatencyLine) -> tuple[list[str], int, list[str]]:
    group = {key: value or "" for key, value in line.group.items()}
    return [value for key, value in group.items() if key in CHRONOLOGICAL], -line.n, list(group.values())


def durations(
    connection: Connection,
    by: Sequence[Key],
    since_ns: int | None,
    until_ns: int | None,
) -> dict[tuple[Any, ...], Durations]:
    """Every group's durations, by the values of the ``by`` keys."""
    groups: dict[tuple[Any, ...], Durations] = {}
    for values, figures in _read(connection, by, since_ns, until_ns):
        found = groups.get(values)
        if found is None:
            found = groups[values] = Durations()
        found.add(*figures)
    return groups


def _read(
    connection: Connection,
    by: Sequence[Key],
    since_ns: int | None,
    until_ns: int | None,
) -> Iterator[tuple[tuple[Any, ...], Sequence[Any]]]:
    # Priced, although no figure is money: calls may be grouped by the state of their cost.
    rows = priced_calls(connection)
    wanted = select(*(key(rows) for key in by), *(rows.c[name] for name in _FIGURES)).where(
        went_upstream(rows), rows.c.outcome == "ok", *within(since_ns, until_ns, rows)
    )
    with connection.execution_options(yield_per=ROWS_PER_FETCH).execute(wanted) as found:
        for row in found:
            yield tuple(row[: len(by)]), row[len(by) :]
