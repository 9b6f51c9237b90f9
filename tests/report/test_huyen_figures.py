"""The 2023 figures that the question came from, redone by the arithmetic behind ``submeter whatif``.

Huyen, "Building LLM applications for production", 2023, section "Cost and latency", at OpenAI's prices of then: GPT-4
0.06 in and 0.12 out, gpt-3.5-turbo 0.002 either way, ada-002 0.0004, in USD per 1,000 tokens.
"""

from decimal import Decimal

import numpy as np

from report.tiny_traces import Row, trace_of
from submeter.core.cost import price_call
from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.core.whatif import Change, changed
from submeter.report.money import Pricing, reprice, usd
from submeter.report.trace import total_nano_usd


def entry(model: str, usd_per_1000_in: str, usd_per_1000_out: str) -> PriceEntry:
    prices = {"input_uncached": Decimal(usd_per_1000_in) * 1000, "output_text": Decimal(usd_per_1000_out) * 1000}
    return PriceEntry(model=model, provider="openai", tiers={"standard": (Bracket(0, prices),)})


GPT_4 = entry("gpt-4-32k", "0.06", "0.12")
TURBO = entry("gpt-3.5-turbo", "0.002", "0.002")
ADA = entry("text-embedding-ada-002", "0.0004", "0")
PRICING = Pricing(PriceBook((GPT_4, TURBO, ADA)), {"openai": Origin("openai")})


def cost_usd(entry: PriceEntry, tokens: TokenClasses) -> Decimal:
    """Of one call; the columns of a report say the same."""
    cost = price_call(tokens, entry, None)
    assert cost is not None
    columns = reprice(trace_of([Row(tokens=tokens, model_served=entry.model)]), PRICING)
    assert columns.nano_usd.tolist() == [cost.total]
    return usd(cost.total)


LONG_PROMPT = TokenClasses(input_uncached=10_000, output_text=200)


def test_a_prediction_of_10000_tokens_in_and_200_out() -> None:
    assert cost_usd(GPT_4, LONG_PROMPT) == 10 * Decimal("0.06") + Decimal("0.2") * Decimal("0.12") == Decimal("0.624")


def test_an_experiment_of_20_examples_and_25_prompt_versions() -> None:
    rows = [Row(tokens=LONG_PROMPT, model_served="gpt-4-32k", at_h=version) for version in range(25)] * 20
    assert usd(total_nano_usd(reprice(trace_of(rows), PRICING).nano_usd)) == 20 * 25 * Decimal("0.624") == 312


def test_embeddings_of_10000_items_of_250_tokens() -> None:
    assert 10_000 * cost_usd(ADA, TokenClasses(input_uncached=250)) == 10_000 * Decimal("0.25") * Decimal("0.0004") == 1


def test_1000_prompt_tokens_fewer_in_a_million_calls() -> None:
    before = TokenClasses(input_uncached=3000, output_text=100)
    after = changed(before, Change(fewer_input_tokens=1000))
    trace = trace_of([Row(tokens=tokens, model_served="gpt-3.5-turbo") for tokens in (before, after)])
    costs = reprice(trace, PRICING).nano_usd * np.int64(10**6)
    assert usd(int(costs[0] - costs[1])) == 10**6 * 1 * Decimal("0.002") == 2000


def test_10_billion_calls_a_day_and_the_call_that_is_misprinted() -> None:
    # 4,000 tokens in and 4,000 out at 0.002 per 1,000 are 0.016. The article prints 0.004, with which it goes on.
    call = cost_usd(TURBO, TokenClasses(input_uncached=4000, output_text=4000))
    assert call == (4 + 4) * Decimal("0.002") == Decimal("0.016")
    assert 10**10 * Decimal("0.004") == 40 * 10**6  # as printed
    assert 10**10 * call == 160 * 10**6  # as corrected
