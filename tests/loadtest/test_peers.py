"""What a hop adds, from calls of which it is known."""

import random
from collections.abc import Callable, Sequence

import msgspec
import pytest

from submeter.loadtest.peers import Added, added
from submeter.loadtest.samples import Sample

MS = 1_000_000
SHORT, LONG = "in=50,out=1", "in=4000,out=100"
PLAIN = Sample(
    started_ns=0,
    scheduled_ns=None,
    setting=SHORT,
    model="m",
    concurrency=1,
    input_tokens=50,
    cached_input_tokens=None,
    output_tokens=1,
    ttfb_ns=50 * MS,
    ttft_ns=100 * MS,
    first_content_ns=100 * MS,
    e2e_ns=200 * MS,
    max_gap_ns=None,
    status=200,
    error=None,
    call_id=None,
    request_id=None,
    streamed=True,
)


def later(sample: Sample, ms: float) -> Sample:
    """By so much in each of the three measures."""
    times = {name: round(getattr(sample, name) + ms * MS) for name in ("ttfb_ns", "ttft_ns", "e2e_ns")}
    return msgspec.structs.replace(sample, **times)


def rounds(count: int, of: Callable[[int], float], *settings: str, calls: int = 3) -> list[list[Sample]]:
    """``of``: by how much the calls of a round are later than ``PLAIN``, in ms."""
    names = settings or (SHORT,)
    return [
        [later(msgspec.structs.replace(PLAIN, setting=name), of(number)) for name in names for _ in range(calls)]
        for number in range(count)
    ]


def overall(base: Sequence[Sequence[Sample]], target: Sequence[Sequence[Sample]], *settings: str) -> Added:
    return added(base, target, settings or (SHORT,), seed=1)[0]


def values(line: Added) -> list[tuple[float, float, float] | None]:
    intervals = (line.ttft_ms, line.ttfb_ms, line.e2e_ms)
    return [None if each is None else (each.value, each.low, each.high) for each in intervals]


def test_what_is_added_is_found_by_setting_and_in_the_mean() -> None:
    base = rounds(6, lambda _: 0, SHORT, LONG)
    target = [[later(call, 40 if call.setting == SHORT else 10) for call in block] for block in base]
    lines = added(base, target, [SHORT, LONG], seed=1)
    assert [(line.setting, line.rounds) for line in lines] == [(None, 6), (SHORT, 6), (LONG, 6)]
    assert [values(line)[0] for line in lines] == [(25, 25, 25), (40, 40, 40), (10, 10, 10)]


def test_each_measure_is_its_own() -> None:
    base = rounds(6, lambda _: 0)
    more = {"ttft_ns": 103 * MS, "ttfb_ns": 51 * MS, "e2e_ns": 207 * MS}
    target = [[msgspec.structs.replace(call, **more) for call in block] for block in base]
    assert values(overall(base, target)) == [(3, 3, 3), (1, 1, 1), (7, 7, 7)]


def test_a_provider_that_becomes_slower_adds_nothing() -> None:
    """From 0 to 1,100 ms in twelve rounds; only within a round are two targets alike."""
    slower = rounds(12, lambda number: 100 * number)
    assert values(overall(slower, slower)) == [(0, 0, 0)] * 3
    line = overall(slower, [[later(call, 2) for call in block] for block in slower])
    assert values(line) == [(2, 2, 2)] * 3


def test_a_stalled_call_in_each_block_and_a_bad_round_count_for_nothing() -> None:
    base = rounds(12, lambda _: 0)
    target = [[later(call, 5) for call in block] for block in base]
    for block in target:
        block[0] = later(block[0], 10_000)
    target[3] = [later(call, 300) for call in target[3]]
    assert values(overall(base, target)) == [(5, 5, 5)] * 3


def test_calls_that_failed_say_nothing_and_a_round_without_an_answer_is_left_out() -> None:
    base = rounds(8, lambda _: 0, SHORT, LONG)
    target = [[later(call, 4) for call in block] for block in base]
    target[0][0] = later(msgspec.structs.replace(target[0][0], error="status 500"), -90)
    target[1] = [call for call in target[1] if call.setting != LONG]
    base[2] = [msgspec.structs.replace(call, error="timeout") for call in base[2]]
    lines = added(base, target, [SHORT, LONG], seed=1)
    assert [line.rounds for line in lines] == [6, 7, 6]
    assert [values(line)[2] for line in lines] == [(4, 4, 4)] * 3


def test_few_rounds_give_no_figure() -> None:
    five, six = rounds(5, lambda _: 0), rounds(6, lambda _: 0)
    assert values(overall(five, five)) == [None] * 3
    assert values(overall(six, six)) == [(0, 0, 0)] * 3
    assert overall([], []) == Added(None, 0, None, None, None)


def test_an_answer_that_is_not_streamed_has_no_ttft() -> None:
    whole = [[msgspec.structs.replace(call, streamed=False) for call in block] for block in rounds(6, lambda _: 0)]
    assert values(overall(whole, whole)) == [None, (0, 0, 0), (0, 0, 0)]


@pytest.mark.parametrize("count", [6, 12])
def test_the_interval_holds_what_was_planted_in_95_of_100(count: int) -> None:
    """Skewed noise on every call, drift from round to round; three measures in 100 tests."""
    held = 0
    for seed in range(100):
        chance = random.Random(seed)
        drift = [chance.uniform(0, 500) for _ in range(count)]
        base, target = (
            [
                [later(call, planted + chance.expovariate(0.2)) for call in block]
                for block in rounds(count, drift.__getitem__)
            ]
            for planted in (0, 40)
        )
        line = added(base, target, [SHORT], seed=seed)[1]
        held += sum(each is not None and each[1] <= 40 <= each[2] for each in values(line)[:1])
    assert held >= 90


def test_the_same_calls_and_seed_give_the_same_figures() -> None:
    base = rounds(9, lambda number: number**2 % 7)
    target = rounds(9, lambda number: number**3 % 11)
    assert overall(base, target) == overall(base, target)
