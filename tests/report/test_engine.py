"""The simulator's core against a plain stepper that knows no shortcut, and its joins and leaves in mid-flight."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.report.engine import NEVER, Limits, NeverFits, Replica, StepTime

Call = tuple[float, int, int]
"""arrival in seconds, input tokens, output tokens"""


def affine(fixed_s: float, row_s: float, kv_s: float = 0.0, attention_s: float = 0.0) -> StepTime:
    return StepTime(lambda decodes, prompt=0: fixed_s + row_s * (decodes + prompt), kv_s, attention_s)


@dataclass
class Running:
    call: int
    computed: int = 0
    tokens: list[float] = field(default_factory=list)


def stepped(calls: Sequence[Call], step: StepTime, limits: Limits) -> list[list[float]]:
    """Every token's time of every call, one iteration after the other, by the rules in ``engine``'s docstring."""
    now_s, arriving, waiting, running = 0.0, list(range(len(calls))), [], []
    every = [Running(number) for number in range(len(calls))]
    while arriving or waiting or running:
        if not waiting and not running:
            now_s = max(now_s, calls[arriving[0]][0])
        while arriving and calls[arriving[0]][0] <= now_s:
            waiting.append(every[arriving.pop(0)])
        decoding = [one for one in running if one.tokens]
        context = sum(calls[one.call][1] + len(one.tokens) for one in decoding)
        budget, prompt_tokens, attended_s = limits.chunk_tokens - len(decoding), 0, 0.0
        first: list[Running] = []
        while budget > 0:
            begun = next((one for one in running if calls[one.call][1] > one.computed), None)
            if begun is None:
                if not waiting or len(running) == limits.slots:
                    break
                reserved = sum(sum(calls[one.call][1:]) for one in (*running, waiting[0]))
                if reserved > limits.kv_tokens:
                    break
                begun = waiting.pop(0)
                running.append(begun)
            part = min(calls[begun.call][1] - begun.computed, budget)
            attended_s += step.kv_s_per_token * begun.computed
            attended_s += step.attention_s * part * (begun.computed + part / 2)
            begun.computed += part
            budget -= part
            prompt_tokens += part
            if begun.computed == calls[begun.call][1]:
                first.append(begun)
        now_s += step.base(len(decoding), prompt_tokens) + step.kv_s_per_token * context + attended_s
        for one in (*decoding, *first):
            one.tokens.append(now_s)
        running = [one for one in running if len(one.tokens) < calls[one.call][2]]
    return [one.tokens for one in every]


def served(calls: Sequence[Call], step: StepTime, limits: Limits, *, jump: bool = True) -> list[list[float]]:
    """The first and the last token's time of every call, by a ``Replica``, and what must hold on the way."""
    replica, times = Replica(step, limits, jump=jump), [[] for _ in calls]
    arriving = list(enumerate(calls))
    while arriving or replica.due_s < NEVER:
        if arriving and arriving[0][1][0] <= replica.due_s:
            number, (at_s, input_tokens, output_tokens) = arriving.pop(0)
            replica.join(number, at_s, input_tokens, output_tokens)
            continue
        now_s = replica.due_s
        firsts, lasts = replica.turn()
        for number in firsts:
            times[number].append(now_s)
        for number in lasts:
            times[number].append(now_s)
        assert 0 <= replica.reserved_tokens <= limits.kv_tokens
        assert len(replica.decoding()) <= limits.slots
        assert replica.due_s > now_s
    assert replica.reserved_tokens == 0
    return times


LENGTHS = st.tuples(st.floats(0, 3), st.integers(1, 60), st.integers(1, 40))
STEPS = st.builds(
    affine,
    st.floats(0.001, 0.05),
    st.floats(0, 0.002),
    st.sampled_from([0.0, 1e-5, 3e-4]),
    st.sampled_from([0.0, 1e-6]),
)
LIMITS = st.builds(Limits, st.integers(1, 6), st.integers(100, 300), st.integers(1, 80))


@given(st.lists(LENGTHS, min_size=1, max_size=25), STEPS, LIMITS)
def test_jumps_are_steps(drawn: list[Call], step: StepTime, limits: Limits) -> None:
    """Also: every call gets its first and last token, in order, and the cache is never over its capacity."""
    calls = sorted(drawn)
    plain = stepped(calls, step, limits)
    assert [len(tokens) for tokens in plain] == [output for _, _, output in calls]
    ends = [[tokens[0], tokens[-1]] for tokens in plain]
    for jump in (True, False):
        for got, want in zip(served(calls, step, limits, jump=jump), ends, strict=True):
            assert got == pytest.approx(want, abs=1e-9, rel=0)


