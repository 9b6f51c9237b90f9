"""A week's bill taken apart and put together again: each planted change is found where it was planted."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.tiny_traces import Row, trace_of
from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.report.changes import Changed, bought, explained
from submeter.report.document import Explained, Rented


def book(price_in: str, price_out: str) -> PriceBook:
    prices = {
        "input_uncached": Decimal(price_in),
        "cached_read": Decimal(price_in) / 10,
        "output_text": Decimal(price_out),
    }
    entries = (PriceEntry(model=name, provider="openai", tiers={"standard": (Bracket(0, prices),)}) for name in "ab")
    return PriceBook(tuple(entries), (), "1")


OPENAI = {"openai": Origin("openai")}
DEAR, CHEAP = book("2", "10"), book("1", "5")
FLEET = Rented(
    replicas=4,
    idle_replicas=1,
    gpus=2,
    usd_per_gpu_hour=Decimal("2.95"),
    week_usd=5 * 2 * 168 * Decimal("2.95") + 500,
    objective_s=(2.0, 0.05),
    estimator="a model on a GPU, 1.0",
)


def call(model: str = "a", uncached: int = 1000, cached: int = 0, out: int = 100, prices: PriceBook = DEAR) -> Row:
    tokens = TokenClasses(input_uncached=uncached, cached_read=cached, output_text=out)
    rate = prices.snapshot[0].tiers["standard"][0].usd_per_million
    cost = uncached * rate["input_uncached"] + cached * rate["cached_read"] + out * rate["output_text"]
    return Row(model_served=model, tokens=tokens, cost_nano_usd=int(cost * 1000))


def week(rows: list[Row], prices: PriceBook = DEAR, fleet: Rented | None = None) -> Changed:
    return Changed(bought(trace_of(rows), prices, OPENAI), fleet)


def parts(found: Explained | None) -> dict[str, Decimal]:
    assert found is not None
    assert sum((part.usd for part in found.parts), Decimal(0)) == found.after_usd - found.before_usd
    return {part.factor: part.usd for part in found.parts}


CALL_USD = Decimal(1000 * 2 + 100 * 10) / 10**6  # $0.003


def test_more_calls_are_volume() -> None:
    assert parts(explained(week([call()] * 10), week([call()] * 15))) == {"volume": 5 * CALL_USD}


def test_a_new_price_is_the_apis() -> None:
    found = parts(explained(week([call()] * 10), week([call(prices=CHEAP)] * 10, CHEAP)))
    assert found == {"api price": -10 * CALL_USD / 2}


def test_longer_prompts_are_lengths() -> None:
    found = parts(explained(week([call()] * 10), week([call(uncached=2000)] * 10)))
    assert found == {"lengths": 10 * 1000 * Decimal(2) / 10**6}


def test_a_warmer_cache_of_the_provider_is_cache() -> None:
    found = parts(explained(week([call()] * 10), week([call(uncached=400, cached=600)] * 10)))
    assert found == {"cache": -10 * 600 * Decimal("1.8") / 10**6}


def test_a_warmer_cache_of_submeter_is_cache() -> None:
    hit = Row(model_served="a", cache="hit", cost_state="exact", cost_nano_usd=0)
    found = parts(explained(week([call()] * 10), week([call()] * 6 + [hit] * 4)))
    assert found == {"cache": -4 * CALL_USD}


def test_another_mix_of_models_is_mix() -> None:
    long = call("b", uncached=9000)
    found = parts(explained(week([call()] * 6 + [long] * 4), week([call()] * 4 + [long] * 6)))
    assert found == {"mix": 2 * 8000 * Decimal(2) / 10**6}


def test_a_model_that_comes_and_one_that_goes_are_mix() -> None:
    found = parts(explained(week([call()] * 10), week([call("b", out=200)] * 10)))
    assert found["mix"] == 10 * 100 * Decimal(10) / 10**6


def test_what_tokens_do_not_explain_is_the_apis() -> None:
    """Such as a price that was another one then: the recorded bill counts."""
    dearer = msgspec.structs.replace(call(), cost_nano_usd=2 * 3_000_000)
    assert parts(explained(week([call()] * 10), week([dearer] * 10))) == {"api price": 10 * CALL_USD}


def test_a_gpu_that_is_dearer() -> None:
    dearer = msgspec.structs.replace(
        FLEET, usd_per_gpu_hour=Decimal("3.95"), week_usd=5 * 2 * 168 * Decimal("3.95") + 500
    )
    found = explained(week([call()] * 10, fleet=FLEET), week([call()] * 10, fleet=dearer))
    assert parts(found) == {"gpu price": Decimal(5 * 2 * 168)}
    assert found is not None
    assert found.figure == "BUILD less the recorded bill"
    assert found.before_usd == FLEET.week_usd - 10 * CALL_USD


@pytest.mark.parametrize(
    ("factor", "change"), [("objective", {"objective_s": (1.0, 0.05)}), ("estimator", {"estimator": "2.0"})]
)
def test_a_fleet_that_grew_for_another_reason_than_work(factor: str, change: dict[str, object]) -> None:
    grown = msgspec.structs.replace(FLEET, replicas=6, week_usd=7 * 2 * 168 * Decimal("2.95") + 500, **change)
    found = parts(explained(week([call()] * 10, fleet=FLEET), week([call()] * 10, fleet=grown)))
    assert found.pop(factor) == 2 * 2 * 168 * Decimal("2.95")
    assert not any(found.values())


def test_bursts_that_need_more_replicas_come_with_the_volume() -> None:
    grown = msgspec.structs.replace(FLEET, replicas=6, week_usd=7 * 2 * 168 * Decimal("2.95") + 500)
    found = parts(explained(week([call()] * 10, fleet=FLEET), week([call()] * 10, fleet=grown)))
    assert found == {"volume": 2 * 2 * 168 * Decimal("2.95")}


calls = st.builds(
    call,
    model=st.sampled_from("ab"),
    uncached=st.integers(0, 5000),
    cached=st.integers(0, 500),
    out=st.integers(1, 500),
)


@settings(max_examples=60, deadline=None)
@given(before=st.lists(calls, min_size=1, max_size=6), after=st.lists(calls, min_size=1, max_size=6))
def test_both_ends_are_the_recorded_bills_to_the_nano_dollar(before: list[Row], after: list[Row]) -> None:
    found = explained(week(before), week(after))
    assert found is not None
    parts(found)
    for rows, said in ((before, found.before_usd), (after, found.after_usd)):
        assert said == Decimal(sum(row.cost_nano_usd or 0 for row in rows)).scaleb(-9)
