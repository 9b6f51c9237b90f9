"""Single values of an export → numbers, days and names; everything else is a ``UsageError`` that says where and what.

Numbers arrive as the text that stood in the file, from JSON too: none passes through a float. No error quotes the file.
"""

import re
from decimal import Decimal
from typing import Never

from submeter.core import when
from submeter.errors import UsageError

MAX_NAME = 256
MAX_COUNT = 10**15
MAX_USD = 10**12
FIRST_DAY = 10_957
"""2000-01-01; an export that names an earlier day has another unit of time."""
LAST_DAY = 84_006
"""2200-01-01."""

_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,2})?")
_SECONDS = re.compile(r"[0-9]{9,10}(?:\.0+)?")


def fail(place: str, problem: str) -> Never:
    raise UsageError(f"{place}: {problem}")


def read_decimal(place: str, name: str, value: object) -> Decimal | None:
    """A plain number, ``None`` where nothing stands."""
    text = value.strip() if isinstance(value, str) else value
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        fail(place, f"{name} is not a number")
    if "," in text:
        fail(place, f"{name} has a comma: write 1234.56, without a decimal comma and without separators")
    if _NUMBER.fullmatch(text) is None:
        fail(place, f"{name} is not a plain number such as 1234.56: remove currency signs and text from it")
    return Decimal(text)


def read_usd(place: str, name: str, value: object, currency: object, *, cents: bool = False) -> Decimal | None:
    """An amount in USD, exactly; credits are negative."""
    amount = read_decimal(place, name, value)
    if amount is None:
        return None
    if currency is not None and str(currency).strip().lower() not in ("usd", ""):
        fail(place, f"{name} is not in USD: convert it, or export from an account that is billed in USD")
    if abs(amount) >= MAX_USD:
        fail(place, f"{name} is more than anybody was ever billed: check the column and its unit")
    return _in_dollars(amount) if cents else amount


def _in_dollars(cents: Decimal) -> Decimal:
    """Moves the point; arithmetic would round to 28 digits."""
    sign, digits, exponent = cents.as_tuple()
    assert isinstance(exponent, int), "matched by _NUMBER"
    return Decimal((sign, digits, exponent - 2))


def read_count(place: str, name: str, value: object) -> int | None:
    """A count of tokens or requests; spreadsheets write 59200 as ``59200.0``."""
    number = read_decimal(place, name, value)
    if number is None:
        return None
    if number < 0 or number > MAX_COUNT or number % 1:
        fail(place, f"{name} is not a count: expected a whole number from 0")
    return int(number)


def read_day(place: str, name: str, value: object) -> int:
    """Days since 1970 (UTC) of Unix seconds, a day, or an RFC 3339 time."""
    return read_moment(place, name, value) // when.DAY_NS


def read_moment(place: str, name: str, value: object) -> int:
    """Unix ns of the same forms."""
    text = value.strip() if isinstance(value, str) else ""
    at_ns = int(Decimal(text)) * when.NS_PER_S if _SECONDS.fullmatch(text) else _parse_moment(place, name, text)
    if not FIRST_DAY <= at_ns // when.DAY_NS <= LAST_DAY:
        fail(place, f"{name} is before 2000 or after 2200: expected a day such as 2026-11-20, or Unix seconds")
    return at_ns


def _parse_moment(place: str, name: str, text: str) -> int:
    try:
        return when.parse_moment(text)
    except ValueError:
        fail(place, f"{name} is no date: expected 2026-11-20, 2026-11-20T08:30:00Z or Unix seconds")


def read_name(place: str, name: str, value: object) -> str | None:
    """A model, a key, a line item; ``None`` where nothing stands."""
    if value is None:
        return None
    if not isinstance(value, str):
        fail(place, f"{name} is not text")
    if len(value) > MAX_NAME:
        fail(place, f"{name} is longer than {MAX_NAME} characters: is the column the right one?")
    # Half a surrogate pair, which JSON can hold and no output can.
    return value.strip().encode("utf-8", "replace").decode() or None
