"""TPOT, nearest-rank percentiles and the plain fit, against arithmetic and against the standard library."""

import random
import statistics
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.latency import Fit, fit, nearest_rank, percentiles, tpot_ns


def test_tpot_is_the_time_after_the_first_token_over_the_tokens_after_it() -> None:
    assert tpot_ns(1_000_000_000, 100_000_000, 10, stream=True) == 900_000_000 // 9
    assert tpot_ns(10, 0, 4, stream=True) == 3


@pytest.mark.parametrize(
    ("e2e_ns", "ttft_ns", "output_tokens", "stream"),
    [
        (1000, 100, 10, False),
        (None, 100, 10, True),
        (1000, None, 10, True),
        (1000, 100, None, True),
        (1000, 100, 1, True),
        (1000, 100, 0, True),
    ],
)
def test_tpot_is_missing_where_it_says_nothing(
    e2e_ns: int | None, ttft_ns: int | None, output_tokens: int | None, stream: bool
) -> None:
    assert tpot_ns(e2e_ns, ttft_ns, output_tokens, stream=stream) is None


@pytest.mark.parametrize(
    ("n", "p50", "p95", "p99"),
    [(1, 1, 1, 1), (2, 1, 2, 2), (20, 10, 19, 20), (21, 11, 20, 21), (100, 50, 95, 99), (1000, 500, 950, 990)],
)
def test_nearest_rank_on_1_to_n(n: int, p50: int, p95: int, p99: int) -> None:
    found = percentiles(array("q", reversed(range(1, n + 1))))
    assert found is not None
    assert (found.n, found.p50_ns, found.p95_ns, found.p99_ns) == (n, p50, p95, p99)


def test_no_durations_have_no_percentiles() -> None:
    assert percentiles(array("q")) is None


@given(st.lists(st.integers(0, 10**12), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[int], percent: int) -> None:
    ordered = sorted(values)
    found = nearest_rank(ordered, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_the_median_is_the_standard_librarys_low_median(values: list[int]) -> None:
    assert nearest_rank(sorted(values), 50) == statistics.median_low(values)


def test_a_plane_is_found_exactly() -> None:
    points = [(x, y, 70_000_000 + 20_000 * x + 9_000_000 * y) for x in (10, 500, 4000) for y in (1, 64, 700)]
    assert fit(points) == Fit(9, 70_000_000, 20_000, 9_000_000, 1.0)


def test_a_fit_on_one_variable_agrees_with_the_standard_library() -> None:
    dice = random.Random(7)
    inputs = [dice.randrange(1, 4000) for _ in range(500)]
    outputs = [dice.randrange(1, 800) for _ in range(500)]
    times = [round(1e8 + 8e6 * y + dice.gauss(0, 2e8)) for y in outputs]
    found = fit(zip(inputs, outputs, times, strict=True))
    assert found is not None
    # Regress each side on the input first (Frisch-Waugh-Lovell): what is left has the slope of the full fit.
    left = [rest(inputs, outputs), rest(inputs, times)]
    slope = statistics.linear_regression(left[0], left[1]).slope
    assert found.per_output_token_ns == pytest.approx(slope, rel=1e-9)
    residual = sum(
        (z - found.intercept_ns - found.per_input_token_ns * x - found.per_output_token_ns * y) ** 2
        for x, y, z in zip(inputs, outputs, times, strict=True)
    )
    assert found.r2 == pytest.approx(1 - residual / (statistics.pvariance(times) * 500), rel=1e-9)


def rest(xs: list[int], ys: list[int]) -> list[float]:
    line = statistics.linear_regression(xs, ys)
    return [y - line.slope * x - line.intercept for x, y in zip(xs, ys, strict=True)]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1, 2, 3)],
        [(1, 2, 3), (4, 5, 6)],
        [(5, y, y) for y in range(9)],
        [(y, 2 * y, y * y) for y in range(9)],
        [(1, 2, 3), (2, 7, 3), (9, 1, 3)],
    ],
)
def test_points_that_do_not_determine_a_plane_give_no_fit(points: list[tuple[int, int, int]]) -> None:
    assert fit(points) is None
