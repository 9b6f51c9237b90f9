"""The caller's own prices: the configuration's ``prices:`` list → entries that go before the snapshot's."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from submeter.config.nearest import known_or_nearest
from submeter.core.pricebook import STANDARD, Bracket, PriceEntry
from submeter.core.record import TOKEN_CLASSES
from submeter.errors import UsageError

PRICE_NAMES = {
    "input": "input_uncached",
    "cached_input": "cached_read",
    "output": "output_text",
    **{name: name for name in TOKEN_CLASSES},
}
"""What may stand in ``usd_per_million``: everyday names, and every class by its own."""

_KEYS = ("model", "from", "until", "source", "usd_per_million", "max_input_tokens", "max_output_tokens")
_MAX_DIGITS = 15
_MAX_USD_PER_MILLION = 10**6


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
    return PriceEntry(
        model=model,
        source=_text(item, "source", where),
        valid_from=first,
        valid_until=last,
        max_input_tokens=_limit(item, "max_input_tokens", where),
        max_output_tokens=_limit(item, "max_output_tokens", where),
        tiers={STANDARD: (Bracket(0, _prices(item.get("usd_per_million"), where)),)},
    )


def _reject_unknown(item: Mapping[object, object], known: Iterable[str], where: str) -> None:
    for key in item:
        known_or_nearest(str(key), known, f"{where}: unknown key {key}")


def _prices(prices: object, where: str) -> dict[str, Decimal]:
    if not isinstance(prices, Mapping) or not prices:
        raise UsageError(f'{where} needs usd_per_million: {{input: "0.15", output: "0.60"}}')
    where = f"{where}: usd_per_million"
    _reject_unknown(prices, PRICE_NAMES, where)
    found: dict[str, Decimal] = {}
    for key, value in prices.items():
        name = PRICE_NAMES[key]
        if name in found:
            raise UsageError(f"{where}: {key} is given twice under two names: keep one")
        found[name] = _price(value, f"{where}.{key}")
    return found


def _price(value: object, where: str) -> Decimal:
    if isinstance(value, float):
        raise UsageError(f'{where}: write it as a string: "{value}" (so that the decimals stay exact)')
    try:
        price = Decimal(value) if isinstance(value, str) or type(value) is int else None
    except InvalidOperation:
        price = None
    if price is None or not price.is_finite() or not 0 <= price <= _MAX_USD_PER_MILLION:
        raise UsageError(f'{where} must be a decimal string from "0" to "{_MAX_USD_PER_MILLION}", such as "0.15"')
    exponent = price.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _MAX_DIGITS:
        raise UsageError(f"{where} has more than {_MAX_DIGITS} decimals: round it")
    return price


def _day(item: Mapping[object, object], key: str, where: str) -> date | None:
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


def _limit(item: Mapping[object, object], key: str, where: str) -> int | None:
    value = item.get(key)
    if value is None:
        return None
    if type(value) is not int or value <= 0:
        raise UsageError(f"{where}: {key} must be a whole number above 0, such as 4096")
    return value


def _text(item: Mapping[object, object], key: str, where: str) -> str:
    value = item.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} must be text: put it in quotes")
    return value
