"""Times as people type them and as the ledger prints them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core import when

NOW_NS = 1_795_000_000_123_456_789


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [
        ("90s", 90),
        ("30m", 30 * 60),
        ("24h", 24 * 3600),
        ("7d", 7 * 86_400),
        ("2w", 14 * 86_400),
        ("0s", 0),
    ],
)
def test_ago(text: str, ago_s: int) -> None:
    assert when.parse_since(text, NOW_NS) == NOW_NS - ago_s * 10**9


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("1970-01-01", 0),
        ("2025-11-20", 1_763_596_800 * 10**9),
        ("2025-11-20T00:00:01", 1_763_596_801 * 10**9),
        ("2025-11-20T00:00:01Z", 1_763_596_801 * 10**9),
        ("2025-11-20 00:00:01z", 1_763_596_801 * 10**9),
        ("2025-11-20T02:00:01+02:00", 1_763_596_801 * 10**9),
        ("2025-11-19T22:00:01-02:00", 1_763_596_801 * 10**9),
        ("2025-11-20T00:00:01.5Z", 1_763_596_801 * 10**9 + 500_000_000),
        ("2025-11-20T00:00:01.123456789Z", 1_763_596_801 * 10**9 + 123_456_789),
        ("1969-12-31T23:59:59Z", -(10**9)),
    ],
)
def test_moments(text: str, at_ns: int) -> None:
    assert when.parse_since(text, NOW_NS) == at_ns


def test_all_is_no_limit_and_nothing_lies_before_1970() -> None:
    assert when.parse_since("all", NOW_NS) is None
    assert when.parse_since("999999999w", NOW_NS) == 0


@pytest.mark.parametrize(
    "text",
    [
        *("", "7", "d", "-7d", "7 d", "7D", "yesterday", "2026-13-01", "2026-02-30", "2026-11-20T25:00:00Z"),
        *("2026-11-20T08:30Z", "2026-11-20T08:30:00.1234567890Z", "9999-01-01", "٧d", "2026-11-20\n"),
    ],
)
def test_anything_else_names_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="write 7d, 24h, 30m"):
        when.parse_since(text, NOW_NS)


@given(st.integers(0, when.MAX_NS))
def test_a_printed_time_reads_back_to_the_nanosecond(at_ns: int) -> None:
    text = when.rfc3339(at_ns)
    assert len(text) == len("2026-11-20T08:30:00.123456789Z")
    assert when.parse_moment(text) == at_ns
    assert datetime.fromisoformat(text) <= datetime.fromtimestamp(at_ns // 10**9 + 1, UTC)


@given(st.text(max_size=40))
def test_any_text_is_a_time_in_64_bits_or_a_value_error(text: str) -> None:
    try:
        at_ns = when.parse_since(text, NOW_NS)
    except ValueError:
        return
    assert at_ns is None or abs(at_ns) < 2**63


def test_days_and_hours() -> None:
    number = 1_763_596_800 // 3600 + 14
    assert when.hour(number) == "2025-11-20T14:00Z"
    assert when.day(number // 24) == "2025-11-20"
