"""Points in time, written and read: Unix nanoseconds, RFC 3339, and what people type after ``--since``.

Everything is UTC. The clock is the caller's: functions that need the present take ``now_ns``.
"""

import re
from datetime import UTC, datetime

NS_PER_S = 1_000_000_000
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
MAX_NS = 2**63 - 1
"""The ledger's integers have 64 bits: enough until the year 2262."""

FORMS = "write 7d, 24h, 30m or 90s (ago), a day such as 2026-11-20, a time such as 2026-11-20T08:30:00Z, or all"

_UNITS_NS = {"s": NS_PER_S, "m": 60 * NS_PER_S, "h": HOUR_NS, "d": DAY_NS, "w": 7 * DAY_NS}
_AGO = re.compile(r"([0-9]{1,9})([smhdw])")
_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)


def rfc3339(at_ns: int) -> str:
    """``2026-11-20T08:30:00.123456789Z``: nine digits always, so that texts sort as times do."""
    seconds, fraction = divmod(at_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{fraction:09d}Z"


def parse_moment(text: str) -> int:
    """Unix ns of a day (its first instant) or an RFC 3339 time; without an offset it is UTC.

    Raises ``ValueError``, whose text names the forms.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(FORMS)
    time, offset = match["time"] or "00:00:00", match["offset"] or "Z"
    try:
        moment = datetime.fromisoformat(f"{match['day']}T{time}{offset.upper()}")
    except ValueError:
        raise ValueError(f"there is no such time; {FORMS}") from None
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    fraction_ns = int((match["fraction"] or "").ljust(9, "0"))
    at_ns = (since_epoch.days * 86_400 + since_epoch.seconds) * NS_PER_S + fraction_ns
    if abs(at_ns) > MAX_NS:
        raise ValueError(f"that is too far away; {FORMS}")
    return at_ns


def parse_since(text: str, now_ns: int) -> int | None:
    """Unix ns of what people type: ``7d`` ago, a day, a time; ``None`` for ``all``. Raises ``ValueError``."""
    if text == "all":
        return None
    match = _AGO.fullmatch(text)
    if match is None:
        return parse_moment(text)
    return max(0, now_ns - int(match[1]) * _UNITS_NS[match[2]])


def day(number: int) -> str:
    """``2026-11-20`` of a count of days since 1970."""
    return rfc3339(number * DAY_NS)[:10]


def hour(number: int) -> str:
    """``2026-11-20T08:00Z`` of a count of hours since 1970."""
    return f"{rfc3339(number * HOUR_NS)[:16]}Z"
