"""Weeks: how they are written, where they begin, and which one is over."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.week import Week, day_of, last_complete
from submeter.core.when import DAY_NS


def _ns(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 10**9


def test_a_week_begins_on_monday_at_midnight_utc_and_ends_where_the_next_begins() -> None:
    week = Week.parse("2026-W47")
    assert week.start_ns == _ns(2026, 11, 16)
    assert week.end_ns == _ns(2026, 11, 23) == week.next().start_ns
    assert week.days == tuple(date(2026, 11, day) for day in range(16, 23))
    assert (str(week), week.text, week.previous().text) == ("2026-W47", "2026-W47", "2026-W46")


def test_the_last_nanosecond_of_sunday_is_still_in_it() -> None:
    week = Week.parse("2026-W47")
    assert Week.of_ns(week.end_ns - 1) == week == Week.of_ns(week.start_ns)
    assert Week.of_ns(week.end_ns) == week.next()
    assert day_of(week.end_ns - 1) == date(2026, 11, 22)


def test_the_year_is_that_of_the_week_not_of_the_day() -> None:
    assert Week.of_day(date(2024, 12, 30)).text == "2025-W01"
    assert Week.of_day(date(2027, 1, 3)).text == "2026-W53"
    assert Week.parse("2027-W01").previous().text == "2026-W53"


@pytest.mark.parametrize("text", ["2026-W47", "2026W47", "2026-w47"])
def test_common_ways_to_write_one_are_read(text: str) -> None:
    assert Week.parse(text) == Week(2026, 47)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("47", "written as in 2026-W47"),
        ("2026-47", "written as in 2026-W47"),
        ("2026-W54", "W01 to W52, of some to W53"),
        ("2025-W53", "W01 to W52, of some to W53"),
        ("2026-W00", "W01 to W52"),
        ("1969-W40", "from 1970-W02 to 2262-W14"),
        ("9999-W01", "from 1970-W02 to 2262-W14"),
    ],
)
def test_what_is_no_week_says_how_to_write_one(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Week.parse(text)


def test_the_last_complete_week_is_the_one_before_the_one_we_are_in() -> None:
    assert last_complete(_ns(2026, 11, 23)) == Week(2026, 47)
    assert last_complete(_ns(2026, 11, 23) - 1) == Week(2026, 46)


@given(st.integers(4 * DAY_NS, 2**63 - 8 * DAY_NS))
def test_every_moment_is_in_exactly_one_week_which_reads_back(at_ns: int) -> None:
    week = Week.of_ns(at_ns)
    assert week.start_ns <= at_ns < week.end_ns
    assert Week.parse(week.text) == week
    assert week.next().previous() == week


@given(st.text(max_size=12))
def test_any_other_text_is_a_clear_error(text: str) -> None:
    try:
        week = Week.parse(text)
    except ValueError:
        return
    assert week.text[:4] == text[:4]
