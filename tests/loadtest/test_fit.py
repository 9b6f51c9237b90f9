"""Planted truths are found within their intervals; what the calls do not determine is not made up."""

from collections.abc import Callable

import numpy as np
import pytest

from submeter.loadtest.fit import Fit, NotFitted, fit
from submeter.loadtest.samples import Sample

A, B, C = 350.0, 0.02, 11.0
RUNS, RESAMPLES = 100, 199
FRESH = 7000
"""The first of the seeds: none of them was looked at while the model was made."""
Noise = Callable[[np.random.Generator, float], float]


def normal(chance: np.random.Generator, ms: float) -> float:
    return ms + chance.normal(0, 40)


def proportional(chance: np.random.Generator, ms: float) -> float:
    return ms * chance.normal(1, 0.08)


def lognormal(chance: np.random.Generator, ms: float) -> float:
    return ms * chance.lognormal(-(0.08**2) / 2, 0.08)  # mean 1, as the scripted provider's


def outliers(chance: np.random.Generator, ms: float) -> float:
    return normal(chance, ms) + (5000 if chance.random() < 0.01 else 0)


def call(uncached: int, output: int, e2e_ms: float, number: int = 0, cached: int = 0, concurrency: int = 1) -> Sample:
    ttft_ms = A + B * uncached + 0.002 * cached
    return Sample(
        started_ns=number, scheduled_ns=None, setting=f"in={uncached},out={output}", model="m", concurrency=concurrency,
        input_tokens=uncached + cached, cached_input_tokens=cached, output_tokens=output, ttfb_ns=None,
        ttft_ns=round(ttft_ms * 1e6), first_content_ns=None, e2e_ns=round(e2e_ms * 1e6), max_gap_ns=None, status=200,
        error=None, call_id=None, request_id=None, streamed=True,
    )  # fmt: skip


def matrix(seed: int, noise: Noise, b: float = B) -> list[Sample]:
    chance = np.random.default_rng(seed)
    lengths = [(i, o) for _ in range(8) for i in (100, 1000, 4000, 16000) for o in (20, 100, 400)]
    return [call(i, o, noise(chance, A + b * i + C * o), number) for number, (i, o) in enumerate(lengths)]


def three_settings(seed: int, noise: Noise) -> list[Sample]:
    chance = np.random.default_rng(seed)
    lengths = [(100, 20), (4000, 20), (100, 300)] * 20
    return [call(i, o, noise(chance, A + B * i + C * o), number) for number, (i, o) in enumerate(lengths)]


def fitted(samples: list[Sample], seed: int = 0) -> Fit:
    found = fit(samples, seed=seed, resamples=RESAMPLES)
    assert isinstance(found, Fit)
    return found


@pytest.mark.parametrize("noise", [normal, proportional, lognormal, outliers])
@pytest.mark.parametrize("design", [matrix, three_settings])
def test_95_percent_intervals_hold_each_truth_in_90_of_100_runs(
    design: Callable[[int, Noise], list[Sample]], noise: Noise
) -> None:
    """90 and not 95: of 100 honest intervals, 90 or fewer hold the truth three times in a hundred."""
    held = {"a": 0, "b": 0, "c": 0}
    for seed in range(FRESH, FRESH + RUNS):
        found = fitted(design(seed, noise), seed)
        parts = (found.a_ms, found.b_ms_per_input_token, found.c_ms_per_output_token)
        for name, truth, part in zip(held, (A, B, C), parts, strict=True):
            held[name] += part.low <= truth <= part.high
    assert min(held.values()) >= 90, held


@pytest.mark.parametrize("counts", [(8, 1, 1), (4, 3, 3)])
def test_few_calls_of_few_lengths_have_intervals_that_are_finite_and_not_empty(counts: tuple[int, int, int]) -> None:
    chance = np.random.default_rng(5)
    lengths = [each for each, n in zip([(100, 20), (4000, 20), (100, 300)], counts, strict=True) for _ in range(n)]
    found = fitted([call(i, o, normal(chance, A + B * i + C * o)) for i, o in lengths])
    for part in (found.a_ms, found.b_ms_per_input_token, found.c_ms_per_output_token):
        assert part.low < part.value < part.high
        assert part.high - part.low < 1e5


def test_an_input_that_does_not_matter_leaves_0_in_the_interval_and_one_that_does_is_found() -> None:
    without = [fitted(matrix(seed, normal, b=0), seed).b_ms_per_input_token for seed in range(40)]
    with_it = [fitted(matrix(seed, normal), seed).b_ms_per_input_token for seed in range(40)]
    assert sum(part.low <= 0 <= part.high for part in without) >= 36
    assert all(part.low > 0 for part in with_it)


def test_without_noise_every_figure_is_exact_and_the_same_again() -> None:
    samples = matrix(0, lambda _, ms: ms)
    found = fitted(samples)
    assert found.a_ms.value == pytest.approx(A)
    assert found.b_ms_per_input_token.value == pytest.approx(B)
    assert found.c_ms_per_output_token.value == pytest.approx(C)
    assert found.r2 == pytest.approx(1)
    assert found.ttft is not None
    assert found.ttft.b.value == pytest.approx(B, abs=1e-6)
    assert found.ttft.cached is None
    assert found == fitted(samples)


def test_cached_input_has_a_cost_of_its_own() -> None:
    samples = [call(i, 50, A + B * i + C * 50, cached=k) for i in (100, 4000) for k in (0, 1024, 8192)] * 3
    samples += [call(100, 90, A + B * 100 + C * 90)] * 3
    found = fitted(samples)
    assert found.ttft is not None
    assert found.ttft.cached is not None
    assert found.ttft.cached.value == pytest.approx(0.002, abs=1e-6)


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ([(100, 10 * n) for n in range(1, 21)], "one uncached input length"),
        ([(10 * n, 100) for n in range(1, 21)], "one output length"),
        ([(10 * n, 10 * n) for n in range(1, 21)], "rise together"),
        ([(100, 10)], "1 answered calls"),
        ([], "0 answered calls"),
    ],
)
def test_what_the_lengths_do_not_determine_is_not_fitted(lengths: list[tuple[int, int]], reason: str) -> None:
    found = fit([call(i, o, 500.0 + o) for i, o in lengths], seed=0)
    assert isinstance(found, NotFitted)
    assert reason in found.reason


def test_warnings_name_drift_spread_and_outliers() -> None:
    chance = np.random.default_rng(1)
    plain = matrix(1, lambda _, ms: ms)
    drifting = [
        call(s.input_tokens or 0, s.output_tokens or 0, (s.e2e_ns or 0) / 1e6 + n * 3, n) for n, s in enumerate(plain)
    ]
    wild = matrix(1, lambda c, ms: normal(c, ms) + (5000 if chance.random() < 0.05 else 0))
    assert any("rose" in line for line in fitted(drifting).warnings)
    assert any("scatter" in line for line in fitted(matrix(1, lognormal)).warnings)
    assert any("outliers" in line for line in fitted(wild).warnings)
