"""The JSON documents of the API: the shapes of ``submeter cost|latency|calls --json``, and a series for charts."""

from collections.abc import Sequence
from typing import Any

from submeter.core import when
from submeter.store import queries
from submeter.store.ledger import Ledger
from submeter.store.queries import CostLine, LatencyLine, SeriesPoint
from submeter.store.versions import selected_id

Document = dict[str, Any]

SUMS = tuple(name for name in CostLine.__struct_fields__ if name != "group")
FIGURES = ("n", "ttft", "tpot", "e2e", "overhead")

BUCKETS_S = (1, 5, 15, 60, 300, 900, 3600, 7200, 14_400, 28_800, 86_400, 604_800)
MAX_POINTS = 2000
WANTED_POINTS = 100


def _head(since_ns: int | None) -> Document:
    return {"since": None if since_ns is None else when.rfc3339(since_ns), "until": None}


def summary(ledger: Ledger, since_ns: int | None) -> Document:
    return {**_head(since_ns), "total": _sums(queries.summary(ledger, since_ns))}


def cost(ledger: Ledger, keys: Sequence[str], since_ns: int | None) -> Document:
    lines = queries.cost_by(ledger, keys, since_ns)
    total = queries.summary(ledger, since_ns)
    sums = [_sums(line) for line in lines]
    return {**_head(since_ns), "by": keys, "version": selected_id(ledger), "lines": sums, "total": _sums(total)}


def _sums(line: CostLine) -> Document:
    return {**line.group, **{name: getattr(line, name) for name in SUMS}}


def latency(ledger: Ledger, keys: Sequence[str], since_ns: int | None) -> Document:
    lines = queries.latency_by(ledger, keys, since_ns)
    return {**_head(since_ns), "by": keys, "lines": [_percentiles(line) for line in lines]}


def _percentiles(line: LatencyLine) -> Document:
    return {**line.group, **{name: getattr(line, name) for name in FIGURES}}


def series(ledger: Ledger, since_ns: int, until_ns: int, bucket_s: int) -> Document:
    points = queries.series(ledger, since_ns, bucket_s * when.NS_PER_S, until_ns)
    return {
        "since": when.rfc3339(since_ns),
        "until": when.rfc3339(until_ns),
        "bucket_s": bucket_s,
        "points": [_point(point) for point in points],
    }


def _point(point: SeriesPoint) -> Document:
    return {
        "start": when.rfc3339(point.start_ns),
        "calls": point.calls,
        "hits": point.hits,
        "cost_nano_usd": point.cost_nano_usd,
        "saved_nano_usd": point.saved_nano_usd,
        "ttft": point.ttft,
        "e2e": point.e2e,
    }


def bucket_for(since_ns: int, until_ns: int, most_points: int = WANTED_POINTS) -> int:
    """Seconds per point of a chart, so that it has at most so many, give or take one; a clock's own divisions."""
    wanted_s = (until_ns - since_ns) / when.NS_PER_S / most_points
    return next((bucket_s for bucket_s in BUCKETS_S if bucket_s >= wanted_s), BUCKETS_S[-1])
