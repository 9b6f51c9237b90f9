"""Galloping and bisection: from any guess to the same number, and few runs."""

from hypothesis import given
from hypothesis import strategies as st

from submeter.report.search import least


@given(st.integers(1, 500), st.integers(-5, 600))
def test_it_finds_the_first_that_passes_from_any_guess(first: int, guess: int) -> None:
    asked: list[int] = []

    def passes(number: int) -> bool:
        asked.append(number)
        return number >= first

    assert least(passes, guess, most=500) == first
    assert len(asked) == len(set(asked))
    assert first in asked
    assert first == 1 or first - 1 in asked
    assert len(asked) <= 2 + 2 * (abs(first - guess) + 1).bit_length()


@given(st.integers(1, 500))
def test_nothing_passes(guess: int) -> None:
    assert least(lambda number: False, guess, most=300) is None


@given(st.integers(1, 100), st.sets(st.integers(1, 100), min_size=1))
def test_what_it_finds_passes_and_the_one_before_fails_even_where_more_is_not_always_better(
    guess: int, good: set[int]
) -> None:
    found = least(lambda number: number in good, guess, most=100)
    if found is not None:
        assert found in good
        assert found - 1 not in good
