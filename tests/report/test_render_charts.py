"""Scales with round ticks, and marks that stay in their view box whatever the numbers are."""

import re
from decimal import Decimal
from itertools import pairwise
from math import inf, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.report_stub import make_choices, make_fleet, make_staircase, make_swings, make_trend, make_workload
from submeter.report import charts_bars, charts_lines
from submeter.report.charts import Drawing, Scale, fitting, linear, logarithmic, shortened, stepped, thinned
from submeter.report.document import Band, Curve, Explained, Part, Staircase, Swing, TrendPoint

AMOUNTS = st.floats(-1e9, 1e9, allow_subnormal=False).map(lambda value: 0.0 if abs(value) < 1e-6 else value)
POSITIVE = st.floats(1e-6, 1e9)
USD = st.decimals(-(10**9), 10**9, places=2)
ACROSS, UP, WIDE, HIGH = (
    {"x", "x1", "x2", "cx"},
    {"y", "y1", "y2", "cy"},
    {"x": "width"},
    {"y": "height"},
)


def places(drawing: Drawing) -> list[tuple[float, float]]:
    """Every corner that a mark has."""
    found: list[tuple[float, float]] = []
    for mark in drawing.marks:
        at = mark.at
        if mark.tag == "path":
            found += [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+) ([^MLZ]+)", str(at["d"]))]
        elif mark.tag == "rect":
            x, y, width, height = (float(at[name]) for name in ("x", "y", "width", "height"))
            found += [(x, y), (x + width, y + height)]
        else:
            xs, ys = ([float(at[name]) for name in at if name in names] for names in (ACROSS, UP))
            found += list(zip(xs, ys, strict=True))
    return found


def assert_within(drawing: Drawing) -> None:
    corners = places(drawing)
    assert corners
    assert all(-0.1 <= x <= drawing.width + 2 and -0.1 <= y <= drawing.height for x, y in corners)
    assert drawing.title
    assert drawing.description
    assert drawing.missing is None
    assert all(len(row) == len(drawing.head) for row in drawing.rows)
    assert drawing.rows


# -- scales ---------------------------------------------------------------------------------------------------------


def test_ticks_are_round() -> None:
    assert linear([0, 97], 0, 100).ticks == (0, 20, 40, 60, 80, 100)
    assert linear([-0.12, 0.31], 0, 100).ticks == (-0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4)
    assert linear([0.3], 0, 100, 3).ticks == (0, 0.1, 0.2, 0.3)
    assert logarithmic([1, 80], 0, 100).ticks == (1, 2, 5, 10, 20, 50)
    assert logarithmic([0.1, 20], 0, 100).ticks == (0.1, 0.3, 1, 3, 10)
    assert logarithmic([1, 10**9], 0, 100).ticks == (1, 100, 10**4, 10**6, 10**8)
    assert linear([], 0, 100).ticks == (0, 0.2, 0.4, 0.6, 0.8, 1)
    assert linear([nan, inf, 4], 0, 100, 2).ticks == (0, 2, 4)


def test_places_by_hand() -> None:
    assert [linear([0, 100], 50, 450)(value) for value in (0, 25, 100)] == [50, 150, 450]
    up = linear([0, 100], 200, 0)
    assert [up(value) for value in (0, 25, 100)] == [200, 150, 0]
    log = Scale(1, 100, 0, 100, (1, 10, 100), log=True)
    assert [log(value) for value in (0, 1, 10, 100, 1000)] == [0, 0, 50, 100, 100]
    assert not fitting([1, 20], 0, 1).log
    assert fitting([1, 21], 0, 1).log
    assert not fitting([0, 21], 0, 1).log


@given(st.lists(AMOUNTS, min_size=1, max_size=8), st.integers(1, 9))
def test_a_linear_scale_holds_its_values_between_few_round_ticks(values: list[float], most: int) -> None:
    scale = linear(values, 50, 450, most)
    steps = [after - before for before, after in pairwise(scale.ticks)]
    assert min(steps) > 0
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert 1 <= len(steps) <= most + 1
    assert f"{steps[0]:.6e}"[0] in "125"
    assert scale.low <= min(0, *values)
    assert max(0, *values) <= scale.high
    assert all(50 <= scale(value) <= 450 for value in values)


@given(st.lists(POSITIVE, min_size=2, max_size=8))
def test_both_kinds_of_scale_keep_the_order(values: list[float]) -> None:
    for scale in (linear(values, 0, 400), logarithmic(values, 0, 400), fitting(values, 0, 400)):
        ordered = [scale(value) for value in sorted(values)]
        assert ordered == sorted(ordered)
        assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
        assert len(scale.ticks) <= 8
        assert all(0 <= place <= 400 for place in ordered)


