"""Cost and latency over time, for charts: one point per bucket that has calls."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, FromClause, Label, Select, func, select

from submeter.core.latency import Percentiles, percentiles
from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import went_upstream, within
from submeter.store.queries.latency import durations
from submeter.store.queries.priced import priced_calls


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket: the calls begun in [start, start + bucket). Buckets without calls have no point."""

    start_ns: int
    calls: int
    hits: int
    cost_nano_usd: int
    """Confirmed and estimated."""
    saved_nano_usd: int
    ttft: Percentiles | None
    """Of the calls that went upstream and ended well, as is ``e2e``."""
    e2e: Percentiles | None


def series(ledger: Ledger, since_ns: int, bucket_ns: int, until_ns: int | None = None) -> list[SeriesPoint]:
    """Points in order of time; buckets start at whole multiples of ``bucket_ns`` since 1970."""
    if bucket_ns <= 0:
        raise ValueError("bucket_ns must be positive")

    def bucket(rows: FromClause) -> ColumnElement[Any]:
        return rows.c.started_at_ns // bucket_ns

    with ledger.reading() as connection:
        priced = priced_calls(connection)
        rows = connection.execute(_sums(priced, bucket(priced), since_ns, until_ns)).all()
        measured = durations(connection, [bucket], since_ns, until_ns)
    points = []
    for number, rows_in, hits, cost, saved in rows:
        found = measured.get((number,))
        points.append(
            SeriesPoint(
                start_ns=number * bucket_ns,
                calls=rows_in,
                hits=hits,
                cost_nano_usd=_sum(cost),
                saved_nano_usd=_sum(saved),
                ttft=None if found is None else percentiles(found.ttft),
                e2e=None if found is None else percentiles(found.e2e),
            )
        )
    return points


def _sums(rows: FromClause, bucket: ColumnElement[Any], since_ns: int, until_ns: int | None) -> Select[Any]:
    bought = went_upstream(rows)
    charged = rows.c.cost_state.in_(("exact", "estimated"))
    return (
        select(
            Label("bucket", bucket),
            func.count(),
            func.count().filter(~bought),
            func.sum(rows.c.cost_nano_usd).filter(bought, charged),
            func.sum(rows.c.saved_nano_usd).filter(~bought),
        )
        .where(*within(since_ns, until_ns, rows))
        .group_by("bucket")
        .order_by("bucket")
    )


def _sum(value: int | None) -> int:
    """A sum over no row is NULL in SQL and 0 here; Postgres sums into a decimal."""
    return 0 if value is None else int(value)
