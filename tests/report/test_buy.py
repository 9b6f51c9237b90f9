"""The recorded bill, the bill at the prices in force, and other offers: each sum written out."""

from datetime import date
from decimal import Decimal

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.prices.overlay import parse_overlay
from submeter.report.assumptions import Assumptions
from submeter.report.buy import Market, Offer, as_recorded, best, price_offer, reconcile, recorded_bill
from submeter.report.money import Option, Withheld


def entry(model: str, provider: str, cost_in: str, cost_out: str, **tiers: str) -> PriceEntry:
    prices = {"standard": (cost_in, cost_out), **{tier: pair.split("/") for tier, pair in tiers.items()}}
    return PriceEntry(
        model=model,
        provider=provider,
        checked_on=date(2026, 11, 1),
        source=f"https://{provider}.example/prices",
        tiers={
            name: (Bracket(0, {"input_uncached": Decimal(pair[0]), "output_text": Decimal(pair[1])}),)
            for name, pair in prices.items()
        },
    )


BOOK = PriceBook(
    (
        entry("big", "openai", "2.5", "10", flex="1.25/5"),
        entry("mini", "openai", "0.15", "0.6", batch="0.075/0.3"),
    ),
    (),
    "prices-1",
)
ORIGINS = {"openai": Origin("openai"), "mine": Origin(None)}
TOKENS = TokenClasses(input_uncached=1000, output_text=100)
BIG = 1000 * 2500 + 100 * 10_000
MINI = 1000 * 150 + 100 * 600


def big(**changes: object) -> Row:
    return Row(**{"model_served": "big", "tokens": TOKENS, "cost_nano_usd": BIG, **changes})  # type: ignore[arg-type]


def market() -> Market:
    return Market(BOOK, ORIGINS, Assumptions(date(2026, 11, 23)))


def mini(**changes: object) -> Offer:
    return Offer(**{"model": "mini", "provider": "openai", **changes})  # type: ignore[arg-type]


def priced(rows: list[Row], offer: Offer, where: Market | None = None) -> Option:
    found = price_offer("buy", trace_of(rows), WEEK, offer, where or market())
    assert isinstance(found, Option)
    return found


def withheld(rows: list[Row], offer: Offer) -> Withheld:
    found = price_offer("buy", trace_of(rows), WEEK, offer, market())
    assert isinstance(found, Withheld)
    return found


# ---- the recorded bill -----------------------------------------------------------------------------------------


def test_the_bill_is_what_was_recorded_by_day_and_state_with_its_bounds() -> None:
    rows = [
        big(at_h=0),
        big(at_h=30, cost_nano_usd=500, cost_state="estimated", cost_low_nano_usd=100, cost_high_nano_usd=900),
        big(at_h=31, tokens=None, cost_nano_usd=None, cost_state="indeterminate", cost_low_nano_usd=0,
            cost_high_nano_usd=7000, unbounded=True),
        big(at_h=32, cache="hit"),
        big(at_h=33, tokens=None, cost_nano_usd=None, cost_state="unmetered"),
    ]  # fmt: skip
    bill = recorded_bill(trace_of(rows), WEEK)
    assert bill.usd_by_day == (Decimal(BIG).scaleb(-9), Decimal(500).scaleb(-9), 0, 0, 0, 0, 0)
    assert bill.week_usd == Decimal(BIG + 500).scaleb(-9)
    assert (bill.exact_usd, bill.estimated_usd) == (Decimal(BIG).scaleb(-9), Decimal(500).scaleb(-9))
    assert bill.low_usd == Decimal(BIG + 100 + 0).scaleb(-9)
    assert bill.high_usd == Decimal(BIG + 900 + 7000).scaleb(-9)
    assert bill.calls == {"exact": 1, "estimated": 1, "unmetered": 1, "indeterminate": 1}
    assert (bill.cached_calls, bill.unbounded_calls) == (1, 1)