# -- small parts ----------------------------------------------------------------------------------------------------


def test_small_parts() -> None:
    assert stepped([(0, 1), (2, 3), (4, 0)]) == [(0, 1), (2, 1), (2, 3), (4, 3), (4, 0)]
    assert stepped([]) == []
    assert shortened("a long name", 7) == "a long…"
    assert shortened("short", 7) == "short"
    rows = thinned([(str(at),) for at in range(1000)])
    assert len(rows) <= 48
    assert (rows[0], rows[-1]) == (("0",), ("999",))
    assert thinned([("1",), ("2",)]) == (("1",), ("2",))


# -- plots with two axes --------------------------------------------------------------------------------------------


def test_the_staircase() -> None:
    drawing = charts_lines.staircase("s", make_staircase(), (0.658, 2.5))
    assert_within(drawing)
    assert drawing.head == ("Volume", "buy", "rent open", "build, more callers", "build, the same callers more often")
    assert drawing.rows[3] == ("1×", "$2.76k", "$1.711k", "$1.31k", "$1.31k")
    kinds = [mark.kind for mark in drawing.marks]
    assert (kinds.count("flip"), kinds.count("now")) == (2, 1)
    assert "meet at 0.658 × and 2.50 ×" in drawing.description
    buy, build = (mark for mark in drawing.marks if mark.kind in ("line buy", "line build"))
    assert (str(buy.at["d"]).count("L"), str(build.at["d"]).count("L")) == (96, 96)
    assert (kinds.count("dot buy"), kinds.count("dot build")) == (9, 18)


@given(
    st.lists(st.tuples(POSITIVE, AMOUNTS | st.just(nan)), min_size=1, max_size=9, unique_by=lambda point: point[0]),
    st.lists(POSITIVE, max_size=3),
)
def test_any_staircase_stays_in_its_box(points: list[tuple[float, float]], flips: list[float]) -> None:
    ordered = sorted(points)
    curve = Curve(tuple(x for x, _ in ordered), tuple(y for _, y in ordered))
    drawing = charts_lines.staircase("s", Staircase(buy=curve, rent=None, build_independent=curve,
                                                    build_correlated=None), flips)  # fmt: skip
    if drawing.missing is None:
        assert_within(drawing)


def test_demand_and_capacity_of_each_hour() -> None:
    drawing = charts_lines.hourly("h", make_fleet())
    assert_within(drawing)
    assert len(drawing.rows) == 168
    assert drawing.rows[38] == ("Tue 14:00", "2.00", "4.00")
    assert drawing.rows[5][2] == "2.00"
    assert "busiest hour needs 2.00 (Mon 14:00)" in drawing.description
    constant = make_fleet(hourly_capacity=Curve((0.0,), (3.0,)))
    path = next(mark for mark in charts_lines.hourly("h", constant).marks if mark.kind == "line build")
    assert re.findall(r"[ML](\S+) ", str(path.at["d"]))[-1] == "446"


def test_the_trend_has_gaps_and_verdicts() -> None:
    drawing = charts_lines.trend("t", make_trend())
    assert_within(drawing)
    kinds = [mark.kind for mark in drawing.marks]
    assert (kinds.count("line buy"), kinds.count("line rent"), kinds.count("line build")) == (1, 2, 1)
    assert (kinds.count("dot buy"), kinds.count("dot rent"), kinds.count("dot build")) == (12, 10, 10)
    assert (kinds.count("bar rent"), kinds.count("bar build")) == (9, 2)
    assert drawing.rows[0] == ("2026-W36", "180,000", "$1,900.00", "$1,390", "–", "–")
    assert drawing.legend == (("buy", "buy"), ("rent", "rent open"), ("build", "build"))


@given(st.lists(st.tuples(USD, st.none() | USD), min_size=2, max_size=13))
def test_any_trend_stays_in_its_box(amounts: list[tuple[Decimal, Decimal | None]]) -> None:
    weeks = [
        TrendPoint(
            week=f"2026-W{at:02d}", calls=1, buy_usd=buy, rent_open_usd=rent, build_usd=rent, verdict="TOO CLOSE"
        )
        for at, (buy, rent) in enumerate(amounts, 1)
    ]
    assert_within(charts_lines.trend("t", weeks))


def test_latencies_as_shares() -> None:
    proof = make_fleet().proof
    drawing = charts_lines.cdf("c", proof)
    assert_within(drawing)
    assert {row[0] for row in drawing.rows} == {"simulated fleet", "recorded"}
    assert "p95 within 800 ms" in drawing.description
    alone = charts_lines.cdf("c", msgspec.structs.replace(proof, ttft_cdf_recorded=None))
    assert [kind for kind, _ in alone.legend] == ["build"]


