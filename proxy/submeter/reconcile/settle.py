"""The remainder of an invoice, spread over the calls whose end nobody saw: a new version, never a changed row.

Only where everything else of the day and model is certain, and the remainder lies within their bounds together.
Each gets its share of the width: at half of all that is uncertain, each has the middle of its bounds.
"""

from collections.abc import Iterator, Sequence

import msgspec

from submeter.core.record import CallRow
from submeter.reconcile.explain import Report, rows_by_place
from submeter.reconcile.match import Group
from submeter.store.ledger import Ledger
from submeter.store.versions import NewCost

RULE = "invoice"
"""The price rule of a cost that was read off an invoice."""


def settled_costs(ledger: Ledger, report: Report) -> list[NewCost]:
    """New costs of the calls that this invoice settles; empty where it settles none. Raises ``LedgerUnavailable``."""
    groups = {finding.group.place: finding.group for finding in report.differences if _is_settleable(finding.group)}
    rows = rows_by_place(ledger, report.scope, groups)
    return [cost for place, group in groups.items() for cost in _settle(group, rows[place])]


def _is_settleable(group: Group) -> bool:
    closed = not group.side.unbounded_calls and not group.side.unpriced_calls
    return group.kind == "within_bounds" and group.amount_nano_usd is not None and closed


def _settle(group: Group, rows: Sequence[CallRow]) -> Iterator[NewCost]:
    open_rows = [row for row in rows if _is_open(row)]
    settled = sum(row.cost_nano_usd for row in rows if not _is_open(row) and row.cost_nano_usd is not None)
    bounds = [_bounds(row) for row in open_rows]
    assert group.amount_nano_usd is not None, "a group without an amount is in no bounds"
    low, high = sum(low for low, _ in bounds), sum(high for _, high in bounds)
    # The invoice may be a rounding outside of the bounds; a call never is.
    remainder = min(max(group.amount_nano_usd - settled, low), high)
    shares = spread(remainder, bounds)
    for row, share, (least, most) in zip(open_rows, shares, bounds, strict=True):
        others_low, others_high = low - least, high - most
        yield _new_cost(row, share, max(least, remainder - others_high), min(most, remainder - others_low))


def _is_open(row: CallRow) -> bool:
    if row.cost_state not in ("estimated", "indeterminate"):
        return False
    low, high = _bounds(row)
    return low < high or row.cost_state == "indeterminate"


def _bounds(row: CallRow) -> tuple[int, int]:
    assert row.cost_low_nano_usd is not None, "estimated and indeterminate calls have bounds"
    assert row.cost_high_nano_usd is not None, "a group with a call without a bound is not settled"
    return row.cost_low_nano_usd, row.cost_high_nano_usd


def spread(total: int, bounds: Sequence[tuple[int, int]]) -> list[int]:
    """Integers that sum to ``total``, each within its (low, high): low plus its share of the width (largest remainder).

    ``total`` lies within the sums of the lows and of the highs.
    """
    widths = [high - low for low, high in bounds]
    width, spare = sum(widths), total - sum(low for low, _ in bounds)
    if not width:
        return [low for low, _ in bounds]
    quotas = [divmod(spare * each, width) for each in widths]
    left = spare - sum(whole for whole, _ in quotas)
    largest = sorted(range(len(bounds)), key=lambda place: -quotas[place][1])[:left]
    return [low + quotas[place][0] + (place in largest) for place, (low, _) in enumerate(bounds)]


def _new_cost(row: CallRow, share: int, low: int, high: int) -> NewCost:
    """Its classes are not known: the invoice has one figure for all."""
    return msgspec.structs.replace(
        NewCost.of(row),
        cost_nano_usd=share,
        cost_state="exact" if low == high else "estimated",
        cost_low_nano_usd=low,
        cost_high_nano_usd=high,
        costs=None,
        price_rule=RULE,
    )
