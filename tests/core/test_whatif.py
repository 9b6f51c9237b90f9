"""The arithmetic of ``whatif``, and the figures of Chip Huyen's "Building LLM applications for production" (2023)."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.cost import price_call
from submeter.core.pricebook import Bracket, PriceEntry
from submeter.core.record import TOKEN_CLASSES, TokenClasses
from submeter.core.whatif import Change, changed

CALL = TokenClasses(input_uncached=1000, cached_read=600, cache_write_5m=400, output_text=250, reasoning=50)


def test_without_a_change_nothing_changes() -> None:
    assert changed(CALL, Change()) == CALL


def test_the_tokenizer_scales_everything_and_the_length_only_the_output() -> None:
    after = changed(CALL, Change(tokenizer_ratio=Decimal("1.1"), length_ratio=Decimal("0.5")))
    assert after == TokenClasses(
        input_uncached=1100,
        cached_read=660,
        cache_write_5m=440,
        output_text=138,  # 250 × 1.1 × 0.5 = 137.5, half-even
        reasoning=28,  # 27.5
    )


def test_fewer_input_tokens_are_taken_where_they_cost_most_and_never_below_zero() -> None:
    assert changed(CALL, Change(fewer_input_tokens=1200)) == msgspec.structs.replace(
        CALL, input_uncached=0, cached_read=400
    )
    assert changed(CALL, Change(fewer_input_tokens=5000)).input_total == 400  # what was written to the cache stays


def test_a_cached_share_splits_the_text_input_anew() -> None:
    call = msgspec.structs.replace(CALL, input_audio=30)
    after = changed(call, Change(cached_share=Decimal("0.25")))
    assert after == TokenClasses(input_uncached=1500, cached_read=500, input_audio=30, output_text=250, reasoning=50)


shares = st.none() | st.decimals(0, 1, places=4)
ratios = st.decimals(0, 10, places=4)


@given(
    st.builds(TokenClasses, **dict.fromkeys(TOKEN_CLASSES, st.integers(0, 10**9))),
    st.builds(
        Change,
        tokenizer_ratio=ratios,
        length_ratio=ratios,
        cached_share=shares,
        fewer_input_tokens=st.integers(0, 10**9),
    ),
)
def test_no_change_makes_a_count_negative(tokens: TokenClasses, change: Change) -> None:
    after = changed(tokens, change)
    assert min(msgspec.structs.astuple(after)) >= 0
    cached_only = changed(tokens, Change(cached_share=change.cached_share))
    assert cached_only.input_total == tokens.input_total


# ---- Huyen's worked figures, at the prices of April 2023 ------------------------------------------------------


def of_2023(model: str, per_thousand_in: str, per_thousand_out: str = "0") -> PriceEntry:
    prices = {"input_uncached": Decimal(per_thousand_in) * 1000, "output_text": Decimal(per_thousand_out) * 1000}
    return PriceEntry(model=model, provider="openai", tiers={"standard": (Bracket(0, prices),)})


GPT_4_32K = of_2023("gpt-4-32k", "0.06", "0.12")
GPT_35 = of_2023("gpt-3.5-turbo", "0.002", "0.002")
ADA_002 = of_2023("text-embedding-ada-002", "0.0004")


def usd(entry: PriceEntry, tokens: TokenClasses) -> Decimal:
    cost = price_call(tokens, entry, None)
    assert cost is not None
    return cost.total * Decimal("1e-9")


def test_one_long_prompt_to_gpt_4() -> None:
    """10k tokens in and 200 out at $0.06 and $0.12 per 1k."""
    cost = usd(GPT_4_32K, TokenClasses(input_uncached=10_000, output_text=200))
    assert cost == 10 * Decimal("0.06") + Decimal("0.2") * Decimal("0.12") == Decimal("0.624")


def test_evaluating_prompts() -> None:
    """20 examples, each under 25 versions of the prompt."""
    cost = usd(GPT_4_32K, TokenClasses(input_uncached=10_000, output_text=200))
    assert 20 * 25 * cost == 312


def test_embedding_items() -> None:
    """10,000 items of 250 tokens each."""
    assert 10_000 * usd(ADA_002, TokenClasses(input_uncached=250)) == 1


def test_a_thousand_tokens_less_in_the_prompt() -> None:
    """Fine-tuning, or a shorter prompt version: 1k fewer tokens over a million calls of gpt-3.5-turbo."""
    call = TokenClasses(input_uncached=1500, output_text=300)
    shorter = changed(call, Change(fewer_input_tokens=1000))
    assert 1_000_000 * (usd(GPT_35, call) - usd(GPT_35, shorter)) == 2000


def test_ten_billion_calls_a_day() -> None:
    """DoorDash's 10 billion predictions a day at $0.004 each."""
    each = usd(GPT_35, TokenClasses(input_uncached=1000, output_text=1000))
    assert each == Decimal("0.004")
    assert 10 * 10**9 * each == 40_000_000


@pytest.mark.parametrize(
    ("tokens", "printed", "right"),
    [
        # CORRECTED: the text prints $0.004 for 4k tokens in and 4k out at $0.002 per 1k. That is the cost of 1k and
        # 1k (as in the test above); 4k and 4k cost four times as much.
        (TokenClasses(input_uncached=4000, output_text=4000), Decimal("0.004"), Decimal("0.016")),
    ],
)
def test_the_figure_that_is_corrected(tokens: TokenClasses, printed: Decimal, right: Decimal) -> None:
    assert usd(GPT_35, tokens) == right != printed
