"""Columns priced anew, held row by row against the arithmetic for one call."""

from datetime import date
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.cost import price_call
from submeter.core.pricebook import STANDARD, Bracket, OffPeak, Origin, PriceBook, PriceEntry, Window, tier_name
from submeter.core.record import TOKEN_CLASSES, TokenClasses
from submeter.core.whatif import Change, changed
from submeter.report.money import Pricing, nano, reprice, scaled_tokens, times, usd, usd_by_day
from submeter.report.trace import total_nano_usd

MINI = PriceEntry(
    model="mini",
    provider="openai",
    tiers={
        "standard": (
            Bracket(
                0, {"input_uncached": Decimal("0.15"), "cached_read": Decimal("0.0375"), "output_text": Decimal(1)}
            ),
            Bracket(2000, {"input_uncached": Decimal("0.3"), "output_text": Decimal("1.5005")}),
        ),
        "flex": (Bracket(0, {"input_uncached": Decimal("0.0005"), "output_text": Decimal("0.5")}),),
    },
    fees={"request": Decimal("0.0000000025"), "web_search": Decimal("0.01")},
    regions={"us": Decimal("1.1")},
    valid_until=date(2026, 11, 17),
)
DEARER = PriceEntry(
    model="mini",
    provider="openai",
    valid_from=date(2026, 11, 18),
    tiers={"standard": (Bracket(0, {"input_uncached": Decimal("0.2"), "output_text": Decimal(1)}),)},
    off_peak=OffPeak(
        windows=(Window((3, 4), 60, 90),),
        tiers={"standard": (Bracket(0, {"input_uncached": Decimal("0.1"), "output_text": Decimal("0.333333333333")}),)},
    ),
)
BOOK = PriceBook((MINI, DEARER), (PriceEntry(model="own-*", tiers=DEARER.tiers),), "prices-1")
ORIGINS = {"openai": Origin("openai"), "local": Origin(None)}

COUNTS = st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 3000), st.integers(0, 10**9))
TOKENS = st.builds(
    lambda pairs: TokenClasses(**dict(pairs)), st.lists(st.tuples(st.sampled_from(TOKEN_CLASSES), COUNTS), max_size=4)
)
ROWS = st.builds(
    Row,
    tokens=st.one_of(st.none(), TOKENS),
    at_h=st.integers(0, 167 * 60).map(lambda minute: minute / 60),
    web_searches=st.integers(0, 3),
    model_served=st.sampled_from(["mini", "mini", "own-1", "unknown", None]),
    upstream=st.sampled_from(["openai", "local", "elsewhere"]),
    service_tier=st.sampled_from([None, "flex", "default", "priority"]),
    region=st.sampled_from([None, "us", "eu"]),
    cache=st.sampled_from(["miss", "bypass", "hit", "coalesced"]),
)


def one_by_one(rows: list[Row], pricing: Pricing) -> list[int | None]:
    """What ``core`` says of each row."""
    return [_one(row, pricing) for row in sorted(rows, key=lambda row: row.at_h)]


def _one(row: Row, pricing: Pricing) -> int | None:
    if row.cache in ("hit", "coalesced"):
        return 0
    own = pricing.origins.get(row.upstream, Origin(None)).provider
    model = row.model_served if pricing.model is None else pricing.model
    provider = own if pricing.provider is None else pricing.provider
    if row.tokens is None or model is None:
        return None
    at_ns = WEEK.start_ns + round(row.at_h * 3600 * 10**9)
    entry = pricing.book.find(model, provider, at_ns, row.region if provider == own else None)
    if entry is None:
        return None
    tier = row.service_tier if pricing.tier is None else pricing.tier
    if pricing.model is not None and pricing.tier is None and tier_name(tier) not in entry.tiers:
        tier = STANDARD
    tokens = changed(row.tokens, Change(tokenizer_ratio=pricing.tokenizer_ratio, length_ratio=pricing.length_ratio))
    cost = price_call(tokens, entry, tier, row.web_searches or 0)
    return None if cost is None else cost.total


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(ROWS, max_size=12),
    model=st.sampled_from([None, "mini", "own-2", "unknown"]),
    provider=st.sampled_from([None, "openai"]),
    tier=st.sampled_from([None, "flex", "batch"]),
    ratios=st.tuples(*[st.sampled_from(["1", "1.04", "0.5", "0", "1.333333"])] * 2),
)
def test_every_row_costs_what_one_call_costs(
    rows: list[Row], model: str | None, provider: str | None, tier: str | None, ratios: tuple[str, str]
) -> None:
    pricing = Pricing(BOOK, ORIGINS, model, provider, tier, Decimal(ratios[0]), Decimal(ratios[1]))
    found = reprice(trace_of(rows), pricing)
    expected = one_by_one(rows, pricing)
    assert found.priced.tolist() == [cost is not None for cost in expected]
    assert found.nano_usd.tolist() == [0 if cost is None else cost for cost in expected]
    assert sum(found.parts) + total_nano_usd(found.fees_nano_usd) == total_nano_usd(found.nano_usd)


def test_a_price_holds_from_midnight_and_an_off_peak_price_from_its_minute() -> None:
    tokens = TokenClasses(input_uncached=1000)
    at = {"before": 47.99, "after": 48.0, "early": 48 + 59 / 60, "off-peak": 49.0, "late": 49.5}
    found = reprice(trace_of([Row(tokens=tokens, at_h=hour, model_served="mini") for hour in at.values()]), recorded())
    dearer, cheaper = 1000 * 200, 1000 * 100
    # The request fee of 2.5 nano-USD is 2, half-even; the dearer entry has none.
    assert found.nano_usd.tolist() == [1000 * 150 + 2, dearer, dearer, cheaper, dearer]
    assert [match.text for match in found.matches] == ["exact", "exact", "exact, off-peak"]


