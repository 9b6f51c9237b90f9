"""Calls whose end nobody saw get what the invoice leaves for them, as a version; their rows stay as they are."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.invoices import BOOK, COST, DAY, LOST_HIGH, ORIGINS, SCOPE, Bill, call, cost_result, lost_call
from submeter.reconcile.explain import Report, reconcile
from submeter.reconcile.read import read_invoice
from submeter.reconcile.settle import settled_costs, spread
from submeter.store.ledger import Ledger
from submeter.store.versions import add_version, select_version, stored_rows


def run(ledger: Ledger, bill: Bill) -> Report:
    return reconcile(read_invoice(bill.pages()), ledger, SCOPE, BOOK, ORIGINS)


def settle(ledger: Ledger, bill: Bill) -> int:
    costs = settled_costs(ledger, run(ledger, bill))
    add_version(ledger, "reconcile", "invoice", None, None, None, costs, select=True)
    return len(costs)


def test_one_lost_call_gets_the_remainder_exactly(ledger: Ledger) -> None:
    seen, lost = call(1, "cut"), lost_call(2, "cut")
    ledger.ship([seen, lost], {})
    bill = Bill([seen])
    bill.costs[DAY].append(cost_result("cut, output", Decimal(1_234_567)))
    (before,) = run(ledger, bill).differences
    assert before.group.kind == "within_bounds"
    assert settle(ledger, bill) == 1
    report = run(ledger, bill)
    assert report.differences == []
    assert report.total.confirmed_nano_usd == COST + 1_234_567 == report.amount_nano_usd
    (cost,) = (row for row in stored_rows(ledger) if row.call_id == lost.call_id)
    assert (cost.cost_state, cost.cost_nano_usd, cost.price_rule) == ("exact", 1_234_567, "invoice")
    assert list(stored_rows(ledger, version="original")) == [seen, lost]
    select_version(ledger, None)
    assert [finding.group.kind for finding in run(ledger, bill).differences] == ["within_bounds"]


def test_two_lost_calls_share_it_within_what_each_can_have_cost(ledger: Ledger) -> None:
    lost = [lost_call(1, "cut"), lost_call(2, "cut", bytes_in=1000)]
    highs = [LOST_HIGH, LOST_HIGH - 1000 * 2500]
    ledger.ship(lost, {})
    bill = Bill([])
    total = sum(highs) // 2
    bill.costs[DAY].append(cost_result("cut, output", Decimal(total)))
    assert settle(ledger, bill) == 2
    assert run(ledger, bill).differences == []
    settled = list(stored_rows(ledger))
    assert [row.cost_nano_usd for row in settled] == [high // 2 for high in highs]
    assert [row.cost_state for row in settled] == ["estimated", "estimated"]
    bounds = [(row.cost_low_nano_usd, row.cost_high_nano_usd) for row in settled]
    assert bounds == [(total - highs[1], min(total, highs[0])), (0, highs[1])]


def test_a_lost_call_that_is_not_on_the_invoice_cost_nothing(ledger: Ledger) -> None:
    ledger.ship([call(1, "plain"), lost_call(2, "cut")], {})
    bill = Bill([call(1, "plain")])
    assert settle(ledger, bill) == 1
    assert run(ledger, bill).differences == []
    assert [row.cost_nano_usd for row in stored_rows(ledger)] == [COST, 0]


@pytest.mark.parametrize("nano_usd", [LOST_HIGH * 2, None])
def test_what_does_not_fit_or_is_not_alone_is_left(ledger: Ledger, nano_usd: int | None) -> None:
    rows = [call(1, "cut"), lost_call(2, "cut", unbounded=nano_usd is None)]
    ledger.ship(rows, {})
    bill = Bill(rows[:1])
    bill.costs[DAY].append(cost_result("cut, output", Decimal(1000 if nano_usd is None else nano_usd)))
    assert settled_costs(ledger, run(ledger, bill)) == []


def test_a_group_with_an_unpriced_call_is_left(ledger: Ledger) -> None:
    rows = [call(1, "nameless"), lost_call(2, "nameless")]
    ledger.ship(rows, {})
    assert settled_costs(ledger, run(ledger, Bill(rows[:1]))) == []


BOUNDS = st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=20)


@given(pairs=BOUNDS, data=st.data())
def test_shares_are_whole_sum_up_and_stay_within(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    bounds = [(min(pair), max(pair)) for pair in pairs]
    total = data.draw(st.integers(sum(low for low, _ in bounds), sum(high for _, high in bounds)))
    shares = spread(total, bounds)
    assert sum(shares) == total
    assert all(low <= share <= high for share, (low, high) in zip(shares, bounds, strict=True))


def test_half_of_the_uncertainty_is_the_middle_of_each() -> None:
    assert spread(15 + 100, [(10, 20), (0, 200)]) == [15, 100]
