"""TPOT and nearest-rank percentiles, against arithmetic and against the standard library."""

import statistics
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.latency import nearest_rank, percentiles, tpot_ns


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
