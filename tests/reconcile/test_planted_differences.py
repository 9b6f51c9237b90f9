"""One doctored invoice of a real ledger: each planted difference is found, in its place, with its cause."""

import random
from decimal import Decimal
from pathlib import Path

import pytest

from reconcile.invoices import BOOK, COST, DAY, LOST_HIGH, NO_USAGE, ORIGINS, SCOPE, Bill, call, cost_result, lost_call
from submeter.core import when
from submeter.core.pricebook import Bracket, PriceBook, PriceEntry
from submeter.core.record import CallRow, TokenClasses
from submeter.core.resettle import resettle
from submeter.reconcile.explain import Report, reconcile
from submeter.reconcile.read import read_invoice
from submeter.store.ledger import Ledger

Found = dict[tuple[int, str | None], tuple[str, str | None]]


def run(ledger: Ledger, bill: Bill, book: PriceBook = BOOK) -> Report:
    return reconcile(read_invoice(bill.pages()), ledger, SCOPE, book, ORIGINS)


def found(report: Report) -> Found:
    """(day, name) → (kind, code of the cause) of everything that differs."""
    return {
        (finding.group.place.day, finding.group.place.name): (
            finding.group.kind,
            None if finding.cause is None else finding.cause.code,
        )
        for finding in report.differences
    }


CLEAN = [call(number, model, DAY + number % 3) for number, model in enumerate(["plain", "cached", "cheaper"] * 20)]


def test_a_clean_invoice_matches_to_the_nano_dollar(ledger: Ledger) -> None:
    hits = [call(900 + number, "plain", cache="hit") for number in range(3)]
    ledger.ship([*CLEAN, *hits], {})
    report = run(ledger, Bill(CLEAN))
    assert report.differences == []
    assert [finding.cause for finding in report.findings] == [None] * len(report.findings)
    assert report.amount_nano_usd == report.total.confirmed_nano_usd == len(CLEAN) * COST
    matched, lines = report.lines
    assert matched == lines == len(report.findings) * 4


def planted() -> tuple[list[CallRow], Bill]:
    """A ledger, and its invoice with ten and two differences; ``plain`` is in order."""
    usual = ("plain", "unbilled", "batched", "cached", "cheaper", "beside", "twice", "changed", "nameless", "cut")
    rows = [call(10 * place + number, name) for place, name in enumerate(usual) for number in range(4)]
    rows += [call(200 + number, "night", DAY + number % 2) for number in range(6)]
    lost = lost_call(300, "cut")
    unmetered = call(301, "plain", DAY + 2, **NO_USAGE, cost_state="unmetered", cost_nano_usd=None, costs=None)
    bill = Bill(rows)
    for kind in (bill.costs, bill.usage):
        for day, results in kind.items():
            kind[day] = [result for result in results if "unbilled" not in str(result.values())]
    bill.add(DAY, "direct", 2, 2)
    bill.change(DAY, "batched", "0.5")
    next(line for line in bill.costs[DAY] if line["line_item"] == "cached, cached input")["amount"]["value"] *= 2
    bill.change(DAY, "cheaper", "0.9")
    bill.add(DAY, "beside", 3, 3)
    bill.add(DAY, "night", -1, 0)
    bill.usage[DAY][-1] = {**bill.usage[DAY][-1], "input_tokens": 0, "input_cached_tokens": 0, "output_tokens": 0}
    night = next(result for result in bill.usage[DAY] if result["model"] == "night")
    night |= {"input_tokens": 2400, "input_cached_tokens": 400, "output_tokens": 200, "num_model_requests": 2}
    bill.add(DAY + 1, "night", 1, 1)
    bill.costs[DAY].append(next(result for result in bill.costs[DAY] if result["line_item"] == "twice, output"))
    bill.costs[DAY].append(cost_result("cut, output", Decimal(1_234_567)))
    bill.change(DAY, "changed", "1.0371")
    bill.costs[DAY].append(cost_result("web search tool calls", Decimal(30_000_000)))
    bill.add(DAY + 2, "direct", 1, 1)
    return [*rows, lost, unmetered], bill


