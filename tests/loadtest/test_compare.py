"""A planted regression is flagged; repeats of the same setting are silent."""

import numpy as np

from submeter.loadtest.compare import Change, compare
from submeter.loadtest.samples import Sample


def run(seed: int, tpot: float = 1.0, calls: int = 20, settings: tuple[int, ...] = (20, 100, 300)) -> list[Sample]:
    chance = np.random.default_rng(seed)
    return [_call(output, chance, tpot) for output in settings for _ in range(calls)]


def _call(output: int, chance: np.random.Generator, tpot: float) -> Sample:
    ttft_ns = 350e6 * chance.lognormal(0, 0.1)
    e2e_ns = ttft_ns + 11e6 * tpot * chance.lognormal(0, 0.1) * (output - 1)
    return Sample(
        started_ns=0, scheduled_ns=None, setting=f"out={output}", model="m", concurrency=1, input_tokens=100,
        cached_input_tokens=None, output_tokens=output, ttfb_ns=None, ttft_ns=round(ttft_ns), first_content_ns=None,
        e2e_ns=round(e2e_ns), max_gap_ns=None, status=200, error=None, call_id=None, request_id=None, streamed=True,
    )  # fmt: skip


def verdicts(changes: tuple[Change, ...]) -> dict[str, str]:
    return {change.measure: change.verdict for change in changes}


def test_15_percent_more_per_token_is_a_regression_of_tpot_and_not_of_ttft() -> None:
    found = compare(run(1), run(2, tpot=1.15), seed=0)
    assert verdicts(found.measures)["tpot"] == "regressed"
    assert verdicts(found.measures)["ttft"] == "same"
    assert found.regressed
    assert verdicts(compare(run(2, tpot=1.15), run(1), seed=0).measures)["tpot"] == "improved"


def test_15_percent_are_flagged_in_19_of_20_runs() -> None:
    flagged = sum(compare(run(n), run(1000 + n, tpot=1.15), seed=n).regressed for n in range(20))
    assert flagged >= 19


def test_200_repeats_of_the_same_raise_at_most_10_alarms() -> None:
    alarms = 0
    for number in range(200):
        found = compare(run(2 * number), run(2 * number + 1), seed=number)
        alarms += any(change.verdict != "same" for change in (*found.measures, *found.settings))
    assert alarms <= 10


def test_another_mix_of_lengths_is_no_regression() -> None:
    found = compare(run(1, calls=10), run(2, calls=10) + run(3, calls=200, settings=(300,)), seed=0)
    assert not found.regressed


def test_runs_without_a_common_setting_say_so() -> None:
    found = compare(run(1, settings=(20,)), run(2, settings=(100,)), seed=0)
    assert all(change.effect is None and "no setting" in str(change.reason) for change in found.measures)
    assert compare([], [], seed=0).settings == ()