def test_the_times_of_every_token_within_a_jump() -> None:
    # Alone: prompt 10 + 4 = 14; then steps of 10 + 1 + context (5, 6, 7): contexts grow by one.
    step, replica = affine(10, 1, kv_s=1), Replica(affine(10, 1, kv_s=1), Limits(4, 100, 50))
    replica.join(0, 0.0, 4, 4)
    replica.turn()
    assert replica.due_s == 14
    replica.turn()
    assert list(replica.step_ends_s()) == [14 + 16, 30 + 17, 47 + 18]
    assert stepped([(0.0, 4, 4)], step, Limits(4, 100, 50)) == [[14, 30, 47, 65]]


def test_a_prompt_longer_than_the_budget_comes_in_chunks_beside_the_decodes() -> None:
    # 6 of 16 tokens an iteration; the first call's 2 tokens leave 4 for the second, then 5 beside its decode.
    times = stepped([(0.0, 2, 3), (0.0, 14, 1)], affine(1, 0.0), Limits(4, 100, 6))
    assert times == [[1, 2, 3], [3]]
    assert served([(0.0, 2, 3), (0.0, 14, 1)], affine(1, 0.0), Limits(4, 100, 6)) == [[1, 3], [3, 3]]


def test_who_comes_in_mid_flight_shortens_the_jump_to_the_step_under_way() -> None:
    replica = Replica(affine(1, 0), Limits(2, 1000, 100))
    replica.join(0, 0.0, 5, 100)
    replica.turn()
    replica.turn()
    assert replica.due_s == 100
    replica.join(1, 41.5, 5, 2)
    assert replica.due_s == 42
    assert replica.turn() == ([], [])
    assert (replica.due_s, *replica.turn()) == (43, [1], [])
    assert (replica.due_s, *replica.turn()) == (44, [], [1])
    assert (replica.due_s, *replica.turn()) == (100, [], [0])
    assert replica.due_s == NEVER


def test_a_sequence_larger_than_the_cache_fails_at_once() -> None:
    with pytest.raises(NeverFits, match=r"^101 tokens of input and output, but the key-value cache holds 100$"):
        Replica(affine(1, 0), Limits(4, 100, 50)).join(0, 0.0, 60, 41)


def test_who_waits_for_the_cache_gets_in_when_it_is_free() -> None:
    # 60 of 100 tokens reserved: the second waits for the first one's last token at 4, though a slot is free.
    assert served([(0.0, 50, 10), (0.0, 50, 1)], affine(0.4, 0), Limits(4, 100, 500)) == [
        pytest.approx([0.4, 4.0]),
        pytest.approx([4.4, 4.4]),
    ]


@given(st.integers(0, 2**32))
def test_who_leaves_takes_nothing_along(seed: int) -> None:
    """Of random joins and leaves, those that stay get all their tokens, and nothing is left reserved."""
    drawn, limits = Random(seed), Limits(3, 200, 20)
    replica, now_s = Replica(affine(0.01, 0.001, 1e-5), limits, jump=drawn.random() < 0.5), 0.0
    there: set[int] = set()
    left: set[int] = set()
    done: set[int] = set()
    for number in range(30):
        now_s += drawn.expovariate(5)
        while replica.due_s < now_s:
            done |= set(replica.turn()[1])
        replica.join(number, now_s, drawn.randint(1, 60), drawn.randint(1, 40))
        there.add(number)
        if drawn.random() < 0.4 and (gone := sorted(there - done - left)):
            left.add(leaver := drawn.choice(gone))
            replica.leave(leaver)
    while replica.due_s < NEVER:
        firsts, lasts = replica.turn()
        assert not left & {*firsts, *lasts}
        done |= set(lasts)
    assert (done, replica.reserved_tokens) == (there - left, 0)


def test_one_that_leaves_frees_its_slot_at_the_end_of_the_step() -> None:
    replica = Replica(affine(1, 0), Limits(1, 1000, 100), jump=False)
    replica.join(0, 0.0, 5, 100)
    replica.join(1, 0.0, 5, 1)
    for _ in range(4):
        replica.turn()
    replica.leave(0)
    assert (replica.due_s, *replica.turn()) == (4, [], [])
    assert (replica.due_s, *replica.turn()) == (5, [1], [1])
    assert replica.due_s == NEVER


def test_the_context_of_one_that_left_costs_no_more() -> None:
    # A step costs a second and a hundredth for each token of context: of 10 + 20, then of 10 alone.
    replica = Replica(affine(1, 0, kv_s=0.01), Limits(2, 1000, 100), jump=False)
    replica.join(0, 0.0, 9, 50)
    replica.join(1, 0.0, 19, 50)
    for _ in range(2):
        replica.turn()
    assert replica.due_s == pytest.approx(1 + 1.30)
    replica.leave(1)
    replica.turn()
    assert replica.due_s == pytest.approx(1 + 1.30 + 1.11)
