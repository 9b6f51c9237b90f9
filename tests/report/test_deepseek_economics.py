"""DeepSeek's own figures of a day of its fleet, redone by this report's arithmetic.

DeepSeek, "Day 6: One More Thing, DeepSeek-V3/R1 Inference System Overview", open-infra-index, 2025-03-01: in 24 hours
608 billion tokens in, 342 billion of these from the cache, and 168 billion out; 226.75 nodes of 8 H800 on average, each
reading 73,700 tokens a second or writing 14,800; USD 2 per GPU-hour; R1's prices of then.
"""

from datetime import date
from decimal import Decimal

import pytest

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.report.arithmetic import EquivalentClass, page_one
from submeter.report.assumptions import Assumptions
from submeter.report.build import Built, Costs, Fleet, GpuPrice, build
from submeter.report.buy import Market, Offer, price_offer
from submeter.report.money import Option

BILLION = 10**9
TOKENS = TokenClasses(input_uncached=266 * BILLION, cached_read=342 * BILLION, output_text=168 * BILLION)
DAY = Row(tokens=TOKENS, model_served="deepseek-r1", at_h=0)
R1 = PriceEntry(
    model="deepseek-r1",
    provider="deepseek",
    tiers={
        "standard": (
            Bracket(
                0,
                {"input_uncached": Decimal("0.55"), "cached_read": Decimal("0.14"), "output_text": Decimal("2.19")},
            ),
        )
    },
)
H800 = GpuPrice(usd=Decimal(2), low=Decimal(2), high=Decimal(2), source="day 6", checked_on=date(2025, 3, 1))
NODE = EquivalentClass(
    name="deepseek-r1 on 8 x h800",
    gpu="h800",
    gpus=8,
    input_tokens_per_s=Decimal(73_700),
    output_tokens_per_s=Decimal(14_800),
    source="day 6",
    as_of=date(2025, 3, 1),
)


def assumptions() -> Assumptions:
    return Assumptions(date(2026, 11, 23))


def test_226_nodes_and_three_quarters_cost_87072_a_day() -> None:
    # 18 hours of 227 nodes and 6 of 226 are 5,442 node-hours: 226.75 × 24 × 8 GPUs × USD 2.
    hours = ((227,) * 18 + (226,) * 6) * 7
    fleet = Fleet(gpu="h800", tensor_parallel=8, replicas_by_hour=hours, rent_by="node")
    found = build("its own", fleet, Costs(engineer_usd_per_week=Decimal(0), price=H800), assumptions())
    assert isinstance(found, Built)
    assert found.option.usd_by_day == (Decimal(87_072),) * 7
    assert Decimal("226.75") * 8 * 24 * 2 == 87_072


def test_the_nodes_that_its_rates_need_are_those_it_had() -> None:
    page = page_one(trace_of([DAY]), WEEK, assumptions(), NODE, H800)
    busy_s = next(line.value for line in page.lines if line.id == "busy_s")
    assert busy_s is not None
    # 608e9 / 73,700 + 168e9 / 14,800 seconds of one node, in a day of 86,400.
    assert float(busy_s / 86_400 / Decimal("226.75")) == pytest.approx(1.0, abs=0.002)


def test_its_margin_at_the_list_price_is_545_percent() -> None:
    market = Market(PriceBook((R1,)), {"openai": Origin("openai")}, assumptions())
    found = price_offer("buy", trace_of([DAY]), WEEK, Offer(model="deepseek-r1", provider="deepseek"), market)
    assert isinstance(found, Option)
    # 266e9 × 0.55 + 342e9 × 0.14 + 168e9 × 2.19, by the million.
    assert found.weekly_usd == 146_300 + 47_880 + 367_920
    # It says USD 562,027, of token counts that it rounds to billions in print.
    assert float(found.weekly_usd) == pytest.approx(562_027, rel=0.0002)
    assert int((found.weekly_usd - 87_072) * 100 / 87_072) == 545
