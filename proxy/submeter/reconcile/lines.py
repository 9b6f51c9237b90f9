"""What an invoice says, whatever its format."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

NANO_PER_USD = 10**9

Part = Literal["input", "cached_input", "cache_write", "output"]
"""The token class that an amount is for, where the invoice has a line for each."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens, counted as the ledger counts them: ``input_tokens`` is the total. ``None``: the invoice does not say."""

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None


USAGE_FIELDS: tuple[str, ...] = Usage.__struct_fields__


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    row: int
    """Line of the CSV, or number of the result in the JSON, from 1."""
    day: int
    """Days since 1970, UTC."""
    model: str | None = None
    item: str | None = None
    """What is billed, where it is not a model's tokens: ``web search tool calls``."""
    key: str | None = None
    """The provider's name of the API key."""
    tier: str | None = None
    part: Part | None = None
    requests: int | None = None
    usage: Usage = Usage()
    amount_usd: Decimal | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """Lines in the order of the source."""

    source: str
    """For people: ``OpenAI costs (JSON)``."""
    provider: str | None
    """``openai``, ``anthropic``; ``None`` for a table of any origin."""
    lines: tuple[InvoiceLine, ...]
    days: tuple[int, int] | None
    """First and last day that it covers, with or without spending."""
    row_word: str = "result"
    notes: tuple[str, ...] = ()

    @property
    def has_amounts(self) -> bool:
        return any(line.amount_usd is not None for line in self.lines)

    @property
    def unit_nano_usd(self) -> Fraction:
        """The last place that amounts are written to, which is what they are rounded to; a cent at most."""
        places = max((_places(line.amount_usd) for line in self.lines if line.amount_usd is not None), default=9)
        return Fraction(NANO_PER_USD, 10 ** max(places, 2))


def _places(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "readers refuse NaN and infinity"
    return max(0, -exponent)


def total_nano_usd(lines: Iterable[InvoiceLine]) -> int | None:
    """The exact sum, rounded half-even once; ``None`` where no line has an amount."""
    amounts = [Fraction(line.amount_usd) for line in lines if line.amount_usd is not None]
    return round(sum(amounts, Fraction()) * NANO_PER_USD) if amounts else None


def total_usage(lines: Sequence[InvoiceLine]) -> Usage:
    """Sums over the lines that say; ``None`` where none does."""
    sums = {}
    for name in USAGE_FIELDS:
        counts = [count for line in lines if (count := getattr(line.usage, name)) is not None]
        sums[name] = sum(counts) if counts else None
    return Usage(**sums)


def total_requests(lines: Iterable[InvoiceLine]) -> int | None:
    counts = [line.requests for line in lines if line.requests is not None]
    return sum(counts) if counts else None
