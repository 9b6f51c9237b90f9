"""Tokens × prices, to the nano-dollar; the arithmetic is written out."""

from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core.cost import Range, bounds, price_call
from submeter.core.pricebook import NO_RATES, Bracket, PriceEntry
from submeter.core.record import INPUT_CLASSES, TOKEN_CLASSES, TokenClasses


def entry(tiers: dict[str, tuple[Bracket, ...]] | None = None, **prices: str) -> PriceEntry:
    standard = (Bracket(0, {name: Decimal(price) for name, price in prices.items()}),)
    return PriceEntry(model="m", provider="openai", tiers={"standard": standard} if tiers is None else tiers)


GPT_4O_MINI = entry(input_uncached="0.15", cached_read="0.075", output_text="0.60")


def test_each_class_is_priced_at_its_own_rate() -> None:
    tokens = TokenClasses(input_uncached=1000, cached_read=200, output_text=300, reasoning=50)
    cost = price_call(tokens, GPT_4O_MINI, None)
    assert cost is not None
    assert cost.parts == TokenClasses(
        input_uncached=1000 * 150, cached_read=200 * 75, output_text=300 * 600, reasoning=50 * 600
    )
    assert cost.total == 1000 * 150 + 200 * 75 + 300 * 600 + 50 * 600


def test_each_class_is_rounded_half_even_once_and_then_summed() -> None:
    half = entry(input_uncached="0.0005", output_text="0.0005")  # half a nano-dollar per token
    assert [_total(half, input_uncached=count) for count in range(8)] == [0, 0, 1, 2, 2, 2, 3, 4]
    # 1.5 and 1.5 are 2 and 2: 4 and not the 3 of a sum that is rounded at the end.
    assert _total(half, input_uncached=3, output_text=3) == 4


def _total(priced: PriceEntry, **counts: int) -> int:
    cost = price_call(TokenClasses(**counts), priced, None)
    assert cost is not None
    return cost.total


def test_no_digit_is_lost_at_the_largest_counts_and_finest_prices() -> None:
    fine = entry(input_uncached="123456.123456789012345")
    tokens = 9_007_199_254_561_600  # of the product's 31 digits, rounding to Decimal's usual 28 first would err by one
    assert _total(fine, input_uncached=tokens) == round(tokens * Fraction("123456.123456789012345") * 1000)


def test_tokens_without_a_price_make_the_call_unpriced_and_absent_classes_do_not() -> None:
    assert price_call(TokenClasses(input_audio=1), GPT_4O_MINI, None) is None
    assert price_call(TokenClasses(output_text=1), entry(input_uncached="1"), None) is None
    assert _total(entry(input_uncached="0.02"), input_uncached=7) == 7 * 20


def test_a_tier_that_has_no_price_makes_the_call_unpriced() -> None:
    assert price_call(TokenClasses(1), GPT_4O_MINI, "priority") is None


def test_a_free_model_costs_zero() -> None:
    assert _total(entry(input_uncached="0", output_text="0"), input_uncached=10, output_text=10) == 0


TWO_BRACKETS = entry(
    {
        "standard": (
            Bracket(0, {"input_uncached": Decimal(1), "output_text": Decimal(4)}),
            Bracket(1000, {"input_uncached": Decimal(2), "output_text": Decimal(6)}),
        ),
        "flex": (Bracket(0, {"input_uncached": Decimal("0.5"), "output_text": Decimal(2)}),),
    }
)


def test_above_a_threshold_the_whole_call_is_priced_higher() -> None:
    assert _total(TWO_BRACKETS, input_uncached=1000, output_text=10) == 1000 * 1000 + 10 * 4000
    assert _total(TWO_BRACKETS, input_uncached=1001, output_text=10) == 1001 * 2000 + 10 * 6000
    # Cached and written tokens count towards the threshold too.
    assert _total(TWO_BRACKETS, input_uncached=1, cached_read=1000) == 1001 * 2000


def test_bounds_of_an_unknown_input_reach_from_nothing_to_the_dearest_bracket() -> None:
    seen = Range(None, input_max=1001, output_min=3, output_max=50)
    assert bounds(TWO_BRACKETS, ["standard"], seen) == (3 * 4000, 1001 * 2000 + 50 * 6000)
    assert bounds(TWO_BRACKETS, ["standard", "flex"], seen) == (3 * 2000, 1001 * 2000 + 50 * 6000)