PLANTED: Found = {
    (DAY, "direct"): ("missing_here", "not_through_proxy"),
    (DAY, "unbilled"): ("missing_there", "missing_there"),
    (DAY, "batched"): ("price_drift", "tier"),
    (DAY, "cached"): ("price_drift", "full_price_for_cached"),
    (DAY, "cheaper"): ("price_drift", "discount"),
    (DAY, "beside"): ("token_drift", "calls_beside_the_proxy"),
    (DAY, "night"): ("token_drift", "day_boundary"),
    (DAY + 1, "night"): ("token_drift", "day_boundary"),
    (DAY, "twice"): ("price_drift", "duplicate_line"),
    (DAY, "nameless"): ("price_drift", "unpriced"),
    (DAY, "cut"): ("within_bounds", "bounds"),
    (DAY, "changed"): ("price_drift", "price_changed"),
    (DAY, "web search tool calls"): ("missing_here", "fee"),
    (DAY + 2, "direct"): ("missing_here", "unmetered"),
}


def test_each_planted_difference_is_found_and_named_and_nothing_else(ledger: Ledger) -> None:
    rows, bill = planted()
    ledger.ship(rows, {})
    report = run(ledger, bill)
    assert found(report) == PLANTED
    by_place = {finding.group.place[:2]: finding for finding in report.findings}
    differences = {place: finding.group.difference_nano_usd for place, finding in by_place.items()}
    assert differences[DAY, "plain"] == 0
    assert differences[DAY, "direct"] == 2 * COST
    assert differences[DAY, "unbilled"] == -4 * COST
    assert differences[DAY, "batched"] == -2 * COST
    assert differences[DAY, "cached"] == 4 * 200 * 1250
    assert differences[DAY, "cheaper"] == -4 * COST // 10
    assert differences[DAY, "beside"] == 3 * COST
    assert differences[DAY, "night"] == -COST
    assert differences[DAY + 1, "night"] == COST
    assert differences[DAY, "twice"] == 4 * 100 * 10_000
    assert differences[DAY, "nameless"] == 4 * COST
    assert differences[DAY, "cut"] == 1_234_567


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((DAY, "batched"), ["batch tier"]),
        ((DAY, "cheaper"), ["10 % off"]),
        ((DAY, "beside"), ["3 calls", "3,900 more tokens"]),
        ((DAY, "night"), ["2025-11-21"]),
        ((DAY, "nameless"), ["4 calls have no price", "submeter reprice"]),
        ((DAY, "cut"), ["1 call", "between", "--settle"]),
        ((DAY, "changed"), ["1.037 × the price"]),
        ((DAY + 2, "direct"), ["1 call", "unmetered"]),
    ],
)
def test_the_cause_in_words(tmp_path_factory: pytest.TempPathFactory, place: tuple[int, str], words: list[str]) -> None:
    rows, bill = planted()
    with Ledger.open(str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        ledger.ship(rows, {})
        report = run(ledger, bill)
    (cause,) = (finding.cause for finding in report.findings if finding.group.place[:2] == place)
    assert cause is not None
    assert [word for word in words if word not in cause.text] == []


def test_the_bounds_of_the_lost_call() -> None:
    row = lost_call(1, "cut")
    assert (row.cost_state, row.cost_low_nano_usd, row.cost_high_nano_usd) == ("indeterminate", 0, LOST_HIGH)


ODD_RATES = {"input_uncached": Decimal("0.0375"), "cached_read": Decimal("0.01875"), "output_text": Decimal("0.3333")}
ODD_BOOK = PriceBook((PriceEntry(model="odd", provider="openai", tiers={"standard": (Bracket(0, ODD_RATES),)}),))


def test_prices_below_a_nano_dollar_per_token_round_by_the_call_and_still_match(tmp_path: Path) -> None:
    dice = random.Random(7)
    rows = []
    for number in range(300):
        tokens = TokenClasses(dice.randrange(5000), dice.randrange(1000), output_text=dice.randrange(800))
        rows.append(resettle(call(number, "odd", DAY + dice.randrange(3), tokens), ODD_BOOK, ORIGINS))
    bill = Bill([])
    for day in range(DAY, DAY + 3):
        for name, rate in ODD_RATES.items():
            count = sum(getattr(row.tokens, name) for row in rows if row.started_at_ns // when.DAY_NS == day)
            bill.costs[day].append(cost_result("odd, input", rate * 1000 * count))
    with Ledger.open(str(tmp_path / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        ledger.ship(rows, {})
        report = run(ledger, bill, ODD_BOOK)
    assert report.differences == []
    assert {None if finding.cause is None else finding.cause.code for finding in report.findings} <= {None, "rounding"}
    assert report.amount_nano_usd != report.total.confirmed_nano_usd
