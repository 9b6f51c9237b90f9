"""Calls as people and programs read them: one flat dict each, keys in the order of ``submeter calls --json``."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import FromClause, Select, asc, desc, select

from submeter.core import when
from submeter.core.record import TOKEN_CLASSES
from submeter.store import schema
from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import within
from submeter.store.queries.priced import priced_calls

ROWS_PER_FETCH = 1000

_COLUMNS: tuple[str, ...] = (
    *("call_id", "attempt", "operation_id", "session", "trace_id", "upstream_request_id"),
    *("key_id", "team", "app", "user", "prompt", "prompt_version", "class", "endpoint", "upstream"),
    *("model_requested", "model_served", "stream", "temperature", "service_tier"),
    *("started_at_ns", "ttfb_ns", "ttft_ns", "first_content_ns", "e2e_ns", "max_gap_ns", "overhead_ns"),
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("usage_source", "cost_nano_usd", "cost_state", "cost_low_nano_usd", "cost_high_nano_usd"),
    *("saved_nano_usd", "price_snapshot", "outcome", "status", "finish_reason", "cache"),
    *("bytes_in", "bytes_out"),
    # The contract ends here; what follows may grow.
    *("n", "max_output_tokens", "tools", "usage_problem", "price_model", "provider_cost"),
    *("unbounded", "clock_jumped", "tokens_after_disconnect"),
    *("service_tier_requested", "tokenizer", "input_reported", "output_tokens_low", "output_bytes"),
    *("refers_elsewhere", "refused", "web_searches", "fees_nano_usd", "price_rule", "region"),
)
_AT_START = _COLUMNS.index("started_at_ns")

CALL_KEYS: tuple[str, ...] = (*_COLUMNS[:_AT_START], "started_at", *_COLUMNS[_AT_START + 1 :])
"""The keys of a call in JSON, in order."""


def calls(
    ledger: Ledger, last: int | None = None, since_ns: int | None = None, until_ns: int | None = None
) -> Iterator[dict[str, Any]]:
    """Calls begun at or after ``since_ns`` and before ``until_ns``, oldest first; only the newest ``last``, if given.

    Rows are fetched as they are consumed, from one moment's view of the ledger.
    """
    with ledger.reading() as connection:
        wanted = _select(priced_calls(connection), last, since_ns, until_ns)
        with connection.execution_options(yield_per=ROWS_PER_FETCH).execute(wanted) as found:
            for row in found:
                yield _as_json(row)


def _select(rows: FromClause, last: int | None, since_ns: int | None, until_ns: int | None) -> Select[Any]:
    order = ("started_at_ns", "call_id", "attempt")
    wanted = select(*(rows.c[name] for name in _COLUMNS)).where(*within(since_ns, until_ns, rows))
    if last is None:
        return wanted.order_by(*(asc(rows.c[name]) for name in order))
    newest = wanted.order_by(*(desc(rows.c[name]) for name in order)).limit(last).subquery()
    return select(newest).order_by(*(asc(newest.c[name]) for name in order))


def _as_json(row: Sequence[Any]) -> dict[str, Any]:
    values = list(row)
    values[_AT_START] = when.rfc3339(values[_AT_START])
    return dict(zip(CALL_KEYS, values, strict=True))


def call(ledger: Ledger, call_id: str) -> list[dict[str, Any]]:
    """All attempts of one call, in order, empty if it is unknown: the keys of ``calls``, then two more.

    ``tokens`` and ``costs_nano_usd`` are dicts by token class, or ``None`` where there is no usage or no price.
    """
    columns = (*_COLUMNS, *schema.TOKEN_COLUMNS, *schema.MONEY_COLUMNS)
    with ledger.reading() as connection:
        rows = priced_calls(connection)
        wanted = select(*(rows.c[name] for name in columns)).where(rows.c.call_id == call_id).order_by(rows.c.attempt)
        return [_in_full(row) for row in connection.execute(wanted)]


def _in_full(row: Sequence[Any]) -> dict[str, Any]:
    width, parts = len(_COLUMNS), len(TOKEN_CLASSES)
    return {
        **_as_json(row[:width]),
        "tokens": _by_class(row[width : width + parts]),
        "costs_nano_usd": _by_class(row[width + parts :]),
    }


def _by_class(values: Sequence[int | None]) -> dict[str, int | None] | None:
    return None if values[0] is None else dict(zip(TOKEN_CLASSES, values, strict=True))
