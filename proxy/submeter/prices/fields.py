"""The names of litellm's price fields, taken apart: token class, cache lifetime, context size, service tier.

``cache_creation_input_token_cost_above_1hr_above_200k_tokens_batches`` is what the batch tier takes for tokens
written to a one-hour cache in calls with more than 200,000 input tokens. The suffix that names a tier is data: a new
one needs no change here.
"""

import re
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import NamedTuple

from submeter.core.pricebook import tier_name

CLASSES = {
    "input_cost_per_token": "input_uncached",
    "cache_read_input_token_cost": "cached_read",
    "input_cost_per_token_cache_hit": "cached_read",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "input_audio",
    "cache_read_input_audio_token_cost": "cached_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_token": "output_text",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
}

_FIELD = re.compile(
    rf"({'|'.join(sorted(CLASSES, key=len, reverse=True))})"
    r"(?:_above_(1|12)hr)?(?:_above_(\d+)k_tokens)?(?:_([a-z]+))?"
)
_LIMITED_TTLS = {"1": "cache_write_1h", "12": "cache_write_12h"}

_EXACT_DIGITS = Context(prec=12)
"""The map's generators leave binary dust (1.3200000000000002E-7): more digits than this are rounded away."""


class Field(NamedTuple):
    base: str
    """The name without suffixes: a key of CLASSES."""
    hours: str | None
    """Lifetime of a cache write, where the name has one."""
    above_tokens: int
    tier: str


def read_field(name: str) -> Field | None:
    """None where the name is not that of a price per token."""
    found = _FIELD.fullmatch(name)
    if found is None:
        return None
    base, hours, thousands, tier = found.groups()
    return Field(base, hours, 0 if thousands is None else int(thousands) * 1000, tier_name(tier))


def token_class(key: str, fields: Mapping[str, object], base: str, hours: str | None = None) -> str:
    """The class that a price of the map's entry ``key`` is for."""
    name = CLASSES[base]
    if name != "cache_write":
        return name
    if hours is not None:
        return _LIMITED_TTLS[hours]
    # The plain price is that of the default lifetime, where a provider sells more than one.
    if "claude" in key or "cache_creation_input_token_cost_above_1hr" in fields:
        return "cache_write_5m"
    return "cache_write_30m" if "cache_creation_input_token_cost_above_12hr" in fields else name


def usd_per_million(usd_per_token: object) -> Decimal | None:
    """None where it is no price: not a number, or negative."""
    price = usd(usd_per_token)
    return None if price is None else plain(price.scaleb(6))


def usd(value: object) -> Decimal | None:
    """A number of the map, without its binary dust."""
    if type(value) not in (int, Decimal):
        return None
    price = _EXACT_DIGITS.plus(Decimal(str(value)))
    return plain(price) if price >= 0 else None


def plain(price: Decimal) -> Decimal:
    """Zero is 0, not 0E+6, and no exponents: as a person writes it."""
    return Decimal(format(price.normalize(), "f"))
