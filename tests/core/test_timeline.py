"""Durations from t0; every one is missing until its event."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from submeter.core.timeline import Timeline


def figures(line: Timeline) -> tuple[int | None, ...]:
    return line.ttfb_ns, line.ttft_ns, line.first_content_ns, line.e2e_ns, line.max_gap_ns, line.overhead_ns


def test_nothing_is_known_before_it_happens() -> None:
    assert figures(Timeline(1000)) == (None,) * 6


def test_a_streamed_answer() -> None:
    line = Timeline(1000)
    line.sent(1010)
    line.received(1100)  # the head
    line.received(1200)
    line.chunk(1200, token=False, content=False)  # the role
    line.received(1250)
    line.chunk(1250, token=True, content=False)  # reasoning
    line.received(1400)
    line.chunk(1400, token=True, content=True)
    line.received(1450)
    line.chunk(1450, token=True, content=True)
    assert figures(line) == (100, 250, 400, 450, 1400 - 1250, 10)


def test_overhead_is_ours_alone() -> None:
    line = Timeline(0)
    line.sent(7)
    line.handed(100, 103)
    line.handed(200, 205)
    assert line.overhead_ns == 7 + 3 + 5


def test_overhead_without_an_upstream() -> None:
    line = Timeline(0)
    line.handed(10, 14)
    assert line.overhead_ns == 4


def test_chunks_of_one_moment_have_a_gap_of_zero_and_one_chunk_has_none() -> None:
    line = Timeline(0)
    line.chunk(5, token=True, content=True)
    assert line.max_gap_ns is None
    line.chunk(5, token=True, content=True)
    assert line.max_gap_ns == 0


@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_figures_of_any_stream(steps: list[tuple[int, bool, bool]]) -> None:
    line, now, token, content = Timeline(0), 0, False, False
    times: list[tuple[int, bool, bool]] = []
    for wait, sees_token, sees_content in steps:
        now, token, content = now + wait, token or sees_token or sees_content, content or sees_content
        line.received(now)
        line.chunk(now, token=token, content=content)
        times.append((now, token, content))
    at = [moment for moment, _, _ in times]
    assert (line.ttfb_ns, line.e2e_ns) == (at[0], at[-1])
    assert line.max_gap_ns == max((later - earlier for earlier, later in pairwise(at)), default=None)
    assert line.ttft_ns == next((moment for moment, seen, _ in times if seen), None)
    assert line.first_content_ns == next((moment for moment, _, seen in times if seen), None)
