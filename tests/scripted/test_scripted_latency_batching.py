"""Queueing under load, on a simulated clock: exact times, and the planted knee against what the device bears."""

import math
from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.scripted import Batch, Batching, saturation_rate
from submeter.scripted.batching import Token, read
from submeter.scripted.script import ScriptError

MS = 1_000_000
DEVICE = Batching(slots=2, step_ms=10, step_ms_per_running=1, prefill_tokens_per_s=1000)
"""A prefill of 5 tokens takes 5 ms; a step of one sequence 11 ms, of two 12 ms."""


def drain(batch: Batch) -> list[Token]:
    tokens: list[Token] = []
    while batch.due_ns is not None:
        tokens += batch.advance(batch.due_ns)
    return tokens


def simulated(device: Batching, arrivals: Sequence[tuple[int, int, int]]) -> Mapping[int, list[float]]:
    """Milliseconds at which each sequence got its tokens; arrivals are (ms, input tokens, output tokens)."""
    batch, tokens = Batch(device), []
    for number, (at_ms, input_tokens, output_tokens) in enumerate(arrivals):
        tokens += batch.advance(at_ms * MS)
        batch.join(number, at_ms * MS, input_tokens=input_tokens, output_tokens=output_tokens)
    tokens += drain(batch)
    times: dict[int, list[float]] = {number: [] for number in range(len(arrivals))}
    for token in tokens:
        times[token.sequence].append(token.at_ns / MS)
    return times


# ---- exact times ---------------------------------------------------------------------------------------------


def test_one_alone_has_its_prefill_and_then_its_steps() -> None:
    assert simulated(DEVICE, [(100, 5, 4)]) == {0: [105, 116, 127, 138]}


def test_a_prefill_makes_the_others_pause_and_two_make_longer_steps() -> None:
    # 5 first token; 16 a step alone; the second arrives during the next step, which still takes 11: until 27;
    # its prefill until 32, then steps of two, 12 each, until the first has its five; the second ends alone.
    assert simulated(DEVICE, [(0, 5, 5), (20, 5, 4)]) == {0: [5, 16, 27, 44, 56], 1: [32, 44, 56, 67]}


def test_who_finds_no_slot_waits_for_one_in_the_order_of_arrival() -> None:
    # Two run: 5, 10, step to 22, which ends both; then the third and the fourth, each with its prefill.
    assert simulated(DEVICE, [(0, 5, 2), (0, 5, 2), (1, 5, 1), (2, 5, 1)]) == {
        0: [5, 22],
        1: [10, 22],
        2: [27],
        3: [32],
    }


def test_a_call_that_wants_no_output_has_the_sign_of_its_prefill() -> None:
    assert simulated(DEVICE, [(0, 5, 0)]) == {0: [5]}


def test_without_a_rate_a_prefill_takes_no_time() -> None:
    assert simulated(Batching(slots=1, step_ms=10), [(3, 10_000, 3)]) == {0: [3, 13, 23]}


def test_who_leaves_frees_the_slot_but_not_the_time_under_way() -> None:
    batch = Batch(Batching(slots=1, step_ms=10, prefill_tokens_per_s=1000))
    batch.join(0, 0, input_tokens=5, output_tokens=100)
    batch.join(1, 1 * MS, input_tokens=5, output_tokens=1)
    batch.join(2, 2 * MS, input_tokens=5, output_tokens=1)
    assert batch.advance(7 * MS) == [Token(0, 5 * MS)]
    batch.leave(0)
    batch.leave(1)
    assert drain(batch) == [Token(2, 20 * MS)]
    assert batch.due_ns is None


def test_one_that_leaves_in_its_prefill_gets_no_token() -> None:
    batch = Batch(DEVICE)
    batch.join(0, 0, input_tokens=5, output_tokens=3)
    batch.leave(0)
    assert (drain(batch), batch.due_ns) == ([], None)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
)
def test_times_do_not_depend_on_when_the_caller_looks(
    arrivals: list[tuple[int, int, int]], looks_ms: list[int]
) -> None:
    """Every sequence gets its tokens, each later than the one before, whether a timer fires in time or late."""
    arrivals = sorted(arrivals)
    once = simulated(DEVICE, arrivals)
    assert [len(once[number]) for number in once] == [max(output, 1) for _, _, output in arrivals]
    assert all(times == sorted(set(times)) for times in once.values())
    batch, looked, now_ms = Batch(DEVICE), [], 0
    for number, (at_ms, input_tokens, output_tokens) in enumerate(arrivals):
        while (now_ms := now_ms + looks_ms[number % len(looks_ms)]) < at_ms:
            looked += batch.advance(now_ms * MS)
        now_ms = at_ms
        looked += batch.advance(at_ms * MS)
        batch.join(number, at_ms * MS, input_tokens=input_tokens, output_tokens=output_tokens)
    looked += batch.advance(10**12)
    assert {number: [token.at_ns / MS for token in looked if token.sequence == number] for number in once} == once


