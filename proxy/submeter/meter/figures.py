"""How the page writes figures: columns of dollars that line up at the point, milliseconds, counts, shares.

Money is integer nano-USD until the last step, and half-even from there. Missing is a dash, never 0.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

from submeter.core.figures import MISSING as MISSING
from submeter.core.figures import count as count
from submeter.core.figures import plural as plural
from submeter.core.figures import share as share
from submeter.core.figures import visible as visible

NANO = Decimal("1e-9")
DOLLAR = 1_000_000_000
MOST_PLACES = 9


def places(nano_usd: int) -> int:
    """Decimal places of one amount: cents from a dollar on, three significant digits below."""
    if nano_usd >= DOLLAR or nano_usd <= 0:
        return 2
    return min(MOST_PLACES, max(2, 2 - (nano_usd * NANO).adjusted()))


def places_for(amounts: Iterable[int]) -> int:
    """Decimal places of a column, which all its amounts share: enough for the smallest, within reason."""
    some = [amount for amount in amounts if amount > 0]
    if not some:
        return 2
    largest, smallest = places(max(some)), 1 - (min(some) * NANO).adjusted()
    if max(some) >= DOLLAR:  # cents, or else ten thousandths: three places are not how money is written
        return 2 if smallest <= 2 or max(some) >= 1000 * DOLLAR else 4
    return min(max(largest, smallest), largest + 3, MOST_PLACES)


def usd(nano_usd: int | None, to: int | None = None) -> str:
    """``$1,234.56``; ``to`` so many places in a column. A little is never shown as nothing: ``<$0.01``."""
    if nano_usd is None:
        return MISSING
    unit = Decimal(1).scaleb(-(places(nano_usd) if to is None else to))
    rounded = (nano_usd * NANO).quantize(unit, rounding=ROUND_HALF_EVEN)
    return f"<${unit:f}" if nano_usd > 0 and rounded == 0 else f"${rounded:,f}"


def usd_exact(nano_usd: int | None) -> str:
    """To the last nano-dollar: ``$0.123456789``."""
    return MISSING if nano_usd is None else f"${nano_usd * NANO:,.9f}"


def compact(value: int) -> str:
    """Three digits and a unit, from ten thousand on: ``9,999``, ``12.3 k``, ``4.56 M``."""
    for unit, symbol in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if value >= max(unit, 10_000):
            places = 2 if value < 10 * unit else 1 if value < 100 * unit else 0
            return f"{value / unit:,.{places}f} {symbol}"
    return f"{value:,}"


def ms(duration_ns: int | None) -> str:
    """Whole milliseconds, tenths below ten."""
    if duration_ns is None:
        return MISSING
    return f"{duration_ns / 1e6:,.{0 if duration_ns >= 10_000_000 else 1}f}"


def duration(duration_ns: int | None) -> str:
    """``8.4 ms``, ``412 ms``, ``1.24 s``."""
    if duration_ns is None:
        return MISSING
    return f"{ms(duration_ns)} ms" if duration_ns < 1_000_000_000 else f"{duration_ns / 1e9:,.2f} s"
