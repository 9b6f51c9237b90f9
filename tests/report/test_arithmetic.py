"""Page one: every line is redone here from its own formula and the values that it names."""

import math
import re
from datetime import date
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.record import TokenClasses
from submeter.report.arithmetic import DEFAULT, Line, PageOne, break_even_volume, page_one
from submeter.report.assumptions import Assumptions

CALL = Row(tokens=TokenClasses(input_uncached=600_000, cached_read=400_000, output_text=200_000), cost_nano_usd=10**9)
ROWS = [
    *[msgspec.structs.replace(CALL, at_h=30 + minute / 60) for minute in range(50)],
    *[msgspec.structs.replace(CALL, at_h=hour + 0.5) for hour in range(0, 168, 8)],
    msgspec.structs.replace(CALL, at_h=3, cache="hit"),
    Row(tokens=None, at_h=4, cost_state="indeterminate"),
]


def page(rows: list[Row] = ROWS) -> tuple[PageOne, Assumptions]:
    assumed = Assumptions(date(2026, 11, 23))
    return page_one(trace_of(rows), WEEK, assumed), assumed


def values(rows: list[Row] = ROWS) -> dict[str, Decimal | None]:
    found, _ = page(rows)
    return {line.id: line.value for line in (*found.lines, *found.believe)}


def test_the_week_in_sums() -> None:
    found = values()
    assert (found["week_usd"], found["calls"], found["cached_calls"]) == (71, 72, 1)
    assert (found["input_tokens"], found["cached_input_tokens"], found["output_tokens"]) == (
        71 * 1_000_000,
        71 * 400_000,
        71 * 200_000,
    )
    assert found["peak_hour_calls"] == 50
    assert found["usd_per_1000_calls"] == Decimal("986.111111")
    # 50 calls in the busiest hour: (50e6 / 13,700 + 10e6 / 6,860) / 3600.
    assert found["busiest_replicas"] == Decimal("1.41871138")
    assert (found["replicas"], found["gpus"]) == (2, 6)
    assert found["fleet_usd"] == 6 * 168 * Decimal("2.95")
    assert found["break_even_engineer_usd"] == 71 - 6 * 168 * Decimal("2.95")
    assert found["volume_multiple"] is None


def _redo(line: Line, known: dict[str, Decimal]) -> float:
    formula = line.formula.replace("×", "*").replace("^", "**")
    for word in sorted(known, key=len, reverse=True):
        formula = re.sub(rf"(?<![a-z0-9_.]){re.escape(word)}(?![a-z0-9_.])", f"({float(known[word])})", formula)
    return float(eval(formula, {"__builtins__": {}}, {"ceil": math.ceil, "max": max}))  # noqa: S307


@given(
    st.lists(
        st.builds(
            Row,
            tokens=st.builds(TokenClasses, input_uncached=st.integers(1, 10**8), output_text=st.integers(0, 10**8)),
            cost_nano_usd=st.integers(1, 10**12),
            at_h=st.integers(0, 167),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_each_formula_gives_its_value_from_the_values_that_it_names(rows: list[Row]) -> None:
    found, assumed = page(rows)
    known = {line.id: line.value for line in found.lines if line.value is not None}
    known |= {each.id: Decimal(each.value.split()[0]) for each in assumed.listed()}
    redone = [line for line in (*found.lines, *found.believe) if line.inputs and line.id != "volume_multiple"]
    assert len(redone) == 12
    for line in redone:
        assert line.value is not None
        named = {name: known[name] for name in line.inputs}
        assert float(line.value) == pytest.approx(_redo(line, named), rel=1e-6, abs=1e-6), line.id


def test_every_input_is_a_line_or_an_assumption_with_its_source() -> None:
    found, assumed = page()
    known = {line.id for line in found.lines} | {each.id for each in assumed.listed()}
    assert all(set(line.inputs) <= known for line in (*found.lines, *found.believe))
    assert found.believe[0].inputs == (
        "week_usd",
        "busiest_replicas",
        "gpus_per_replica",
        "gpu.h100_sxm.usd_per_hour",
    )
    assert assumed["input_tokens_per_s"].by == "catalog"


def test_the_rates_of_the_class_are_those_of_its_two_published_figures() -> None:
    # d seconds a token out and p seconds a token in: 1/6651 = d + 128/2048 p, 1/762 = d + 2048/128 p.
    p = (1 / 762 - 1 / 6651) / (2048 / 128 - 128 / 2048)
    d = 1 / 6651 - 128 / 2048 * p
    assert float(DEFAULT.input_tokens_per_s) == pytest.approx(1 / p, rel=0.002)
    assert float(DEFAULT.output_tokens_per_s) == pytest.approx(1 / d, rel=0.002)
    # Of the same document, 1,000 in and 1,000 out: 4,205. The two rates are a tenth too good there, never too bad.
    assert 1 < 1 / (d + p) / 4205 < 1.1


def test_a_week_without_calls_has_a_page_too() -> None:
    found = values([])
    assert (found["week_usd"], found["calls"], found["replicas"], found["gpus"]) == (0, 0, 1, 4)
    assert (found["usd_per_1000_calls"], found["usd_per_million_tokens"], found["volume_multiple"]) == (None,) * 3
    assert msgspec.json.decode(msgspec.json.encode(page([])[0]))["lines"][0]["id"] == "week_usd"


def test_break_even_volume_by_hand() -> None:
    # One busy replica of $500 serves $1,000: two are paid for at 1 × the volume, which one serves just so.
    assert break_even_volume(Decimal(1000), Decimal(1), Decimal(500)) == 1
    # $600: n serves up to n times $1,000 and costs (n + 1) × $600; first for n = 2, at 1.8 times.
    assert break_even_volume(Decimal(1000), Decimal(1), Decimal(600)) == Decimal("1.8")
    assert break_even_volume(Decimal(1000), Decimal(1), Decimal(1000)) is None
    assert break_even_volume(Decimal(0), Decimal(0), Decimal(500)) is None
    assert break_even_volume(Decimal(2000), Decimal("0.1"), Decimal(500)) == Decimal("0.5")


@given(st.integers(1, 10**5), st.integers(0, 500), st.integers(1, 10**4))
def test_break_even_volume_is_the_least_at_which_the_bill_pays(bill: int, busy_percent: int, replica: int) -> None:
    busy = Decimal(busy_percent) / 100
    found = break_even_volume(Decimal(bill), busy, Decimal(replica))

    def pays(multiple: float) -> bool:
        replicas = max(1, math.ceil(multiple * float(busy) - 1e-6))
        return multiple * bill * (1 + 1e-6) >= (replicas + 1) * replica

    if found is None:
        assert not any(pays(multiple / 10) for multiple in range(1, 2000, 7))
        return
    assert pays(float(found))
    assert not any(pays(float(found) * part / 50) for part in range(1, 50))
