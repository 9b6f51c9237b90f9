"""The caller's own prices: the configuration's ``prices:`` list → entries that go before the snapshot's."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from submeter.config.nearest import known_or_nearest
from submeter.core.pricebook import STANDARD, TIER_NAMES, Bracket, OffPeak, PriceEntry, Window, tier_name
from submeter.errors import UsageError
from submeter.prices.amounts import PRICE_NAMES, read_amount, read_prices
from submeter.prices.extras import EVERY_DAY, parse_hours

__all__ = ["PRICE_NAMES", "parse_overlay"]

FEES = ("request", "web_search")
MAX_USD_PER_REQUEST = 1000
MAX_FACTOR = 100

_KEYS = (
    "model",
    "provider",
    "from",
    "until",
    "source",
    "checked_on",
    "usd_per_million",
    "tiers",
    "above",
    "usd_per_request",
    "regions",
    "off_peak",
    "discount_percent",
    "max_input_tokens",
    "max_output_tokens",
)
_PRICES = ("usd_per_million", "tiers", "above", "usd_per_request", "off_peak")
"""What a discount stands in place of."""

Item = Mapping[object, object]
Tiers = dict[str, tuple[Bracket, ...]]


def parse_overlay(items: Sequence[object]) -> tuple[PriceEntry, ...]:
    """Check and convert the list. Raises UsageError that names the entry and the fix."""
    return tuple(_entry(item, place) for place, item in enumerate(items, start=1))


def _entry(item: object, place: int) -> PriceEntry:
    where = f"prices: entry {place}"
    if not isinstance(item, Mapping):
        raise UsageError(f"{where} must be a mapping with model and usd_per_million")
    model = item.get("model")
    if not isinstance(model, str) or not model:
        raise UsageError(f'{where} needs model: an exact name or a glob, such as "my-model*"')
    where = f"{where} ({model})"
    _reject_unknown(item, _KEYS, where)
    first, last = _day(item, "from", where), _day(item, "until", where)
    if first is not None and last is not None and last < first:
        raise UsageError(f"{where}: until {last} is before from {first}: swap them")
    discount = _discount(item, where)
    tiers = {} if discount is not None else _tiers(item, where)
    return PriceEntry(
        model=model,
        provider=_text(item, "provider", where),
        source=_text(item, "source", where) or "",
        checked_on=_day(item, "checked_on", where),
        valid_from=first,
        valid_until=last,
        max_input_tokens=_limit(item, "max_input_tokens", where),
        max_output_tokens=_limit(item, "max_output_tokens", where),
        tiers=tiers,
        fees=_factors(item, "usd_per_request", where, FEES, MAX_USD_PER_REQUEST),
        regions=_factors(item, "regions", where, None, MAX_FACTOR),
        off_peak=_off_peak(item, where, tiers),
        discount=discount,
    )


def _reject_unknown(item: Item, known: Iterable[str], where: str) -> None:
    for key in item:
        known_or_nearest(str(key), known, f"{where}: unknown key {key}")


def _discount(item: Item, where: str) -> Decimal | None:
    if "discount_percent" not in item:
        return None
    beside = next((key for key in _PRICES if key in item), None)
    if beside is not None:
        raise UsageError(f"{where}: {beside} and discount_percent exclude each other: make two entries, or keep one")
    percent = read_amount(item["discount_percent"], f"{where}: discount_percent", 100, "15")
    return percent.scaleb(-2)


def _tiers(item: Item, where: str) -> Tiers:
    """The standard tier's brackets, then each other tier's."""
    base = Bracket(0, read_prices(item.get("usd_per_million"), where))
    named = _mapping(item.get("tiers", {}), f"{where}: tiers", '{batch: {input: "0.075"}}')
    tiers: Tiers = {STANDARD: (base, *_above(item, where))}
    for name, prices in named.items():
        tier = tier_name(str(name))
        if tier == STANDARD:
            raise UsageError(f"{where}: tiers.{name} is the standard tier: its prices stand in usd_per_million")
        if tier in tiers:
            again = [other for other, meant in TIER_NAMES.items() if meant == tier]
            raise UsageError(f"{where}: tiers.{name} is given twice, as {again[0]}: keep one")
        tiers[tier] = (Bracket(0, read_prices(prices, f"{where}: tiers.{name}", key="")),)
    return tiers


def _above(item: Item, where: str) -> tuple[Bracket, ...]:
    parts = item.get("above", [])
    example = '[{input_tokens: 272000, usd_per_million: {input: "5"}}]'
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise UsageError(f"{where}: above must be a list such as {example}")
    found: dict[int, Bracket] = {}
    for place, part in enumerate(parts, start=1):
        here = f"{where}: above {place}"
        inside = _mapping(part, here, example[1:-1])
        _reject_unknown(inside, ("input_tokens", "usd_per_million"), here)
        above = _limit(inside, "input_tokens", here)
        if above is None or above in found:
            fix = "needs input_tokens, such as 272000" if above is None else f"repeats input_tokens {above}: keep one"
            raise UsageError(f"{here} {fix}")
        found[above] = Bracket(above, read_prices(inside.get("usd_per_million"), here))
    return tuple(found[above] for above in sorted(found))


def _factors(item: Item, key: str, where: str, known: Iterable[str] | None, most: int) -> dict[str, Decimal]:
    example = '{request: "0.005"}' if known else '{eu: "1.1"}'
    found = _mapping(item.get(key, {}), f"{where}: {key}", example)
    if known is not None:
        _reject_unknown(found, known, f"{where}: {key}")
    return {str(name): read_amount(value, f"{where}: {key}.{name}", most, "1.1") for name, value in found.items()}


def _off_peak(item: Item, where: str, tiers: Tiers) -> OffPeak | None:
    """Its prices replace those of the standard tier within the hours; what it does not name stays."""
    if "off_peak" not in item:
        return None
    where = f"{where}: off_peak"
    block = _mapping(item["off_peak"], where, '{hours_utc: ["16:30-00:30"], usd_per_million: {input: "0.1"}}')
    _reject_unknown(block, ("hours_utc", "weekdays", "usd_per_million"), where)
    prices = read_prices(block.get("usd_per_million"), where)
    quiet = tuple(
        Bracket(bracket.above_tokens, {**bracket.usd_per_million, **prices}) for bracket in tiers.get(STANDARD, ())
    )
    return OffPeak(_windows(block, where), {STANDARD: quiet})


def _windows(block: Item, where: str) -> tuple[Window, ...]:
    days = block.get("weekdays", list(EVERY_DAY))
    if not isinstance(days, list) or not days or not all(type(day) is int and day in EVERY_DAY for day in days):
        raise UsageError(f"{where}: weekdays must be a list of 1 (Monday) to 7 (Sunday)")
    hours = block.get("hours_utc")
    texts = hours if isinstance(hours, list) and hours else [hours]
    windows: list[Window] = []
    for text in texts:
        found = parse_hours(text, days) if isinstance(text, str) else ()
        if not found:
            raise UsageError(f'{where}: hours_utc must be a list of hours such as "16:30-00:30", in quotes')
        windows.extend(found)
    return tuple(windows)


def _mapping(value: object, where: str, example: str) -> Item:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} must be a mapping such as {example}")
    return value


def _day(item: Item, key: str, where: str) -> date | None:
    value = item.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise UsageError(f"{where}: {key} must be a day (UTC) such as 2026-01-31")


def _limit(item: Item, key: str, where: str) -> int | None:
    value = item.get(key)
    if value is None:
        return None
    if type(value) is not int or value <= 0:
        raise UsageError(f"{where}: {key} must be a whole number above 0, such as 4096")
    return value


def _text(item: Item, key: str, where: str) -> str | None:
    value = item.get(key)
    if value is None or (isinstance(value, str) and value):
        return value
    raise UsageError(f"{where}: {key} must be text: put it in quotes")
