"""The unit of a report: an ISO 8601 week, Monday 00:00 to Monday 00:00 UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from submeter.core.when import DAY_NS, MAX_NS

DAYS = 7
NS = DAYS * DAY_NS

_WRITTEN = re.compile(r"([0-9]{4})-?[Ww]([0-9]{1,2})")
_EPOCH = date(1970, 1, 1)
_FIRST, _LAST = date(1970, 1, 5), _EPOCH + timedelta(days=MAX_NS // DAY_NS - DAYS)
"""The Mondays of the first and the last week whose every instant is a Unix time of 64 bits."""


@dataclass(frozen=True, order=True, slots=True)
class Week:
    """``year`` is the ISO year, which is not always that of its days: 2024-12-30 is in 2025-W01."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """What people write: ``2026-W47``. Raises ``ValueError``, whose text says so."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(f"a week is written as in 2026-W47 (ISO 8601, UTC), not {text!r}")
        year, number = int(found[1]), int(found[2])
        try:
            monday = date.fromisocalendar(year, number, 1)
        except ValueError:
            raise ValueError(f"there is no week {text}: the weeks of a year are W01 to W52, of some to W53") from None
        if not _FIRST <= monday <= _LAST:
            raise ValueError(f"week {text} is out of reach: give one from {cls.of_day(_FIRST)} to {cls.of_day(_LAST)}")
        return cls(year, number)

    @classmethod
    def of_ns(cls, at_ns: int) -> Self:
        """The week in which a Unix time (ns) lies."""
        return cls.of_day(_EPOCH + timedelta(days=at_ns // DAY_NS))

    @classmethod
    def of_day(cls, day: date) -> Self:
        year, number, _ = day.isocalendar()
        return cls(year, number)

    @property
    def monday(self) -> date:
        return date.fromisocalendar(self.year, self.number, 1)

    @property
    def days(self) -> tuple[date, ...]:
        """Monday to Sunday."""
        return tuple(self.monday + timedelta(days=number) for number in range(DAYS))

    @property
    def end_day(self) -> date:
        """The Monday after it, which is not in it."""
        return self.monday + timedelta(days=DAYS)

    @property
    def start_ns(self) -> int:
        return int((self.monday - _EPOCH).days) * DAY_NS

    @property
    def end_ns(self) -> int:
        """Exclusive."""
        return self.start_ns + NS

    def previous(self, weeks: int = 1) -> "Week":
        return Week.of_day(self.monday - timedelta(weeks=weeks))

    def next(self, weeks: int = 1) -> "Week":
        return self.previous(-weeks)

    @property
    def text(self) -> str:
        return f"{self.year:04d}-W{self.number:02d}"

    def __str__(self) -> str:
        return self.text


def last_complete(now_ns: int) -> Week:
    """The newest week that is over."""
    return Week.of_ns(now_ns).previous()


def day_of(at_ns: int) -> date:
    """The UTC day in which a Unix time (ns) lies."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).date()
