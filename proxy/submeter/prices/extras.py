"""What litellm's map says of an entry beside its prices per token: fees, regions, hours of the day.

Each reader returns what it understood, and the names of the fields that it did not: they are counted, never guessed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from submeter.core.pricebook import STANDARD, Bracket, OffPeak, Window
from submeter.prices.fields import CLASSES, token_class, usd, usd_per_million

EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
_MINUTES_PER_DAY = 1440
SEARCH = "search_context_cost_per_query"

NEXT_DAY_MINUTES = {None: 1440, "UTC": 1440, "Asia/Shanghai": 16 * 60}
"""Calendar whose weekdays a window may name → the minute of a UTC day at which its next day begins (China has no
summer time)."""

REGIONS = {
    "regional_processing_uplift_multiplier_eu": "eu",
    "regional_processing_uplift_multiplier_us": "us",
    "regional_endpoint_uplift_multiplier": "regional",
}
"""``regional``: Vertex AI, every endpoint but the global one."""

Tiers = dict[str, tuple[Bracket, ...]]


def read_fees(fields: Mapping[str, object]) -> dict[str, Decimal]:
    """``request`` and ``web_search``, USD each. A search has a fee here only if every search of the model costs it."""
    fees = {"request": usd(fields.get("input_cost_per_request")), "web_search": _search_fee(fields)}
    return {name: fee for name, fee in fees.items() if fee is not None}


def _search_fee(fields: Mapping[str, object]) -> Decimal | None:
    sizes = fields.get(SEARCH)
    if not isinstance(sizes, dict) or not sizes or _bills_prompts(fields):
        return None
    found = {usd(value) for value in sizes.values()}
    return found.pop() if len(found) == 1 else None


def _bills_prompts(fields: Mapping[str, object]) -> bool:
    """Google bills Gemini 2 by the grounded prompt, however many searches it led to; Gemini 3 by the search."""
    google = str(fields.get("litellm_provider")) in ("gemini", "vertex_ai", "vertex_ai-language-models")
    return google and fields.get("web_search_billing_unit") != "per_query"


def read_regions(fields: Mapping[str, object]) -> dict[str, Decimal]:
    """Region → what every token price is multiplied by."""
    found = {region: usd(fields.get(field)) for field, region in REGIONS.items()}
    found["us"] = usd(_own(fields).get("us")) if found["us"] is None else found["us"]
    return {region: factor for region, factor in found.items() if factor is not None}


def read_fast(fields: Mapping[str, object]) -> Decimal | None:
    """What Anthropic's fast mode multiplies every price by."""
    return usd(_own(fields).get("fast"))


def _own(fields: Mapping[str, object]) -> Mapping[str, object]:
    own = fields.get("provider_specific_entry")
    return own if isinstance(own, dict) else {}


def read_off_peak(key: str, fields: Mapping[str, object], tiers: Tiers) -> OffPeak | None:
    """The standard tier at its quiet hours: prices that the map does not name there stay as they are."""
    block = fields.get("off_peak_pricing")
    calendar = block.get("weekday_timezone") if isinstance(block, dict) else 0
    if not isinstance(block, dict) or not isinstance(calendar, str | None) or calendar not in NEXT_DAY_MINUTES:
        return None
    windows = tuple(_in_utc(_windows(block), NEXT_DAY_MINUTES[calendar]))
    prices = {
        token_class(key, fields, base): price
        for base in CLASSES
        if (price := usd_per_million(block.get(base))) is not None
    }
    if not windows or not prices:
        return None
    base = tiers[STANDARD][0].usd_per_million if STANDARD in tiers else {}
    return OffPeak(windows, {STANDARD: (Bracket(0, {**base, **prices}),)})


def _windows(block: Mapping[str, object]) -> Iterator[Window]:
    yield from _day_windows(block.get("hours_utc"), EVERY_DAY)
    rules = block.get("windows")
    for rule in rules if isinstance(rules, list) else ():
        days = rule.get("weekdays", list(EVERY_DAY)) if isinstance(rule, dict) else None
        if isinstance(days, list) and all(type(day) is int and day in EVERY_DAY for day in days):
            yield from _day_windows(rule.get("hours_utc"), tuple(days))


def _in_utc(windows: Iterable[Window], next_day: int) -> Iterator[Window]:
    """Hours are UTC already; a weekday that begins earlier than UTC's is the day before for what is after that hour."""
    for days, start, end in map(msgspec.structs.astuple, windows):
        before = tuple((day - 2) % 7 + 1 for day in days)
        parts = (Window(days, start, min(end, next_day)), Window(before, max(start, next_day), end))
        yield from (window for window in parts if window.start_minute < window.end_minute)


def _day_windows(hours: object, weekdays: tuple[int, ...]) -> Iterator[Window]:
    for text in [hours] if isinstance(hours, str) else hours if isinstance(hours, list) else ():
        yield from parse_hours(text, weekdays) if isinstance(text, str) else ()


def parse_hours(text: str, weekdays: Sequence[int]) -> tuple[Window, ...]:
    """``16:30-00:30`` on these weekdays (ISO, of the hour itself) → one window, or two where it passes midnight.

    Equal ends are the whole day. Nothing comes of a text that is not two times of the day.
    """
    first, dash, last = text.partition("-")
    start, end = _minute(first), _minute(last)
    if not dash or start is None or end is None:
        return ()
    days = tuple(weekdays)
    if start < end:
        return (Window(days, start, end),)
    parts = (Window(days, start, _MINUTES_PER_DAY), Window(days, 0, end))
    return tuple(window for window in parts if window.start_minute < window.end_minute)


def _minute(text: str) -> int | None:
    hour, colon, minute = text.strip().partition(":")
    if not (colon and _is_number(hour) and _is_number(minute)):
        return None
    found = int(hour) * 60 + int(minute)
    return found if int(minute) < 60 and found <= _MINUTES_PER_DAY else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 2
