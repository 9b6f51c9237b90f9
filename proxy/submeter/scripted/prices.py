"""What this provider charges, by its own table: ``prices.json``, USD per million tokens as strings."""

from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import msgspec

Price = dict[str, str]
"""USD per million tokens by class, as strings: ``input``, ``output``, ``cached_read``, ``cache_write`` …"""

UNKNOWN_MODEL: Price = {"input": "1.00", "output": "2.00"}
"""What a model outside the table costs: made up, and marked ``price_known: false``."""


class Tokens(msgspec.Struct, frozen=True):
    """Disjoint token classes: each token is in exactly one of them."""

    input_uncached: int = 0
    cached_read: int = 0
    cache_write: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output_text: int = 0
    reasoning: int = 0

    @property
    def cache_writes(self) -> int:
        return self.cache_write + self.cache_write_5m + self.cache_write_1h

    @property
    def input(self) -> int:
        return self.input_uncached + self.cached_read + self.cache_writes

    @property
    def output(self) -> int:
        return self.output_text + self.reasoning

    @property
    def prompt(self) -> "Tokens":
        """The input alone."""
        return msgspec.structs.replace(self, output_text=0, reasoning=0)

    def plus(self, *, output_text: int = 0, reasoning: int = 0) -> "Tokens":
        """With so many more output tokens."""
        return msgspec.structs.replace(
            self, output_text=self.output_text + output_text, reasoning=self.reasoning + reasoning
        )


class TierPrices(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model of ``prices.json``."""

    input: str
    output: str
    cached_read: str | None = None
    cache_write: str | None = None
    cache_write_5m: str | None = None
    cache_write_1h: str | None = None
    tiers: dict[str, Price] = {}

    def standard(self) -> Price:
        return {name: value for name, value in msgspec.to_builtins(self).items() if name != "tiers"}


PRICES = msgspec.json.decode((Path(__file__).parent / "prices.json").read_bytes(), type=dict[str, TierPrices])


def price_of(model: str, service_tier: str) -> tuple[Price, bool]:
    """The price of a model at a service tier, and whether it stands in the table."""
    entry = PRICES.get(model)
    if entry is None:
        return UNKNOWN_MODEL, False
    return entry.tiers.get(service_tier, entry.standard()), True


def tier_served(model: str, asked: str | None) -> str:
    """The tier asked for where the model is sold in it, else ``default``."""
    entry = PRICES.get(model)
    return asked if asked is not None and entry is not None and asked in entry.tiers else "default"


def cost_nano_usd(tokens: Tokens, price: Price) -> int:
    """Each class rounded half-even to whole nano-USD, then summed. A class without a price of its own costs what
    plain input costs, or for reasoning what output costs. 1 USD per million tokens is 1,000 nano-USD per token."""
    parts = (
        (tokens.input_uncached, price["input"]),
        (tokens.cached_read, price.get("cached_read", price["input"])),
        (tokens.cache_write, price.get("cache_write", price["input"])),
        (tokens.cache_write_5m, price.get("cache_write_5m", price["input"])),
        (tokens.cache_write_1h, price.get("cache_write_1h", price["input"])),
        (tokens.output_text, price["output"]),
        (tokens.reasoning, price["output"]),
    )
    exact = (count * Decimal(usd_per_million) * 1000 for count, usd_per_million in parts)
    return sum(int(part.quantize(Decimal(1), ROUND_HALF_EVEN)) for part in exact)