def recorded() -> Pricing:
    return Pricing(BOOK, ORIGINS)


def test_the_bracket_is_chosen_by_the_whole_input_after_the_tokenizer_ratio() -> None:
    rows = [Row(tokens=TokenClasses(input_uncached=count), model_served="mini") for count in (1000, 1001)]
    found = reprice(trace_of(rows), Pricing(BOOK, ORIGINS, tokenizer_ratio=Decimal(2)))
    assert found.nano_usd.tolist() == [2000 * 150 + 2, 2002 * 300 + 2]
    assert found.parts[0] == 2000 * 150 + 2002 * 300


def test_a_tier_that_is_not_sold_is_priced_at_standard_and_counted() -> None:
    rows = [
        Row(service_tier="flex", at_h=100, model_served="x"),
        Row(service_tier="default", at_h=100, model_served="x"),
    ]
    found = reprice(trace_of(rows), Pricing(BOOK, ORIGINS, model="mini"))
    assert found.other_tier == 1
    assert found.nano_usd.tolist() == [1000 * 200 + 100 * 1000] * 2
    named = reprice(trace_of(rows), Pricing(BOOK, ORIGINS, model="mini", tier="flex"))
    assert not named.priced.any()
    as_recorded = reprice(trace_of([Row(service_tier="flex", at_h=100, model_served="mini")]), recorded())
    assert not as_recorded.priced.any()


def test_a_search_without_a_price_makes_its_call_unpriced() -> None:
    rows = [Row(at_h=100, model_served="mini", web_searches=searches) for searches in (0, 1)]
    assert reprice(trace_of(rows), recorded()).priced.tolist() == [True, False]
    found = reprice(trace_of([Row(at_h=1, model_served="mini", web_searches=3)]), recorded())
    assert found.fees_nano_usd.tolist() == [2 + 3 * 10_000_000]


def test_a_regions_surcharge_holds_at_its_own_provider_only() -> None:
    tokens = TokenClasses(input_uncached=1000)
    rows = [Row(tokens=tokens, model_served="mini", region="us", upstream=name) for name in ("openai", "local")]
    found = reprice(trace_of(rows), Pricing(BOOK, ORIGINS, model="mini", provider="openai"))
    assert found.nano_usd.tolist() == [1000 * 165 + 2, 1000 * 150 + 2]


def test_half_a_nano_usd_goes_to_the_even_side() -> None:
    assert times(np.arange(8), Decimal("0.5")).tolist() == [0, 0, 1, 2, 2, 2, 3, 4]
    assert times(np.array([-1, -3]), Decimal("0.5")).tolist() == [0, -2]


@given(count=st.integers(0, 10**9), rate=st.decimals(0, 10**6, allow_nan=False, places=24))
def test_a_product_is_exact_beyond_64_bits(count: int, rate: Decimal) -> None:
    numerator, denominator = rate.as_integer_ratio()
    whole, rest = divmod(count * numerator, denominator)
    up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
    assert times(np.array([count]), rate).tolist() == [whole + up]


def test_what_does_not_fit_64_bits_is_an_error_and_never_a_wrong_sum() -> None:
    with pytest.raises(OverflowError):
        times(np.array([2**62]), Decimal(4))
    dear = PriceEntry(
        model="dear",
        provider="openai",
        tiers={"standard": (Bracket(0, dict.fromkeys(("input_uncached", "output_text"), Decimal(8 * 10**6))),)},
    )
    row = Row(tokens=TokenClasses(input_uncached=10**9, output_text=10**9), model_served="dear")
    with pytest.raises(OverflowError, match="more than 9 billion USD"):
        reprice(trace_of([row]), Pricing(PriceBook((dear,)), ORIGINS))


@given(st.lists(st.integers(-(2**62), 2**62), max_size=50))
def test_a_total_is_exact_however_large(amounts: list[int]) -> None:
    assert total_nano_usd(np.array(amounts, dtype=np.int64)) == sum(amounts)


@given(tokens=TOKENS, ratios=st.tuples(*[st.decimals(0, 100, places=6)] * 2))
def test_tokens_scale_as_whatif_scales_them(tokens: TokenClasses, ratios: tuple[Decimal, Decimal]) -> None:
    columns = np.array([msgspec.structs.astuple(tokens)], dtype=np.int64)
    expected = changed(tokens, Change(tokenizer_ratio=ratios[0], length_ratio=ratios[1]))
    assert tuple(scaled_tokens(columns, *ratios)[0].tolist()) == msgspec.structs.astuple(expected)


def test_days_sum_to_the_week_and_a_call_outside_it_is_an_error() -> None:
    trace = trace_of([Row(at_h=hour) for hour in (0, 23.99, 24, 167.99)])
    days = usd_by_day(np.array([1, 2, 3, 4]), trace.started_at_ns, WEEK.start_ns)
    assert days == (Decimal("3e-9"), Decimal("3e-9"), 0, 0, 0, 0, Decimal("4e-9"))
    with pytest.raises(ValueError, match="outside the week"):
        usd_by_day(np.array([1]), np.array([WEEK.end_ns]), WEEK.start_ns)


def test_amounts_and_nano_usd_are_each_other() -> None:
    assert usd(2_950_000_000) == Decimal("2.95")
    assert nano(Decimal("2.95")) == 2_950_000_000
    assert nano(Decimal("0.0000000025")) == 2


def test_no_calls_cost_nothing() -> None:
    found = reprice(trace_of([]), recorded())
    assert (len(found.nano_usd), found.matches) == (0, ())
