"""The causes that the planted invoice does not show, and where both sides agree although they look different."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.invoices import BOOK, COST, DAY, ORIGINS, SCOPE, Bill, call, cost_result, lost_call
from store.ledger_rows import make_call
from submeter.core.pricebook import Bracket, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.core.resettle import resettle
from submeter.reconcile.causes import CAUSES, Case, likely_cause
from submeter.reconcile.explain import Finding, reconcile
from submeter.reconcile.ledger import Place, Side
from submeter.reconcile.lines import Invoice, InvoiceLine, Usage
from submeter.reconcile.match import Kind, family, judge, rounding, same_names
from submeter.reconcile.read import read_invoice
from submeter.reconcile.settle import settled_costs
from submeter.store.ledger import Ledger

PLACE = Place(DAY, "plain", None)
NO_BOOK = PriceBook()


def one(ledger: Ledger, raw: bytes, book: PriceBook = BOOK) -> Finding:
    (finding,) = reconcile(read_invoice(raw), ledger, SCOPE, book, ORIGINS).findings
    return finding


def kind_and_cause(finding: Finding) -> tuple[Kind, str | None]:
    return finding.group.kind, None if finding.cause is None else finding.cause.code


@pytest.mark.parametrize(
    ("factor", "code"),
    [
        ("0.5", "half_price"),
        ("0.925", "discount"),
        ("1.1", "surcharge"),
        ("1.234567", "price_changed"),
        ("0.001", "price_changed"),
    ],
)
def test_a_factor_where_the_book_knows_no_other_price(ledger: Ledger, factor: str, code: str) -> None:
    rows = [call(number, "plain") for number in range(3)]
    ledger.ship(rows, {})
    bill = Bill(rows)
    bill.change(DAY, "plain", factor)
    assert kind_and_cause(one(ledger, bill.pages(), NO_BOOK)) == ("price_drift", code)


def book_of(price: str, **more: Any) -> PriceBook:
    prices = {"input_uncached": Decimal(price), "cached_read": Decimal(price), "output_text": Decimal(price)}
    return PriceBook((PriceEntry(model="plain", provider="openai", tiers={"standard": (Bracket(0, prices),)}, **more),))


def test_the_prices_in_force_now_explain_it(ledger: Ledger) -> None:
    ledger.ship([call(1, "plain")], {})
    bill = Bill([])
    bill.add(DAY, "plain", 1, 1)
    bill.costs[DAY] = [cost_result("plain, input", Decimal(1300 * 7000))]
    finding = one(ledger, bill.pages(), book_of("7"))
    assert kind_and_cause(finding) == ("price_drift", "current_price")
    assert finding.cause is not None
    assert "submeter reprice --since 2025-11-20" in finding.cause.text


def test_an_export_without_tokens_says_that_it_cannot_tell(ledger: Ledger) -> None:
    ledger.ship([call(1, "plain")], {})
    bill = Bill([call(1, "plain")])
    bill.usage.clear()
    bill.change(DAY, "plain", "1.234567")
    assert kind_and_cause(one(ledger, bill.pages(), NO_BOOK)) == ("amount_drift", "calls_or_price")


def test_an_export_without_amounts_compares_tokens(ledger: Ledger) -> None:
    ledger.ship([call(1, "plain"), call(2, "plain")], {})
    bill = Bill([call(1, "plain"), call(2, "plain")])
    bill.costs.clear()
    assert kind_and_cause(one(ledger, bill.pages())) == ("matched", None)
    bill.usage[DAY][0]["input_cached_tokens"] += 1
    finding = one(ledger, bill.pages())
    assert kind_and_cause(finding) == ("token_drift", "calls_beside_the_proxy")
    assert finding.group.usage_difference == Usage(0, 1, None, 0)
    assert finding.group.difference_nano_usd is None


def test_calls_without_a_price_have_tokens_all_the_same(ledger: Ledger) -> None:
    ledger.ship([call(1, "nameless")], {})
    bill = Bill([call(1, "nameless")])
    assert kind_and_cause(one(ledger, bill.pages())) == ("price_drift", "unpriced")
    bill.costs.clear()
    assert kind_and_cause(one(ledger, bill.pages())) == ("matched", None)


def test_tokens_are_not_compared_where_the_ledger_does_not_know_them(ledger: Ledger) -> None:
    ledger.ship([call(1, "cut"), lost_call(2, "cut")], {})
    bill = Bill([call(1, "cut")])
    bill.usage[DAY][0]["input_tokens"] += 500
    finding = one(ledger, bill.pages())
    assert finding.group.usage_difference == Usage()
    assert kind_and_cause(finding) == ("within_bounds", "bounds")


def test_lost_calls_and_an_export_without_amounts_are_not_called_matched(ledger: Ledger) -> None:
    ledger.ship([call(1, "cut"), lost_call(2, "cut")], {})
    bill = Bill([call(1, "cut")])
    bill.costs.clear()
    finding = one(ledger, bill.pages())
    assert kind_and_cause(finding) == ("within_bounds", "bounds")
    assert finding.cause is not None
    assert "reconcile the costs export" in finding.cause.text
    report = reconcile(read_invoice(bill.pages()), ledger, SCOPE, BOOK, ORIGINS)
    assert settled_costs(ledger, report) == []


def test_calls_that_the_provider_refused_are_nothing_to_compare(ledger: Ledger) -> None:
    refused = lost_call(2, "plain", refused=True, outcome="upstream_error", status=429)
    assert (refused.cost_state, refused.cost_high_nano_usd) == ("estimated", 0)
    ledger.ship([call(1, "plain"), refused, lost_call(3, "cut", refused=True, outcome="upstream_error")], {})
    assert kind_and_cause(one(ledger, Bill([call(1, "plain")]).pages())) == ("matched", None)


def test_other_upstreams_are_not_on_this_invoice(ledger: Ledger) -> None:
    ledger.ship([call(1, "plain"), call(2, "plain", upstream="own"), call(3, "other", upstream="anthropic")], {})
    assert kind_and_cause(one(ledger, Bill([call(1, "plain")]).pages())) == ("matched", None)


SEARCHING = PriceEntry(
    model="claude-x",
    provider="anthropic",
    tiers={"standard": (Bracket(0, {"input_uncached": Decimal(3), "output_text": Decimal(15)}),)},
    fees={"web_search": Decimal("0.01")},
)


def test_web_searches_stand_on_a_line_of_their_own(ledger: Ledger) -> None:
    tokens = TokenClasses(input_uncached=1000, output_text=10)
    row = make_call(1, upstream="anthropic", model_served="claude-x", started_at_ns=DAY * 86_400 * 10**9, tokens=tokens)
    book = PriceBook((SEARCHING,))
    row = resettle(msgspec.structs.replace(row, web_searches=3, service_tier="standard"), book, ORIGINS)
    assert (row.fees_nano_usd, row.cost_nano_usd) == (30_000_000, 1000 * 3000 + 10 * 15_000 + 30_000_000)
    ledger.ship([row], {})
    lines = (
        InvoiceLine(row=1, day=DAY, model="claude-x", amount_usd=Decimal("0.00315")),
        InvoiceLine(row=2, day=DAY, item="web_search", amount_usd=Decimal("0.03")),
    )
    invoice = Invoice(source="", provider="anthropic", lines=lines, days=(DAY, DAY))
    scope = msgspec.structs.replace(SCOPE, upstreams=frozenset({"anthropic"}))
    later = msgspec.structs.replace(scope, since_day=DAY + 1)
    assert reconcile(invoice, ledger, later, book, ORIGINS).findings == []
    report = reconcile(invoice, ledger, scope, book, ORIGINS)
    assert [finding.group.kind for finding in report.findings] == ["matched", "matched"]
    assert report.total.confirmed_nano_usd == row.cost_nano_usd


def test_rounding_of_the_export_is_no_difference(ledger: Ledger) -> None:
    ledger.ship([call(number, "plain") for number in range(3)], {})
    raw = b"usage_date_utc,model,cost_usd\n2025-11-20,plain,0.01\n"
    invoice = msgspec.structs.replace(read_invoice(raw), provider="openai")
    (finding,) = reconcile(invoice, ledger, SCOPE, BOOK, ORIGINS).findings
    assert 3 * COST == 11_250_000
    assert kind_and_cause(finding) == ("matched", "rounding")


def test_what_two_correct_sums_can_differ_by() -> None:
    lines = [InvoiceLine(row=1, day=DAY, amount_usd=Decimal("0.01"))] * 2
    assert rounding(Fraction(10_000_000), lines, Side(calls=5, unmetered_calls=1)) == 2 * 5_000_000 + 4 * 2


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-4o-latest", "gpt-4o"),
        ("ft:gpt-4o:org::id", "ft:gpt-4o"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_families_of_models(model: str, name: str) -> None:
    assert family(model) == name


def test_a_name_is_only_taken_for_another_where_no_third_could_be_meant() -> None:
    assert same_names(["gpt-4o", "o1"], ["gpt-4o-2024-08-06", "o3"]) == {"gpt-4o": "gpt-4o-2024-08-06"}
    assert same_names(["gpt-4o"], ["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"]) == {}
    assert same_names(["gpt-4o-2024-08-06"], ["gpt-4o", "gpt-4o-2024-11-20"]) == {"gpt-4o-2024-08-06": "gpt-4o"}
    assert same_names(["gpt-4o-2024-08-06"], ["gpt-4o-2024-08-06", "gpt-4o"]) == {}


COUNTS = st.integers(0, 10**9)
MAYBE = st.none() | COUNTS


@given(
    amounts=st.lists(MAYBE, max_size=3),
    usage=st.tuples(MAYBE, MAYBE, MAYBE, MAYBE),
    sums=st.lists(COUNTS, min_size=len(Side.__struct_fields__), max_size=len(Side.__struct_fields__)),
    unmetered=st.integers(0, 2),
    item=st.booleans(),
)
def test_whatever_differs_has_a_cause(
    amounts: list[int | None], usage: tuple[int | None, ...], sums: list[int], unmetered: int, item: bool
) -> None:
    lines = tuple(
        InvoiceLine(
            row=row,
            day=DAY,
            model=None if item else "plain",
            item="x" if item else None,
            usage=Usage(*usage),
            amount_usd=None if amount is None else Decimal(amount).scaleb(-9),
        )
        for row, amount in enumerate(amounts, 1)
    )
    invoice = Invoice(source="", provider="openai", lines=lines, days=(DAY, DAY))
    group = judge(invoice, PLACE, lines, Side(**dict(zip(Side.__struct_fields__, sums, strict=True))))
    cause = likely_cause(Case(group, unmetered_calls=unmetered))
    assert group.kind == "matched" or cause is not None
    assert cause is None or cause.code in {"rounding", *(code for code, _ in CAUSES)}
