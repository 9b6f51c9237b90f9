"""Open-weights equivalents at hosts' prices."""

from datetime import date
from decimal import Decimal
from pathlib import Path

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.prices import load_book
from submeter.report.assumptions import Assumptions
from submeter.report.buy import Market, Offer
from submeter.report.money import Option, Withheld
from submeter.report.rent import Host, hosts_of, rent

OPEN = PriceEntry(
    model="org/open-70b-Instruct",
    provider="together_ai",
    tiers={"standard": (Bracket(0, {"input_uncached": Decimal("0.2"), "output_text": Decimal("0.4")}),)},
)
CALL = Row(tokens=TokenClasses(input_uncached=1000, cached_read=500, output_text=100, reasoning=20), model_served="big")


def market() -> Market:
    return Market(PriceBook((OPEN,)), {"openai": Origin("openai")}, Assumptions(date(2026, 11, 23)))


def test_a_host_of_the_price_book_prices_the_week_with_ratios() -> None:
    offer = Offer(
        model="org/open-70b-Instruct",
        provider="together_ai",
        tokenizer_ratio=Decimal("1.04"),
        length_ratio=Decimal("1.5"),
    )
    found = rent(trace_of([CALL]), WEEK, offer, market())
    assert isinstance(found, Option)
    # It gives no discount on cached input: 1,040 + 520 tokens in. Out 100 × 1.56 and 20 × 1.56 = 31.2.
    assert found.weekly_usd == Decimal((1040 + 520) * 200 + (156 + 31) * 400).scaleb(-9)
    assert (found.kind, found.name) == ("rent", "org/open-70b-Instruct at together_ai")


def test_prices_given_in_the_file_are_exact_and_said_to_be_yours() -> None:
    where = market()
    prices = {"input_uncached": Decimal("0.60"), "cached_read": Decimal("0.30"), "output_text": Decimal("0.80")}
    found = rent(trace_of([CALL]), WEEK, Offer(model="open-70b", provider="mine"), where, prices)
    assert isinstance(found, Option)
    assert found.weekly_usd == Decimal(1000 * 600 + 500 * 300 + 120 * 800).scaleb(-9)
    price = where.assumed["price.mine.open-70b.standard"]
    assert (price.by, price.source) == ("config", "usd_per_million in alternatives.yaml")
    assert where.assumed["tokenizer.mine.open-70b.1"].by == "prior"


def test_a_host_without_a_price_is_withheld_and_says_what_lacks() -> None:
    half = {"input_uncached": Decimal(1)}
    found = rent(trace_of([CALL]), WEEK, Offer(model="open-70b", provider="mine"), market(), half)
    assert isinstance(found, Withheld)
    assert found.what == "open-70b at mine has no price for output_text, reasoning, which 1 calls have"
    unknown = rent(trace_of([CALL]), WEEK, Offer(model="org/open-70b", provider="together_ai"), market())
    assert isinstance(unknown, Withheld)
    assert unknown.what == "org/open-70b has no price at together_ai; did you mean org/open-70b-Instruct?"


def test_hosts_are_found_under_the_names_that_they_use() -> None:
    names = ["org/open-70b-Instruct", "accounts/x/models/open-70b-instruct", "open-70b-vision", "open-700b", "Open-70B"]
    entries = [OPEN, *(PriceEntry(model=name, provider="groq", tiers=OPEN.tiers) for name in names[1:])]
    entries.append(PriceEntry(model="open-70b", provider="a-router", tiers=OPEN.tiers))
    found = hosts_of("open-70b", PriceBook(tuple(entries)), WEEK.start_ns)
    assert [(host.provider, host.model) for host in found] == [
        ("groq", "Open-70B"),
        ("groq", "accounts/x/models/open-70b-instruct"),
        ("together_ai", "org/open-70b-Instruct"),
    ]


def test_the_shipped_book_has_hosts_of_a_well_known_model(tmp_path: Path) -> None:
    found = hosts_of("llama-3.3-70b", load_book((), tmp_path), WEEK.start_ns)
    assert len(found) >= 8
    assert Host("together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", Decimal("1.04"), Decimal("1.04")) in found
    sums = [host.usd_per_million_in + host.usd_per_million_out for host in found]
    assert sums == sorted(sums)