# ---- under load ----------------------------------------------------------------------------------------------

SERVER = Batching(slots=8, step_ms=20, step_ms_per_running=2, prefill_tokens_per_s=8000)


def test_the_knee_as_arithmetic() -> None:
    # 800 tokens: 100 ms of prefill. 50 more tokens: 50 steps of 20 + 2·8 = 36 ms, shared by 8.
    assert saturation_rate(SERVER, 800, 51) == pytest.approx(1 / (0.100 + 50 * 0.036 / 8))
    assert saturation_rate(SERVER, 800, 1) == pytest.approx(10)
    assert saturation_rate(SERVER, 800, 0) == pytest.approx(10)
    assert saturation_rate(Batching(slots=1, step_ms=1), 800, 1) == math.inf


def poisson(rate: float, count: int, input_tokens: int, output_tokens: int) -> list[tuple[int, int, int]]:
    drawn, at_ms, arrivals = Random(7), 0.0, []
    for _ in range(count):
        at_ms += drawn.expovariate(rate) * 1000
        arrivals.append((round(at_ms), input_tokens, output_tokens))
    return arrivals


LENGTHS = [(800, 51), (100, 200), (4000, 5), (10, 1)]


@pytest.mark.parametrize(("input_tokens", "output_tokens"), LENGTHS)
def test_beyond_the_knee_the_device_bears_no_more_than_the_knee(input_tokens: int, output_tokens: int) -> None:
    knee = saturation_rate(SERVER, input_tokens, output_tokens)
    times = simulated(SERVER, poisson(2 * knee, 400, input_tokens, output_tokens))
    ends = sorted(token_times[-1] for token_times in times.values())
    borne = (len(ends) - 100) / (ends[-50] - ends[50]) * 1000
    assert borne == pytest.approx(knee, rel=0.03)


@pytest.mark.parametrize(("input_tokens", "output_tokens"), LENGTHS)
def test_before_the_knee_the_queue_stays_short_and_beyond_it_grows(input_tokens: int, output_tokens: int) -> None:
    knee = saturation_rate(SERVER, input_tokens, output_tokens)

    def last_ttft_ms(rate: float) -> float:
        """The mean of the last hundred calls."""
        arrivals = poisson(rate, 600, input_tokens, output_tokens)
        times = simulated(SERVER, arrivals)
        return sum(times[number][0] - arrivals[number][0] for number in range(500, 600)) / 100

    assert last_ttft_ms(0.7 * knee) < 20 / knee * 1000
    assert last_ttft_ms(1.3 * knee) > 80 / knee * 1000


@pytest.mark.parametrize("running", [1, 4, 8])
def test_the_time_per_token_grows_with_the_calls_in_flight(running: int) -> None:
    times = simulated(SERVER, [(0, 80, 100)] * running)
    # All but the prefills of those that came later are steps of so many.
    tpot_ms = (times[running - 1][-1] - times[running - 1][0]) / 99
    assert tpot_ms == 20 + 2 * running


# ---- its configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"slots": 1, "step_ms": 1, "step_msec": 2}, "unknown field `step_msec`; its keys are slots, step_ms"),
        ({"slots": 1}, "step_ms"),
        ({"slots": 0, "step_ms": 1}, "slots"),
        ({"slots": 1, "step_ms": 0}, "step_ms"),
        ({"slots": 1, "step_ms": 1, "prefill_tokens_per_s": 0}, "prefill_tokens_per_s"),
        (3, "object"),
    ],
)
def test_a_bad_batching_is_named(keys: object, named: str) -> None:
    with pytest.raises(ScriptError, match=f"^batching: .*{named}"):
        read(keys)


def test_a_good_batching_is_read() -> None:
    assert read({"slots": 2, "step_ms": 10, "step_ms_per_running": 1, "prefill_tokens_per_s": 1000}) == DEVICE
