"""Both sides side by side: one ``Group`` per day, model and key, and what is wrong with it.

Only sums are compared. Money agrees when it differs by no more than rounding: half of the last place that the
invoice is written to, per line of it, and what our own rounding of each call can add up to.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil
from typing import Literal

import msgspec

from submeter.core.pricebook import ALIASES
from submeter.reconcile.ledger import Place, Scope, Side
from submeter.reconcile.lines import (
    USAGE_FIELDS,
    Invoice,
    InvoiceLine,
    Usage,
    total_nano_usd,
    total_requests,
    total_usage,
)

Kind = Literal[
    "matched",
    "missing_here",  # on the invoice, not in the ledger
    "missing_there",  # in the ledger, not on the invoice
    "token_drift",
    "price_drift",  # the same tokens, other money
    "amount_drift",  # other money, and the invoice has no tokens to compare
    "within_bounds",  # calls whose end nobody saw, and the invoice does not contradict them
]

ROUNDING_NANO_USD_PER_CALL = 2
"""Each class of a call is rounded once, by half a nano-dollar at most; few calls have more than four classes."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    place: Place
    lines: tuple[InvoiceLine, ...]
    side: Side
    kind: Kind
    amount_nano_usd: int | None
    """Of the invoice; 0 where it has amounts and none for this; ``None`` where it has no amounts."""
    usage: Usage
    requests: int | None
    slack_nano_usd: int
    difference_nano_usd: int | None
    """Invoice − ledger (confirmed and estimated)."""
    usage_difference: Usage
    """Invoice − ledger, where both are known."""

    @property
    def is_item(self) -> bool:
        """Something else than a model's tokens."""
        return any(line.model is None and line.item is not None for line in self.lines)


def family(model: str) -> str:
    """Without what ``ALIASES`` take off: the date, ``-latest``, the rest of a fine-tune's name."""
    for _, pattern in ALIASES:
        if found := pattern.fullmatch(model):
            return found[1]
    return model


def same_names(ours: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """Our model names → the invoice's, where one is the other with or without a date, and no second one could be."""
    invoiced = set(theirs)
    by_family: dict[str, set[str]] = defaultdict(set)
    for name in invoiced:
        by_family[family(name)].add(name)
    names = {}
    for name in set(ours) - invoiced:
        candidates = by_family[family(name)]
        if family(name) in candidates:
            names[name] = family(name)
        elif len(candidates) == 1:
            names[name] = next(iter(candidates))
    return names


def compare(invoice: Invoice, sides: Mapping[Place, Side], scope: Scope, tolerance_nano_usd: int = 0) -> list[Group]:
    """Every group in order of day and name; what cost nothing on either side is left out."""
    lines: dict[Place, list[InvoiceLine]] = defaultdict(list)
    for line in invoice.lines:
        if scope.covers(line.day):
            lines[scope.place(line.day, line.item if line.model is None else line.model, line.key)].append(line)
    groups = [
        judge(invoice, place, tuple(lines[place]), sides.get(place, Side()), tolerance_nano_usd)
        for place in {*lines, *sides}
    ]
    shown = (group for group in groups if group.lines or _may_be_billed(group.side))
    return sorted(shown, key=lambda group: tuple(map(str, group.place)))


def _may_be_billed(side: Side) -> bool:
    return bool(side.high_nano_usd or side.unpriced_calls or side.unbounded_calls)


def judge(
    invoice: Invoice, place: Place, lines: tuple[InvoiceLine, ...], side: Side, tolerance_nano_usd: int = 0
) -> Group:
    """What is wrong with one group; ``lines`` are those of it, ``invoice`` says what all have in common."""
    amount = total_nano_usd(lines)
    if amount is None and invoice.has_amounts:
        amount = 0
    usage = total_usage(lines)
    slack = rounding(invoice.unit_nano_usd, lines, side) + tolerance_nano_usd
    difference = None if amount is None else amount - side.cost_nano_usd
    drift = _usage_difference(usage, side)
    return Group(
        place=place,
        lines=lines,
        side=side,
        kind=_kind(lines, side, amount, drift, slack),
        amount_nano_usd=amount,
        usage=usage,
        requests=total_requests(lines),
        slack_nano_usd=slack,
        difference_nano_usd=difference,
        usage_difference=drift,
    )


def rounding(unit_nano_usd: Fraction, lines: Iterable[InvoiceLine], side: Side) -> int:
    """Nano-USD that two correct sums can differ by."""
    written = sum(line.amount_usd is not None for line in lines)
    return ceil(written * unit_nano_usd / 2) + ROUNDING_NANO_USD_PER_CALL * side.metered_calls


def _usage_difference(usage: Usage, side: Side) -> Usage:
    def difference(name: str) -> int | None:
        theirs: int | None = getattr(usage, name)
        return None if theirs is None or side.unreported_calls else theirs - getattr(side, name)

    return Usage(*map(difference, USAGE_FIELDS))


def _kind(lines: tuple[InvoiceLine, ...], side: Side, amount: int | None, drift: Usage, slack: int) -> Kind:
    drifts = any(msgspec.structs.astuple(drift))
    known = any(difference is not None for difference in msgspec.structs.astuple(drift))
    if amount is None and side.unreported_calls:
        return "within_bounds"
    if amount is not None and side.is_uncertain:
        return _uncertain(lines, side, amount, slack)
    same_money = amount is None or abs(amount - side.cost_nano_usd) <= slack
    priced = amount is None or not side.unpriced_calls
    if same_money and not drifts and priced:
        return "matched"
    if not side.metered_calls and not side.cost_nano_usd:
        return "missing_here"
    if not lines:
        return "missing_there"
    if drifts:
        return "token_drift"
    return "price_drift" if known else "amount_drift"


def _uncertain(lines: tuple[InvoiceLine, ...], side: Side, amount: int, slack: int) -> Kind:
    if abs(amount - side.cost_nano_usd) <= slack and not side.indeterminate_calls:
        return "matched"
    fits = amount <= side.high_nano_usd + slack or side.unbounded_calls > 0
    if side.low_nano_usd - slack <= amount and fits:
        return "within_bounds"
    return "amount_drift" if lines else "missing_there"