def test_bounds_of_a_known_input_have_it_on_both_sides() -> None:
    seen = Range(TokenClasses(input_uncached=100, cached_read=50), 9999, 2, 7)
    assert bounds(TWO_BRACKETS, ["standard"], seen) == (150 * 1000 + 2 * 4000, 150 * 1000 + 7 * 4000)


def test_a_known_input_is_in_one_bracket_only() -> None:
    for count, rate, output_rate in ((1000, 1000, 4000), (1001, 2000, 6000)):
        seen = Range(TokenClasses(input_uncached=count), 9999, 2, 7)
        inputs = count * rate
        assert bounds(TWO_BRACKETS, ["standard"], seen) == (inputs + 2 * output_rate, inputs + 7 * output_rate)


def test_bounds_take_the_dearest_input_class_that_may_apply() -> None:
    claude = entry(input_uncached="1", cached_read="0.1", cache_write_5m="1.25", cache_write_1h="2", output_text="5")
    assert bounds(claude, ["standard"], Range(None, 10, 0, 3)) == (0, 10 * 2000 + 3 * 5000)


def test_bounds_round_rates_outwards() -> None:
    fine = entry(input_uncached="0.0375", output_text="0.1505")
    assert bounds(fine, ["standard"], Range(None, 10, 4, 8)) == (4 * 150, 10 * 38 + 8 * 151)


def test_bounds_without_a_price_are_none() -> None:
    assert bounds(GPT_4O_MINI, ["priority"], Range(None, 10, 0, 3)) is None
    assert bounds(entry(input_uncached="1"), ["standard"], Range(None, 10, 0, 3)) is None
    assert bounds(entry(output_text="1"), ["standard"], Range(None, 10, 0, 3)) is None
    assert bounds(GPT_4O_MINI, ["standard"], Range(TokenClasses(input_audio=1), 10, 0, 3)) is None


def test_an_embedding_needs_no_output_price() -> None:
    assert bounds(entry(input_uncached="0.02"), ["standard"], Range(None, 10, 0, 0)) == (0, 10 * 20)


prices = st.decimals(min_value=0, max_value=1000, places=8).map(lambda price: +price)
some_prices = st.dictionaries(st.sampled_from(TOKEN_CLASSES), prices, min_size=1)
some_brackets = st.tuples(some_prices, some_prices, st.integers(1, 10**6)).map(
    lambda drawn: (Bracket(0, drawn[0]), Bracket(drawn[2], drawn[1]))
)
entries = st.builds(
    lambda tiers: entry(tiers),
    st.fixed_dictionaries({"standard": some_brackets}, optional={"flex": some_brackets}),
)
counts = st.one_of(st.just(0), st.integers(0, 2000), st.integers(0, 2**53))
token_classes = st.builds(TokenClasses, **dict.fromkeys(TOKEN_CLASSES, counts))


@given(token_classes, entries, st.sampled_from([None, "flex", "odd"]))
@settings(deadline=None)
def test_any_tokens_at_any_price(tokens: TokenClasses, priced: PriceEntry, tier: str | None) -> None:
    cost = price_call(tokens, priced, tier)
    if cost is None:
        rates = priced.rates(tier, tokens.input_total) or NO_RATES
        counted = msgspec.structs.astuple(tokens)
        assert rates is NO_RATES or any(n and rate is None for n, rate in zip(counted, rates, strict=True))
        return
    parts = msgspec.structs.astuple(cost.parts)
    assert cost.total == sum(parts)
    assert all(type(part) is int and part >= 0 for part in (*parts, cost.total))


small = st.one_of(st.just(0), st.integers(0, 10**6))
small_classes = st.builds(TokenClasses, **dict.fromkeys(TOKEN_CLASSES, small))


@given(small_classes, entries, st.sampled_from(["standard", "flex"]), st.booleans(), st.integers(0, 9))
@settings(deadline=None)
def test_bounds_hold_whatever_the_tokens_turn_out_to_be(
    tokens: TokenClasses, priced: PriceEntry, tier: str, input_known: bool, slack: int
) -> None:
    cost = price_call(tokens, priced, tier)
    inputs = TokenClasses(**{name: getattr(tokens, name) for name in INPUT_CLASSES})
    seen = Range(
        inputs if input_known else None,
        tokens.input_total + slack,
        max(0, tokens.output_total - slack),
        tokens.output_total + slack,
    )
    limits = bounds(priced, ["standard", "flex"], seen)
    if cost is not None and limits is not None:
        assert limits[0] <= cost.total <= limits[1]
