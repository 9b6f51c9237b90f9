"""Figures as the page writes them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.meter import figures
from submeter.meter.overview import start_of_day, start_of_week

DOLLAR = 1_000_000_000
amounts = st.integers(min_value=0, max_value=9 * 10**18)


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (None, "–"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (123_456, "$0.000123"),
        (50_000_000, "$0.0500"),
        (338_600_000, "$0.339"),
        (DOLLAR, "$1.00"),
        (1_005_000_000, "$1.00"),  # half-even
        (1_015_000_000, "$1.02"),
        (1234 * DOLLAR + 560_000_000, "$1,234.56"),
    ],
)
def test_usd(nano_usd: int | None, text: str) -> None:
    assert figures.usd(nano_usd) == text


def test_usd_exact() -> None:
    assert figures.usd_exact(1234 * DOLLAR + 5) == "$1,234.000000005"
    assert figures.usd_exact(None) == "–"


@given(amounts)
def test_what_is_shown_is_within_half_a_place_and_never_nothing(nano_usd: int) -> None:
    text = figures.usd(nano_usd)
    shown = Decimal(text.removeprefix("$").replace(",", ""))
    places = -int(shown.as_tuple().exponent)
    assert abs(shown - nano_usd * Decimal("1e-9")) <= Decimal(5).scaleb(-places - 1)
    assert (shown == 0) == (nano_usd == 0)


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([], []),
        ([0, 0], ["$0.00", "$0.00"]),
        ([12 * DOLLAR, DOLLAR // 2], ["$12.00", "$0.50"]),
        ([12 * DOLLAR, DOLLAR // 80], ["$12.0000", "$0.0125"]),
        ([12 * DOLLAR, 13_000], ["$12.0000", "<$0.0001"]),
        ([1200 * DOLLAR, DOLLAR // 80], ["$1,200.00", "$0.01"]),
        ([114_000_000, 88_000], ["$0.114000", "$0.000088"]),
    ],
)
def test_the_amounts_of_a_column_share_their_places(column: list[int], shown: list[str]) -> None:
    to = figures.places_for(column)
    assert [figures.usd(nano_usd, to) for nano_usd in column] == shown


@given(st.lists(amounts, max_size=8))
def test_columns_have_cents_at_least(column: list[int]) -> None:
    assert 2 <= figures.places_for(column) <= 9


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0 k"), (12_345, "12.3 k"), (999_499, "999 k"), (4_560_000, "4.56 M"),
     (45_600_000, "45.6 M"), (2_000_000_000, "2.00 G")],
)  # fmt: skip
def test_compact(value: int, text: str) -> None:
    assert figures.compact(value) == text


@pytest.mark.parametrize(
    ("duration_ns", "in_ms", "in_words"),
    [
        (None, "–", "–"),
        (840_000, "0.8", "0.8 ms"),
        (9_940_000, "9.9", "9.9 ms"),
        (412_300_000, "412", "412 ms"),
        (1_240_000_000, "1,240", "1.24 s"),
    ],
)
def test_durations(duration_ns: int | None, in_ms: str, in_words: str) -> None:
    assert (figures.ms(duration_ns), figures.duration(duration_ns)) == (in_ms, in_words)


def test_share() -> None:
    assert figures.share(1, 8) == "12.5 %"
    assert figures.share(0, 0) == "–"


def test_plural() -> None:
    assert [figures.plural(number, "call") for number in (0, 1, 1200)] == ["0 calls", "1 call", "1,200 calls"]


@given(st.text())
def test_visible_text_has_nothing_that_hides(text: str) -> None:
    assert figures.visible(text).isprintable()
    if text.isprintable():
        assert figures.visible(text) == text


def test_days_and_weeks_begin_at_midnight_utc() -> None:
    thursday_noon_ns = 1_763_640_000 * 10**9  # 2025-11-20T12:00:00Z
    assert start_of_day(thursday_noon_ns) == 1_763_596_800 * 10**9
    monday_ns = 1_763_337_600 * 10**9  # 2025-11-17T00:00:00Z
    assert start_of_week(thursday_noon_ns) == monday_ns
    assert start_of_week(monday_ns) == monday_ns
    assert start_of_week(monday_ns - 1) == monday_ns - 7 * 86_400 * 10**9
