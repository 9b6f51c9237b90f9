"""Queueing under load, on a simulated clock: exact times, and the planted knee against what the device bears."""

from collections.abc import Mapping, Sequence
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.report.engine import NeverFits
from submeter.scripted import Batch, Batching, saturation_rate
from submeter.scripted.batching import Token, read
from submeter.scripted.script import ScriptError

MS = 1_000_000
DEVICE = Batching(slots=2, step_ms=10, step_ms_per_running=1, prefill_tokens_per_s=1000)
"""An iteration takes 10 ms, 1 ms more for each sequence that decodes, and a prompt of 5 tokens 5 ms more."""


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


def test_one_alone_has_its_prompt_and_then_its_steps() -> None:
    assert simulated(DEVICE, [(100, 5, 4)]) == {0: [115, 126, 137, 148]}


def test_a_prompt_is_computed_beside_the_decodes_and_two_make_longer_steps() -> None:
    # First token after 15; 26 a step alone; the second comes during the step until 37, then one of 10 + 1 + 5 brings
    # its first token; two of two, 12 each, until the first has its six; the second ends alone.
    assert simulated(DEVICE, [(0, 5, 6), (30, 5, 4)]) == {0: [15, 26, 37, 53, 65, 77], 1: [53, 65, 77, 88]}


def test_who_finds_no_slot_waits_for_one_in_the_order_of_arrival() -> None:
    # Two prompts, the second with the first's decode: 15, 31; the first has ended. The third's prompt and the
    # second's last token: 31 + 16 = 47; then the fourth's prompt: 47 + 15.
    assert simulated(DEVICE, [(0, 5, 2), (0, 5, 2), (1, 5, 1), (2, 5, 1)]) == {
        0: [15, 31],
        1: [31, 47],
        2: [47],
        3: [62],
    }


def test_prompts_that_wait_are_computed_together() -> None:
    # Both came during the first one's prompt; its one token leaves both slots free: 15 + 10 + 2·5.
    assert simulated(DEVICE, [(0, 5, 1), (1, 5, 1), (2, 5, 1)]) == {0: [15], 1: [35], 2: [35]}


def test_a_prompt_longer_than_the_budget_comes_in_chunks() -> None:
    # 4 tokens an iteration: the prompt of 10 in 4 + 4 + 2, then a step.
    device = Batching(slots=2, step_ms=10, step_ms_per_running=1, prefill_tokens_per_s=1000, chunk_tokens=4)
    assert simulated(device, [(0, 10, 2)]) == {0: [14 + 14 + 12, 51]}
    # Beside a decode, which takes one of the 4: 3 + 3 + 3 + 1.
    assert simulated(device, [(0, 1, 9), (1, 10, 1)])[1] == [11 + 3 * 14 + 12]


def test_who_finds_no_room_in_the_cache_waits_though_a_slot_is_free() -> None:
    device = Batching(slots=2, step_ms=10, kv_tokens=20)
    assert simulated(device, [(0, 10, 3), (0, 10, 1)]) == {0: [10, 20, 30], 1: [40]}


def test_a_call_larger_than_the_cache_is_refused() -> None:
    with pytest.raises(NeverFits, match="21 tokens of input and output, but the key-value cache holds 20"):
        Batch(Batching(slots=2, step_ms=10, kv_tokens=20)).join(0, 0, input_tokens=11, output_tokens=10)


def test_a_call_that_wants_no_output_has_the_sign_of_its_prompt() -> None:
    assert simulated(DEVICE, [(0, 5, 0)]) == {0: [15]}


def test_without_a_rate_a_prompt_takes_an_iteration_of_any_length() -> None:
    assert simulated(Batching(slots=1, step_ms=10), [(3, 10_000, 3)]) == {0: [13, 23, 33]}


def test_who_leaves_frees_the_slot_but_not_the_time_under_way() -> None:
    batch = Batch(Batching(slots=1, step_ms=10, prefill_tokens_per_s=1000))
    batch.join(0, 0, input_tokens=5, output_tokens=100)
    batch.advance(0)
    batch.join(1, 1 * MS, input_tokens=5, output_tokens=1)
    batch.join(2, 2 * MS, input_tokens=5, output_tokens=1)
    assert batch.advance(17 * MS) == [Token(0, 15 * MS)]
    batch.leave(0)
    batch.leave(1)
    assert drain(batch) == [Token(2, 40 * MS)]
    assert batch.due_ns is None


