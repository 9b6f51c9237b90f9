"""Other prices for the same tokens: which of them gives the invoice, to the nano-dollar?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from submeter.core import when
from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CallRow
from submeter.core.resettle import resettle

Change = Callable[[CallRow], CallRow]

TIERS = ("standard", "batch", "flex", "priority", "fast", "scale")
"""Service tiers that providers bill, by the price book's names."""


class OtherPrice(NamedTuple):
    code: str
    """What was changed; a code of ``causes``."""
    tier: str | None
    nano_usd: int


def other_prices(rows: Sequence[CallRow], book: PriceBook, origins: Mapping[str, Origin]) -> Iterator[OtherPrice]:
    """What the calls of a group would have cost otherwise, at each price that the book knows; the likeliest first."""
    for code, tier, change in _changes():
        total = _total(rows, change, book, origins)
        if total is not None:
            yield OtherPrice(code, tier, total)


def _changes() -> Iterator[tuple[str, str | None, Change]]:
    yield "current_price", None, lambda row: row
    yield "full_price_for_cached", None, _uncached
    for tier in TIERS:
        yield "tier", tier, _in_tier(tier)
    yield "price_of_the_day_before", None, _moved(-when.DAY_NS)
    yield "price_of_the_day_after", None, _moved(when.DAY_NS)


def _uncached(row: CallRow) -> CallRow:
    tokens = row.tokens
    if tokens is None:
        return row
    plain = tokens.input_uncached + tokens.cached_read
    return msgspec.structs.replace(row, tokens=msgspec.structs.replace(tokens, input_uncached=plain, cached_read=0))


def _in_tier(tier: str) -> Change:
    return lambda row: msgspec.structs.replace(row, service_tier=tier)


def _moved(by_ns: int) -> Change:
    return lambda row: msgspec.structs.replace(row, started_at_ns=row.started_at_ns + by_ns)


def _total(rows: Sequence[CallRow], change: Change, book: PriceBook, origins: Mapping[str, Origin]) -> int | None:
    """``None`` where the book does not price one of the calls that way."""
    total = 0
    for row in rows:
        if row.cost_state in ("exact", "unpriced"):
            cost = resettle(change(row), book, origins).cost_nano_usd
        else:
            cost = row.cost_nano_usd
        if cost is None:
            return None
        total += cost
    return total
