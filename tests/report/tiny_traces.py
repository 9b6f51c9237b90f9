"""Traces of a few written-out calls, for the tests of money."""

from collections.abc import Sequence

import msgspec

from submeter.core.record import TokenClasses
from submeter.core.week import Week
from submeter.report.trace import COLUMNS, Trace, gather
from submeter.store.schema import TOKEN_COLUMNS, part_values

WEEK = Week.parse("2026-W47")
HOUR_NS = 3600 * 10**9


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One call: what of a ledger row money depends on, under the ledger's names. ``at_h``: hours into the week."""

    tokens: TokenClasses | None = TokenClasses(input_uncached=1000, output_text=100)
    at_h: float = 0.0
    cost_nano_usd: int | None = None
    cost_low_nano_usd: int | None = None
    cost_high_nano_usd: int | None = None
    cost_state: str = "exact"
    web_searches: int | None = None
    cache: str = "miss"
    refused: bool = False
    unbounded: bool = False
    app: str | None = None
    model_served: str | None = "gpt-4o-mini"
    price_model: str | None = "gpt-4o-mini"
    upstream: str = "openai"
    service_tier: str | None = None
    region: str | None = None
    session: str | None = None
    e2e_ns: int | None = None


def trace_of(rows: Sequence[Row]) -> Trace:
    """As ``trace`` makes it of a ledger's rows."""
    ledger = [_columns(number, row) for number, row in enumerate(rows)]
    return gather([{name: [row.get(name) for row in ledger] for name in COLUMNS}])


def _columns(number: int, row: Row) -> dict[str, object]:
    tokens = row.tokens
    totals = (None,) * 3 if tokens is None else (tokens.input_total, tokens.cached_total, tokens.output_total)
    return {
        **msgspec.structs.asdict(row),
        "call_id": f"c{number}",
        "outcome": "ok",
        "started_at_ns": WEEK.start_ns + round(row.at_h * HOUR_NS),
        **dict(zip(("input_tokens", "cached_input_tokens", "output_tokens"), totals, strict=True)),
        **dict(zip(TOKEN_COLUMNS, part_values(tokens), strict=True)),
    }