def test_as_recorded_is_the_bill_and_names_what_was_used() -> None:
    found = as_recorded(trace_of([big(), big(at_h=1)]), WEEK)
    assert isinstance(found, Option)
    assert (found.name, found.weekly_usd) == ("big at openai, as recorded", Decimal(2 * BIG).scaleb(-9))
    assert (found.low_usd, found.high_usd) == (found.weekly_usd, found.weekly_usd)


def test_a_bill_with_calls_that_have_no_price_is_withheld_with_the_line_that_prices_them() -> None:
    secret = big(model_served="secret", cost_nano_usd=None, cost_state="unpriced")
    found = as_recorded(trace_of([big(), secret]), WEEK)
    assert isinstance(found, Withheld)
    assert found.what == "1 of 2 calls have no price, so that the bill is not known"
    assert found.line == 'prices: [{model: "secret", usd_per_million: {input: "…", output: "…"}}]  # submeter.yaml'
    assert isinstance(as_recorded(trace_of([*[big()] * 98, secret, secret]), WEEK), Withheld)
    once = as_recorded(trace_of([*[big()] * 99, secret]), WEEK)
    assert isinstance(once, Option)
    assert once.notes == ("1 calls without a price are not in it",)


# ---- at the prices in force ------------------------------------------------------------------------------------


