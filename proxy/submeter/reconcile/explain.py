"""The flow: an invoice and a ledger → a ``Report``. Start here."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import msgspec

from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CallRow
from submeter.reconcile.causes import Case, Cause, likely_cause
from submeter.reconcile.ledger import Place, Scope, Side, rows_of, sides
from submeter.reconcile.lines import Invoice, InvoiceLine
from submeter.reconcile.match import Group, compare, judge
from submeter.reconcile.pricing import OtherPrice, other_prices
from submeter.store.ledger import Ledger

DRIFTS = ("price_drift", "amount_drift")


class Finding(msgspec.Struct, frozen=True):
    group: Group
    cause: Cause | None
    """``None`` where both sides agree exactly."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    invoice: Invoice
    scope: Scope
    findings: list[Finding]
    """One per day, model and key, the matched ones too."""
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.group.kind != "matched"]

    @property
    def total(self) -> Side:
        return sum((finding.group.side for finding in self.findings), Side())

    @property
    def amount_nano_usd(self) -> int | None:
        amounts = [amount for finding in self.findings if (amount := finding.group.amount_nano_usd) is not None]
        return sum(amounts) if amounts else None

    @property
    def lines(self) -> tuple[int, int]:
        """(matched, all) lines of the invoice."""
        counts = [(len(finding.group.lines), finding.group.kind == "matched") for finding in self.findings]
        return sum(number for number, matched in counts if matched), sum(number for number, _ in counts)


def reconcile(
    invoice: Invoice,
    ledger: Ledger,
    scope: Scope,
    book: PriceBook,
    origins: Mapping[str, Origin],
    tolerance_nano_usd: int = 0,
) -> Report:
    """Compare and explain. Raises ``LedgerUnavailable``."""
    ours = _with_fees_apart(invoice, ledger, scope, sides(ledger, scope))
    groups = compare(invoice, ours, scope, tolerance_nano_usd)
    prices = _explained_by_price(groups, ledger, scope, book, origins)
    unmetered = _unmetered_by_day(ours)
    cases = (
        Case(
            group=group,
            shifted_to=_shifted_to(group, groups),
            repeated=_repeated(invoice, group, tolerance_nano_usd),
            other_price=prices.get(group.place),
            unmetered_calls=unmetered.get(group.place.day, 0),
            provider=invoice.provider,
            row_word=invoice.row_word,
        )
        for group in groups
    )
    findings = [Finding(case.group, likely_cause(case)) for case in cases]
    return Report(invoice=invoice, scope=scope, findings=findings)


def _with_fees_apart(invoice: Invoice, ledger: Ledger, scope: Scope, ours: dict[Place, Side]) -> dict[Place, Side]:
    """Providers bill web searches on a line of their own; the ledger has them in the cost of the call."""
    items = {line.day: line.item for line in invoice.lines if _is_search(line) and scope.covers(line.day)}
    if not items or not scope.by_model:
        return ours
    moved = dict(ours)
    for place, row in rows_of(ledger, scope, items):
        fee = row.fees_nano_usd if row.web_searches and row.cost_state == "exact" else None
        if fee:
            fees = scope.place(place.day, items[place.day], row.key_id)
            moved[place] += Side(confirmed_nano_usd=-fee)
            moved[fees] = moved.get(fees, Side()) + Side(confirmed_nano_usd=fee)
    return moved


def _is_search(line: InvoiceLine) -> bool:
    return line.item is not None and "web search" in line.item.lower().replace("_", " ")


def _explained_by_price(
    groups: Sequence[Group], ledger: Ledger, scope: Scope, book: PriceBook, origins: Mapping[str, Origin]
) -> dict[Place, OtherPrice]:
    """Read only for the days and models whose money differs and whose tokens do not."""
    wanted = {group.place: group for group in groups if group.kind in DRIFTS and not group.side.is_uncertain}
    found = {}
    for place, rows in rows_by_place(ledger, scope, wanted).items():
        group = wanted[place]
        for price in other_prices(rows, book, origins):
            assert group.amount_nano_usd is not None, "its money differs"
            if abs(price.nano_usd - group.amount_nano_usd) <= group.slack_nano_usd:
                found[place] = price
                break
    return found


def rows_by_place(ledger: Ledger, scope: Scope, places: Iterable[Place]) -> dict[Place, list[CallRow]]:
    """The calls of some groups."""
    rows: dict[Place, list[CallRow]] = {place: [] for place in places}
    for place, row in rows_of(ledger, scope, {place.day for place in rows}):
        if place in rows:
            rows[place].append(row)
    return rows


def _unmetered_by_day(ours: Mapping[Place, Side]) -> dict[int, int]:
    days = groupby(sorted(ours, key=lambda place: place.day), key=lambda place: place.day)
    return {day: sum(ours[place].unmetered_calls for place in places) for day, places in days}


def _repeated(invoice: Invoice, group: Group, tolerance_nano_usd: int) -> tuple[int, ...]:
    if group.kind == "matched":
        return ()
    seen: set[InvoiceLine] = set()
    first: list[InvoiceLine] = []
    again: list[InvoiceLine] = []
    for line in group.lines:
        content = msgspec.structs.replace(line, row=0)
        (again if content in seen else first).append(line)
        seen.add(content)
    if not again or judge(invoice, group.place, tuple(first), group.side, tolerance_nano_usd).kind != "matched":
        return ()
    return tuple(line.row for line in again)


def _shifted_to(group: Group, groups: Iterable[Group]) -> int | None:
    """A neighbouring day of the same model whose difference takes this one away."""
    if group.kind in ("matched", "within_bounds"):
        return None
    for other in groups:
        near = abs(other.place.day - group.place.day) == 1 and other.place[1:] == group.place[1:]
        if near and _cancel(group, other):
            return other.place.day
    return None


def _cancel(one: Group, other: Group) -> bool:
    pairs = [
        (first, second)
        for first, second in zip(
            msgspec.structs.astuple(one.usage_difference), msgspec.structs.astuple(other.usage_difference), strict=True
        )
        if first is not None and second is not None
    ]
    slack = one.slack_nano_usd + other.slack_nano_usd
    money = (one.difference_nano_usd, other.difference_nano_usd)
    if money[0] is not None and money[1] is not None:
        if abs(money[0]) <= one.slack_nano_usd or abs(money[0] + money[1]) > slack:
            return False
    elif not any(first for first, _ in pairs):
        return False
    return all(first + second == 0 for first, second in pairs)
