"""Cost and latency over time, for charts: one point per bucket that has calls."""

import msgspec
from sqlalchemy import Label, func, select

from submeter.core.latency import Percentiles, percentiles
from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import WENT_UPSTREAM, within
from submeter.store.queries.latency import durations
from submeter.store.schema import calls


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
    bucket = calls.c.started_at_ns // bucket_ns
    charged = calls.c.cost_state.in_(("exact", "estimated"))
    sums = (
        select(
            Label("bucket", bucket),
            func.count(),
            func.count().filter(~WENT_UPSTREAM),
            func.sum(calls.c.cost_nano_usd).filter(WENT_UPSTREAM, charged),
            func.sum(calls.c.saved_nano_usd).filter(~WENT_UPSTREAM),
        )
        .where(*within(since_ns, until_ns))
        .group_by("bucket")
        .order_by("bucket")
    )
    with ledger.reading() as connection:
        rows = connection.execute(sums).all()
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


def _sum(value: int | None) -> int:
    """A sum over no row is NULL in SQL and 0 here; Postgres sums into a decimal."""
    return 0 if value is None else int(value)