def test_one_that_leaves_in_its_prompt_gets_no_token() -> None:
    batch = Batch(DEVICE)
    batch.join(0, 0, input_tokens=5, output_tokens=3)
    batch.leave(0)
    assert (drain(batch), batch.due_ns) == ([], None)


def test_a_clock_far_from_zero_is_as_exact() -> None:
    batch, year_ns = Batch(DEVICE), 365 * 86_400 * 1_000_000_000 + 7
    batch.join(0, year_ns, input_tokens=5, output_tokens=2)
    assert drain(batch) == [Token(0, year_ns + 15 * MS), Token(0, year_ns + 26 * MS)]


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


def with_keys(**keys: int) -> Batching:
    return msgspec.structs.replace(SERVER, **keys)


def test_the_knee_as_arithmetic() -> None:
    # 51 iterations of 20 ms, shared by 8; 50 decodes of 2 ms; a prompt of 800 tokens, 100 ms.
    assert saturation_rate(SERVER, 800, 51) == pytest.approx(1 / (51 * 0.020 / 8 + 50 * 0.002 + 0.100))
    assert saturation_rate(SERVER, 800, 1) == pytest.approx(1 / (0.020 / 8 + 0.100))
    assert saturation_rate(SERVER, 800, 0) == saturation_rate(SERVER, 800, 1)
    # The cache holds 2 × 851 tokens, so two run at once.
    assert saturation_rate(with_keys(kv_tokens=1702), 800, 51) == pytest.approx(1 / (51 * 0.020 / 2 + 0.100 + 0.100))
    assert saturation_rate(with_keys(kv_tokens=850), 800, 51) == 0
    # One slot, held for 8 iterations of 100 tokens and 50 more.
    assert saturation_rate(with_keys(slots=1, chunk_tokens=100), 800, 51) == pytest.approx(1 / (58 * 0.020 + 0.200))
    # 85 tokens an iteration for 850 a request: ten iterations each.
    assert saturation_rate(with_keys(chunk_tokens=85), 800, 51) == pytest.approx(1 / (10 * 0.020 + 0.100 + 0.100))


def poisson(rate: float, count: int, input_tokens: int, output_tokens: int) -> list[tuple[int, int, int]]:
    drawn, at_ms, arrivals = Random(7), 0.0, []
    for _ in range(count):
        at_ms += drawn.expovariate(rate) * 1000
        arrivals.append((round(at_ms), input_tokens, output_tokens))
    return arrivals


KEYS: list[dict[str, int]] = [{}, {"kv_tokens": 9000}, {"chunk_tokens": 256}, {"slots": 1, "chunk_tokens": 100}]
LENGTHS = [(800, 51), (100, 200), (4000, 5), (10, 1)]


@pytest.mark.parametrize(("input_tokens", "output_tokens"), LENGTHS)
@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_beyond_the_knee_the_device_bears_no_more_than_the_knee(
    keys: dict[str, int], input_tokens: int, output_tokens: int
) -> None:
    device = with_keys(**keys)
    knee = saturation_rate(device, input_tokens, output_tokens)
    times = simulated(device, poisson(2 * knee, 400, input_tokens, output_tokens))
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
    times = simulated(SERVER, [(0, 80, 200)] * running)
    # Between the last one's first token and the first one's last, each step is of so many.
    tokens = [at_ms for at_ms in times[0] if times[running - 1][0] <= at_ms]
    assert np.diff(tokens) == pytest.approx(20 + 2 * running)


# ---- its configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"slots": 1, "step_ms": 1, "step_msec": 2}, "unknown field `step_msec`; its keys are slots, step_ms"),
        ({"slots": 1}, "step_ms"),
        ({"slots": 0, "step_ms": 1}, "slots"),
        ({"slots": 1, "step_ms": 0}, "step_ms"),
        ({"slots": 1, "step_ms": 1, "prefill_tokens_per_s": 0}, "prefill_tokens_per_s"),
        ({"slots": 1, "step_ms": 1, "chunk_tokens": 0}, "chunk_tokens"),
        ({"slots": 1, "step_ms": 1, "kv_tokens": 0}, "kv_tokens"),
        (3, "object"),
    ],
)
def test_a_bad_batching_is_named(keys: object, named: str) -> None:
    with pytest.raises(ScriptError, match=f"^batching: .*{named}"):
        read(keys)


def test_a_good_batching_is_read() -> None:
    assert read({"slots": 2, "step_ms": 10, "step_ms_per_running": 1, "prefill_tokens_per_s": 1000}) == DEVICE
