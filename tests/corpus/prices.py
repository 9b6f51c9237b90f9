"""The prices of every recorded answer, whatever its model: no class costs the same as another."""

from collections.abc import Collection
from decimal import Decimal

from submeter.core.pricebook import Bracket, PriceBook, PriceEntry

NANO_USD: dict[str, int] = {
    "input_uncached": 1000,
    "cached_read": 100,
    "cache_write": 1200,
    "cache_write_5m": 1250,
    "cache_write_30m": 1300,
    "cache_write_1h": 2000,
    "cache_write_12h": 2500,
    "input_audio": 32000,
    "input_image": 1500,
    "output_text": 4000,
    "reasoning": 4100,
    "output_audio": 64000,
    "cached_audio": 400,
    "output_image": 30000,
    "web_search": 10_000_000,
}
"""Per token; the last one per search, by the request."""

TIERS = ("standard", "flex", "priority", "fast", "batch")


MEDIA = ("input_audio", "input_image", "cached_audio", "output_audio", "output_image")


def book(*, without: Collection[str] = ()) -> PriceBook:
    """One entry for all models and, since no recording is about them, at one price in every tier.

    ``without``: classes that the model does not know, so that they do not widen the bounds.
    """
    rates = {name: Decimal(nano) / 1000 for name, nano in NANO_USD.items() if name not in ("web_search", *without)}
    tiers = {tier: (Bracket(0, rates),) for tier in TIERS}
    fees = {"web_search": Decimal(NANO_USD["web_search"]) / 10**9}
    return PriceBook(overlay=(PriceEntry(model="*", tiers=tiers, fees=fees),))
