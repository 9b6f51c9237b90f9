"""Shapley parts: exact sums, the axioms, and a planted change that is found (BUYVSBUILD, check 7)."""

from decimal import Decimal
from itertools import permutations
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.report.explain import FACTORS, Factor, Inputs, explain

WEEK: dict[Factor, object] = {
    "api price": Decimal("2.5"),
    "gpu price": Decimal("2.95"),
    "volume": 1_000_000,
    "mix": Decimal("0.30"),
    "lengths": (900, 250),
    "objective": Decimal("2.0"),
    "cache": Decimal("0.25"),
    "estimator": "1",
}


def build_less_buy(inputs: Inputs) -> Decimal:
    """A small model in which every factor has a say and they multiply: GPUs in steps, a bill by tokens."""
    given = {factor: inputs[factor] for factor in FACTORS}
    calls, lengths = given["volume"], given["lengths"]
    assert isinstance(calls, int)
    assert isinstance(lengths, tuple)
    dear, cached, price, rent, objective = (
        Decimal(str(given[name])) for name in ("mix", "cache", "api price", "gpu price", "objective")
    )
    tokens = calls * (1 + dear) * (lengths[0] * (1 - cached) + 4 * lengths[1])
    buy = tokens * price / 10**6
    replicas = ceil(tokens / 10**8 / objective * Decimal(str(given["estimator"])))
    return 168 * 2 * (replicas + 1) * rent - buy


def changed(**changes: object) -> dict[Factor, object]:
    return {factor: changes.get(factor.replace(" ", "_"), WEEK[factor]) for factor in FACTORS}


ONE_CHANGE: list[dict[str, object]] = [
    {"api_price": Decimal("2.0")},
    {"gpu_price": Decimal("3.6")},
    {"volume": 1_400_000},
    {"mix": Decimal("0.45")},
    {"lengths": (1400, 250)},
    {"objective": Decimal("0.5")},
    {"cache": Decimal("0.60")},
    {"estimator": "1.4"},
]


@pytest.mark.parametrize("change", ONE_CHANGE, ids=lambda change: next(iter(change)))
def test_a_single_planted_change_is_all_of_the_explanation(change: dict[str, object]) -> None:
    after = changed(**change)
    found = explain("build less buy", WEEK, after, build_less_buy)
    assert found is not None
    assert (found.before_usd, found.after_usd) == (build_less_buy(WEEK), build_less_buy(after))
    assert [(part.factor.replace(" ", "_"), part.usd) for part in found.parts] == [
        (next(iter(change)), found.after_usd - found.before_usd)
    ]


@pytest.mark.parametrize("change", ONE_CHANGE, ids=lambda change: next(iter(change)))
def test_a_planted_change_among_the_noise_of_a_week_has_99_percent_of_the_explanation(
    change: dict[str, object],
) -> None:
    """All that is measured anew each week differs in its fifth digit."""
    noise: dict[str, object] = {"volume": 1_000_010, "mix": Decimal("0.300003"), "cache": Decimal("0.250002")}
    found = explain("buy", WEEK, changed(**(noise | change)), build_less_buy)
    assert found is not None
    parts = {part.factor.replace(" ", "_"): abs(part.usd) for part in found.parts}
    planted = parts[next(iter(change))]
    assert planted / sum(parts.values()) >= Decimal("0.99")


def test_the_parts_are_the_averages_over_all_orders() -> None:
    after = changed(api_price=Decimal(2), volume=1_700_000, lengths=(1300, 260), cache=Decimal("0.5"))
    found = explain("build less buy", WEEK, after, build_less_buy)
    assert found is not None
    moved: list[Factor] = ["api price", "volume", "lengths", "cache"]
    sums = dict.fromkeys(moved, Decimal(0))
    for order in permutations(moved):
        inputs = dict(WEEK)
        for factor in order:
            was = build_less_buy(inputs)
            inputs[factor] = after[factor]
            sums[factor] += build_less_buy(inputs) - was
    for part in found.parts:
        assert abs(part.usd - sums[part.factor] / 24) <= Decimal("4e-9")  # rounding, and what it leaves over
    assert sum(part.usd for part in found.parts) == found.after_usd - found.before_usd


@settings(max_examples=60, deadline=None)
@given(table=st.lists(st.integers(-(10**15), 10**15), min_size=256, max_size=256), places=st.sets(st.integers(0, 7)))
def test_the_parts_of_any_game_sum_to_the_difference_exactly_and_each_combination_is_asked_once(
    table: list[int], places: set[int]
) -> None:
    before: dict[Factor, object] = dict.fromkeys(FACTORS, 0)
    after: dict[Factor, object] = {factor: int(place in places) for place, factor in enumerate(FACTORS)}
    asked: list[int] = []

    def value(inputs: Inputs) -> Decimal:
        place = sum(2**bit for bit, factor in enumerate(FACTORS) if inputs[factor])
        asked.append(place)
        return Decimal(table[place]).scaleb(-9)

    found = explain("any", before, after, value)
    assert found is not None
    assert sum((part.usd for part in found.parts), Decimal(0)) == found.after_usd - found.before_usd
    assert len(asked) == len(set(asked)) == 2 ** len(places)
    assert [part.factor for part in found.parts] == [FACTORS[place] for place in sorted(places)]


def test_what_does_nothing_has_no_part_and_equals_have_equal_parts() -> None:
    found = explain(
        "any",
        dict.fromkeys(FACTORS, 1),
        dict.fromkeys(FACTORS, 2),
        lambda inputs: Decimal(100) if inputs["volume"] == inputs["mix"] == 2 else Decimal(0),
    )
    assert found is not None
    assert {part.factor: part.usd for part in found.parts if part.usd} == {"volume": Decimal(50), "mix": Decimal(50)}
    assert len(found.parts) == 8


@pytest.mark.parametrize(("together", "each", "largest"), [(1, 0, 10), (2, 1, 8)])
def test_what_rounding_leaves_over_is_in_the_largest_part(together: int, each: int, largest: int) -> None:
    """Nano-USD that three factors bring together, a third each, and 9 that a fourth brings alone."""
    three: list[Factor] = ["volume", "mix", "cache"]

    def value(inputs: Inputs) -> Decimal:
        joined = all(inputs[factor] == 2 for factor in three)
        return Decimal(together * joined + 9 * (inputs["lengths"] == 2)).scaleb(-9)

    after = {factor: 2 if factor in [*three, "lengths"] else 1 for factor in FACTORS}
    found = explain("any", dict.fromkeys(FACTORS, 1), after, value)
    assert found is not None
    assert {part.factor: int(part.usd.scaleb(9)) for part in found.parts} == {
        "volume": each,
        "mix": each,
        "lengths": largest,
        "cache": each,
    }


def test_two_equal_weeks_have_nothing_to_explain_and_an_unknown_figure_is_not_explained() -> None:
    same = explain("any", WEEK, dict(WEEK), build_less_buy)
    assert same is not None
    assert same.parts == ()
    assert same.before_usd == same.after_usd
    assert explain("any", WEEK, changed(volume=2), lambda inputs: None if inputs["volume"] == 2 else Decimal(1)) is None