# -- plots of rows --------------------------------------------------------------------------------------------------


def test_intervals_show_the_best_of_each_kind() -> None:
    drawing = charts_bars.intervals("i", make_workload())
    assert_within(drawing)
    assert [row[0] for row in drawing.rows] == ["buy", "buy", "rent", "build"]
    assert drawing.rows[3] == ("build", "llama-3.3-70b on 2 x h100_sxm, fp8, hourly", "$1,313", "$1,050 to $1,980")
    band = next(mark for mark in drawing.marks if mark.kind == "band build")
    # $0 to $3k over 428 units of the view box, from 8 on.
    left, width = float(band.at["x"]), float(band.at["width"])
    assert (left, left + width) == pytest.approx((8 + 428 * 1050 / 3000, 8 + 428 * 1980 / 3000), abs=0.02)


def test_the_choice_of_a_kind_is_the_one_that_was_judged() -> None:
    """The cheapest build may be one that fails the objective."""
    cheaper = msgspec.structs.replace(make_choices()[2], name="too small", week_usd=Decimal(700))
    workload = make_workload(choices=(cheaper, *make_choices()))
    assert [choice.name for choice in charts_bars.best_choices(workload)] == [
        "gpt-4o at openai, batch", "llama-3.3-70b at together_ai", "llama-3.3-70b on 2 x h100_sxm, fp8, hourly",
    ]  # fmt: skip
    withheld = msgspec.structs.replace(workload, build_usd=None)
    assert [choice.kind for choice in charts_bars.best_choices(withheld)] == ["buy", "rent"]


@given(USD, st.tuples(USD, USD).map(sorted))
def test_any_interval_stays_in_its_box(paid: Decimal, ends: list[Decimal]) -> None:
    workload = make_workload(buy_usd=paid, buy_band=Band(*ends), choices=())
    assert_within(charts_bars.intervals("i", workload))


def test_the_tornado_is_widest_first() -> None:
    drawing = charts_bars.tornado("t", make_swings(), Decimal("-398.65"))
    assert_within(drawing)
    assert [row[0] for row in drawing.rows][:2] == ["engineer share", "GPU $/h"]
    assert len(drawing.rows) == 9
    assert "The widest is engineer share; 1 more in the table" in drawing.description
    low, high = next((low, high) for low, high in pairwise(drawing.marks)
                     if (low.kind, high.kind) == ("bar low", "bar high"))  # fmt: skip
    assert float(low.at["x"]) + float(low.at["width"]) == pytest.approx(float(high.at["x"]), abs=0.02)
    assert low.title == "engineer share $750: −$1,150 a week"


@given(st.lists(st.tuples(USD, USD), min_size=1, max_size=12), st.none() | USD)
def test_any_tornado_stays_in_its_box(ends: list[tuple[Decimal, Decimal]], now: Decimal | None) -> None:
    swings = [
        Swing(factor=f"f{at}", at_low=low, at_high=high, low="0", high="1") for at, (low, high) in enumerate(ends)
    ]
    assert_within(charts_bars.tornado("t", swings, now))


def test_the_waterfall_goes_from_before_to_now() -> None:
    drawing = charts_bars.waterfall("w", make_workload().explained)
    assert_within(drawing)
    assert "−$870 to −$1,446, −$576, which is the sum of the parts" in drawing.description
    assert len(drawing.rows) == 10
    bars = [mark for mark in drawing.marks if mark.kind.startswith("bar")]
    assert [mark.kind for mark in bars] == ["bar whole", "bar down", "bar up", "bar down", "bar up", "bar down",
                                            "bar whole"]  # fmt: skip
    # The last part ends where the last bar does.
    assert float(bars[-2].at["x"]) == pytest.approx(float(bars[-1].at["x"]), abs=0.02)


@given(USD, st.lists(USD, max_size=8))
def test_any_waterfall_stays_in_its_box(before: Decimal, amounts: list[Decimal]) -> None:
    explained = Explained(figure="buy", before_usd=before, after_usd=before + sum(amounts),
                          parts=tuple(Part("mix", usd) for usd in amounts))  # fmt: skip
    assert_within(charts_bars.waterfall("w", explained))


def test_what_cannot_be_drawn_says_why() -> None:
    for drawing in (
        charts_lines.staircase("n", None),
        charts_lines.hourly("n", None),
        charts_lines.cdf("n", None),
        charts_lines.trend("n", make_trend(1)),
        charts_bars.tornado("n", (), None),
        charts_bars.waterfall("n", None),
    ):
        assert drawing.missing == drawing.description
        assert drawing.missing.endswith(".")
        assert drawing.marks == ()
