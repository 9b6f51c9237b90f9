"""Single calls in order of time, with what an analysis of latency reads of them."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select

from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import GROUP_KEYS, went_upstream, within
from submeter.store.schema import calls

ROWS_PER_FETCH = 1000

_COLUMNS = (
    *("call_id", "upstream_request_id", "upstream", "model_requested", "model_served", "stream", "started_at_ns"),
    *("ttfb_ns", "ttft_ns", "first_content_ns", "e2e_ns", "max_gap_ns"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "outcome", "status", "cache"),
)


def timed_calls(ledger: Ledger, since_ns: int, until_ns: int, model: str | None = None) -> Iterator[dict[str, Any]]:
    """The metered calls that went upstream, begun in [since, until), oldest first, failed ones too.

    ``model``: only those that it served. Rows are fetched as they are consumed.
    """
    wanted = (
        select(*(calls.c[name] for name in _COLUMNS))
        .where(went_upstream(calls), calls.c.cost_state != "unmetered", *within(since_ns, until_ns))
        .order_by(calls.c.started_at_ns, calls.c.call_id, calls.c.attempt)
    )
    if model is not None:
        wanted = wanted.where(GROUP_KEYS["model"](calls) == model)
    with (
        ledger.reading() as connection,
        connection.execution_options(yield_per=ROWS_PER_FETCH).execute(wanted) as found,
    ):
        for row in found:
            yield dict(zip(_COLUMNS, row, strict=True))


def newest_call_ns(ledger: Ledger, model: str | None = None) -> int | None:
    """When the newest call that went upstream and ended well began, Unix ns; ``None``: there is none."""
    wanted = select(func.max(calls.c.started_at_ns)).where(
        went_upstream(calls), calls.c.outcome == "ok", calls.c.cost_state != "unmetered"
    )
    if model is not None:
        wanted = wanted.where(GROUP_KEYS["model"](calls) == model)
    with ledger.reading() as connection:
        newest = connection.execute(wanted).scalar()
    return None if newest is None else int(newest)