def test_a_bill_at_the_prices_in_force_is_the_recorded_one_to_the_nano_usd() -> None:
    refused = big(tokens=None, cost_nano_usd=0, cost_state="estimated", refused=True)
    rows = [big(), big(service_tier="flex", cost_nano_usd=BIG // 2), big(cache="hit"), refused]
    found = reconcile(trace_of(rows), BOOK, ORIGINS)
    assert (found.differences, found.recorded_usd) == ((), Decimal(BIG + BIG // 2).scaleb(-9))
    assert found.repriced_usd == found.recorded_usd


def test_every_difference_is_listed_with_its_reason() -> None:
    rows = [
        big(),
        big(cost_nano_usd=BIG + 7),
        big(cost_nano_usd=BIG // 2, cost_state="estimated"),
        big(cost_nano_usd=0, cost_state="estimated"),
        big(model_served="secret", cost_nano_usd=None, cost_state="unpriced"),
        big(model_served="mini", cost_nano_usd=None, cost_state="unpriced"),
        big(model_served="gone", cost_nano_usd=9),
        big(tokens=None, cost_nano_usd=None, cost_state="indeterminate"),
        big(tokens=None, cost_nano_usd=None, cost_state="unmetered", model_served=None),
    ]
    found = reconcile(trace_of(rows), BOOK, ORIGINS)
    listed = [(each.reason.split(":")[0], each.model, each.calls) for each in found.differences]
    assert listed == [
        ("not metered", None, 1),
        ("usage not known", "big", 1),
        ("no price, now as then", "secret", 1),
        ("recorded without a price, which the price book in force has", "mini", 1),
        ("recorded with a price that the price book in force does not have", "gone", 1),
        ("estimated at the service tier that was asked for, or at other prices than those in force", "big", 2),
        ("recorded at other prices than those in force, or corrected by a version of the costs (reprice, reconcile)",
         "big", 1),
    ]  # fmt: skip
    assert found.differences[-1].text == (
        "big, 1 calls: recorded at other prices than those in force, or corrected by a version of the costs "
        "(reprice, reconcile) (recorded 0.003500007 USD, repriced 0.003500000 USD)"
    )


ANY = st.builds(
    big,
    model_served=st.sampled_from(["big", "mini", "secret", None]),
    tokens=st.sampled_from([TOKENS, None, TokenClasses(input_audio=1)]),
    cost_nano_usd=st.sampled_from([None, 0, BIG, MINI, 12]),
    cost_state=st.sampled_from(["exact", "estimated", "unpriced", "unmetered", "indeterminate"]),
    cache=st.sampled_from(["miss", "hit"]),
    service_tier=st.sampled_from([None, "flex", "priority"]),
)


@settings(deadline=None)
@given(st.lists(ANY, max_size=10))
def test_the_differences_explain_the_difference_exactly(rows: list[Row]) -> None:
    found = reconcile(trace_of(rows), BOOK, ORIGINS)
    explained = sum((each.repriced_usd - each.recorded_usd for each in found.differences), Decimal(0))
    assert found.recorded_usd + explained == found.repriced_usd
    assert len({(each.reason, each.model) for each in found.differences}) == len(found.differences)


# ---- other offers ----------------------------------------------------------------------------------------------


def test_an_offer_prices_the_weeks_calls_by_day() -> None:
    where = market()
    found = priced([big(at_h=1), big(at_h=25), big(at_h=26, cache="coalesced")], mini(), where)
    assert (found.kind, found.name) == ("buy", "mini at openai")
    assert found.usd_by_day == (Decimal(MINI).scaleb(-9), Decimal(MINI).scaleb(-9), 0, 0, 0, 0, 0)
    assert found.weekly_usd == Decimal(2 * MINI).scaleb(-9)
    assert found.assumptions == (
        "price.openai.mini.standard",
        "tokenizer.openai.mini.1",
        "length.openai.mini.1",
        "prompt_cache",
    )
    price = where.assumed["price.openai.mini.standard"]
    assert (price.value, price.unit) == ("input_uncached 0.15 output_text 0.6", "USD per million tokens")
    assert (price.source, price.as_of, price.by) == ("https://openai.example/prices", date(2026, 11, 1), "price book")
    assert (where.assumed["length.openai.mini.1"].value, where.assumed["length.openai.mini.1"].by) == ("1", "prior")


def test_ratios_scale_what_is_read_and_written() -> None:
    where = market()
    offer = Offer(
        model="mini", provider="openai", tier="batch", tokenizer_ratio=Decimal("1.1"), length_ratio=Decimal("0.5")
    )
    found = priced([big()], offer, where)
    assert found.weekly_usd == Decimal(1100 * 75 + 55 * 300).scaleb(-9)
    assert where.assumed["tokenizer.openai.mini.1.1"].by == "config"


def test_the_best_is_the_cheapest_that_has_a_price() -> None:
    trace = trace_of([big()])
    recorded = as_recorded(trace, WEEK)
    options = [
        price_offer("buy", trace, WEEK, Offer(model=model, provider="openai"), market())
        for model in ("mini", "unheard-of", "big")
    ]
    assert best([recorded, *options]) == options[0]
    assert best([recorded, options[1]]) == recorded
    assert best([options[1]]) is None


def test_an_offer_without_a_price_names_the_line_that_mends_it() -> None:
    found = withheld([big()], Offer(model="minni", provider="openai"))
    assert found.what == "minni has no price at openai; did you mean mini?"
    assert found.line == (
        'prices: [{model: "minni", provider: openai, usd_per_million: {input: "…", output: "…"}}]  # submeter.yaml'
    )
    assert withheld([big()], Offer(model="zzz", provider="nobody")).what == "zzz has no price at nobody"


def test_an_offer_whose_tier_or_class_has_no_price_says_which() -> None:
    tier = withheld([big()], mini(tier="flex"))
    assert (tier.what, tier.line) == (
        "mini at openai, flex is not sold: openai has standard, batch",
        "tier: standard",
    )
    audio = big(tokens=TokenClasses(input_uncached=5, input_audio=5))
    found = withheld([big(), audio], mini(tier="batch"))
    assert found.what == "mini at openai, batch has no price for input_audio, which 1 calls have"
    assert found.line == (
        'prices: [{model: "mini", provider: openai, usd_per_million: {input_uncached: "0.15", output_text: "0.6"}, '
        'tiers: {batch: {input_uncached: "0.075", output_text: "0.3", input_audio: "…"}}}]  # submeter.yaml'
    )
    searching = withheld([big(web_searches=1)], mini())
    assert searching.what == "mini at openai has no price for web searches, which 1 calls have"


def test_the_line_to_add_is_one_that_prices_the_offer() -> None:
    audio = big(tokens=TokenClasses(input_uncached=5, input_audio=5))
    line = withheld([audio], mini(tier="batch")).line
    assert line is not None
    overlay = parse_overlay(yaml.safe_load(line.replace("…", "2"))["prices"])
    where = Market(PriceBook(BOOK.snapshot, overlay), ORIGINS, Assumptions(date(2026, 11, 23)))
    assert priced([audio], mini(tier="batch"), where).weekly_usd == Decimal(5 * 75 + 5 * 2000).scaleb(-9)


def test_what_is_in_no_option_and_what_is_taken_over_is_said() -> None:
    rows = [
        big(service_tier="flex"),
        big(tokens=TokenClasses(input_uncached=1, reasoning=40)),
        big(tokens=None, cost_nano_usd=None, cost_state="indeterminate"),
        big(tokens=None, cost_nano_usd=0, cost_state="estimated", refused=True),
    ]
    assert priced(rows, mini()).notes == (
        "1 calls at the standard tier: theirs is not sold there",
        "1 calls of which no usage is known are in the bill alone",
        "40 reasoning tokens as recorded: another model thinks at another length",
    )


def test_a_commitment_is_an_overlay_and_its_discount_is_in_the_offer() -> None:
    book = PriceBook(BOOK.snapshot, (PriceEntry(model="*", provider="openai", discount=Decimal("0.25")),), "prices-2")
    where = Market(book, ORIGINS, Assumptions(date(2026, 11, 23)))
    found = priced([big()], mini(), where)
    assert found.weekly_usd == Decimal(MINI * 3 // 4).scaleb(-9)
    assert found.assumptions[0] == "price.openai.mini.standard.25 % off by overlay glob"


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 50))
def test_scaling_every_price_scales_the_offer(factor: int) -> None:
    scaled = tuple(
        PriceEntry(
            model=each.model,
            provider=each.provider,
            tiers={
                tier: tuple(
                    Bracket(one.above_tokens, {name: price * factor for name, price in one.usd_per_million.items()})
                    for one in brackets
                )
                for tier, brackets in each.tiers.items()
            },
        )
        for each in BOOK.snapshot
    )
    dearer = Market(PriceBook(scaled), ORIGINS, Assumptions(date(2026, 11, 23)))
    offer = mini(tier="batch")
    rows = [big(at_h=hour) for hour in (1, 50)]
    assert priced(rows, offer, dearer).weekly_usd == factor * priced(rows, offer).weekly_usd


def test_one_large_call_without_a_price_hides_the_bill() -> None:
    """One of 200 calls, and most of the tokens."""
    own = Row(model_served="own-2", tokens=TokenClasses(input_uncached=10**7), cost_state="unpriced")
    found = as_recorded(trace_of([big() for _ in range(200)] + [own]), WEEK)
    assert isinstance(found, Withheld)
    assert found.what == "1 of 201 calls have no price, so that the bill is not known"


def test_a_bill_of_calls_without_tokens_is_not_held_against_other_offers() -> None:
    unknown = big(tokens=None)
    found = as_recorded(trace_of([big(), unknown]), WEEK)
    assert isinstance(found, Withheld)
    usd = Decimal(BIG).scaleb(-9)
    assert found.what == f"{usd:f} USD of the bill are for calls without known tokens, which no other option can price"
    assert isinstance(as_recorded(trace_of([big() for _ in range(100)] + [unknown]), WEEK), Option), "one in a hundred"
    (difference,) = reconcile(trace_of([big(), unknown]), BOOK, ORIGINS).differences
    assert difference.reason == "its tokens are not known, so that it has no other price"
