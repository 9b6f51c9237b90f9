"""A row → what it was made of → the same row at other prices. Its tokens, times and outcome stay as they are.

A row holds all that its money was made of: settling what it holds gives the row again, to the nano-dollar.
"""

from collections.abc import Mapping

import msgspec

from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CallRow, Counted, Finish, Start, TokenClasses
from submeter.core.settle import settle

MONEY_FIELDS = (
    "cost_nano_usd",
    "cost_state",
    "cost_low_nano_usd",
    "cost_high_nano_usd",
    "costs",
    "fees_nano_usd",
    "saved_nano_usd",
    "price_snapshot",
    "price_model",
    "price_rule",
)
"""What prices decide of a row; nothing else of it changes."""


def resettle(row: CallRow, book: PriceBook, origins: Mapping[str, Origin]) -> CallRow:
    """The row with its money as ``book`` has it for the moment at which the call began."""
    if row.cost_state == "unmetered":
        return row
    settled = settle(_start(row), _finish(row), book, origins)
    return msgspec.structs.replace(row, **{name: getattr(settled, name) for name in MONEY_FIELDS})


def _start(row: CallRow) -> Start:
    return Start(
        call_id=row.call_id,
        attempt=row.attempt,
        operation_id=row.operation_id,
        endpoint=row.endpoint,
        upstream=row.upstream,
        started_at_ns=row.started_at_ns,
        model_requested=row.model_requested,
        n=row.n,
        max_output_tokens=row.max_output_tokens,
        tools=row.tools,
        service_tier=row.service_tier_requested,
        bytes_in=row.bytes_in,
        refers_elsewhere=row.refers_elsewhere,
        cache=row.cache,
    )


def _finish(row: CallRow) -> Finish:
    reported = row.usage_source == "provider"
    return Finish(
        call_id=row.call_id,
        attempt=row.attempt,
        outcome=row.outcome,
        status=row.status,
        cache=row.cache,
        model_served=row.model_served,
        service_tier=row.service_tier,
        usage=row.tokens if reported else None,
        seen=None if reported else _seen(row),
        output_bytes=row.output_bytes,
        refused=row.refused,
        ttfb_ns=row.ttfb_ns,
        counted=None if reported else _counted(row),
        web_searches=row.web_searches,
        region=row.region,
    )


def _seen(row: CallRow) -> TokenClasses | None:
    """What the provider had said when the answer broke off."""
    if not row.input_reported and row.output_tokens_low is None:
        return None
    output = 0 if row.output_tokens_low is None else row.output_tokens_low
    if not row.input_reported or row.tokens is None:
        return TokenClasses(output_text=output)
    nothing = {"reasoning": 0, "output_audio": 0, "output_image": 0}
    return msgspec.structs.replace(row.tokens, output_text=output, **nothing)


def _counted(row: CallRow) -> Counted | None:
    if row.tokenizer is None or row.tokens is None:
        return None
    asked = None if row.input_reported else row.tokens.input_total
    return Counted(row.tokenizer, row.usage_source == "counted", asked, row.tokens.output_total)
