"""Amounts as people write them in YAML: decimal strings, so that they stay exact."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from submeter.config.nearest import known_or_nearest
from submeter.core.record import TOKEN_CLASSES
from submeter.errors import UsageError

PRICE_NAMES = {
    "input": "input_uncached",
    "cached_input": "cached_read",
    "output": "output_text",
    **{name: name for name in TOKEN_CLASSES},
}
"""What may stand in ``usd_per_million``: everyday names, and every class by its own."""

_MAX_DECIMALS = 15
_MAX_USD_PER_MILLION = 10**6


def read_prices(prices: object, where: str, *, key: str = "usd_per_million") -> dict[str, Decimal]:
    """Token class → USD per million. Raises UsageError that names the place and the fix."""
    if not isinstance(prices, Mapping) or not prices:
        raise UsageError(f'{where} needs {key or "prices"}: {{input: "0.15", output: "0.60"}}')
    where = f"{where}: {key}" if key else where
    found: dict[str, Decimal] = {}
    for written, value in prices.items():
        known_or_nearest(str(written), PRICE_NAMES, f"{where}: unknown key {written}")
        name = PRICE_NAMES[written]
        if name in found:
            raise UsageError(f"{where}: {written} is given twice under two names: keep one")
        found[name] = read_amount(value, f"{where}.{written}", _MAX_USD_PER_MILLION, "0.15")
    return found


def read_amount(value: object, where: str, most: int, example: str) -> Decimal:
    """From 0 to ``most``. Raises UsageError."""
    if isinstance(value, float):
        raise UsageError(f'{where}: write it as a string: "{value}" (so that the decimals stay exact)')
    try:
        amount = Decimal(value) if isinstance(value, str) or type(value) is int else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or not 0 <= amount <= most:
        raise UsageError(f'{where} must be a decimal string from "0" to "{most}", such as "{example}"')
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _MAX_DECIMALS:
        raise UsageError(f"{where} has more than {_MAX_DECIMALS} decimals: round it")
    return amount
