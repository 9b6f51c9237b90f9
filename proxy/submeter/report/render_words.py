"""How the weekly report writes figures. Missing is a dash, never 0; money is decimal until it is written."""

import re
from collections.abc import Collection, Iterable
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from math import isfinite
from typing import NamedTuple

from submeter.core.figures import MISSING, count, duration, figure, plural, visible
from submeter.report.arithmetic import Line
from submeter.report.document import Band

__all__ = ["MISSING", "count", "duration", "figure", "plural", "visible"]

MINUS = "−"


def usd(value: Decimal | None) -> str:
    """``$1,234.56``; below a dollar three significant digits; ``−$0.05``."""
    if value is None:
        return MISSING
    amount = abs(value)
    places = 2 if amount >= 1 or amount == 0 else min(9, max(2, 2 - amount.adjusted()))
    text = f"{amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN):,f}"
    return f"{MINUS if value < 0 else ''}${text}"


def usd_short(value: Decimal | None) -> str:
    """Whole dollars from a hundred on: what is simulated or between bounds is known no better."""
    if value is None or abs(value) < 100:
        return usd(value)
    return f"{MINUS if value < 0 else ''}${abs(value).quantize(Decimal(1), rounding=ROUND_HALF_EVEN):,f}"


def usd_signed(value: Decimal) -> str:
    return f"+{usd_short(value)}" if value > 0 else usd_short(value)


def usd_tick(value: float) -> str:
    """Of an axis: ``$0``, ``$0.5``, ``$1.5k``, ``$20M``."""
    sign, amount = MINUS if value < 0 else "", abs(value)
    for unit, symbol in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= unit:
            return f"{sign}${amount / unit:.4g}{symbol}"
    return f"{sign}${amount:.4g}"


def band(value: Band | None) -> str:
    return MISSING if value is None else f"{usd_short(value.low)} to {usd_short(value.high)}"


def multiple(value: float) -> str:
    return f"{figure(value)} ×" if isfinite(value) else MISSING


def percent(share: float | None, places: int = 0) -> str:
    return MISSING if share is None else f"{100 * share:.{places}f} %"


def signed_percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:+.1f} %".replace("-", MINUS)


def ms(value: float | None) -> str:
    return duration(value) if value is None or isfinite(value) else "never"


def days(starts: str, ends: str) -> str:
    """``2026-11-16 to 2026-11-22``: both in it."""
    return f"{starts} to {date.fromisoformat(ends) - timedelta(days=1)}"


def amount(line: Line) -> str:
    """A line's value with its unit; a quotient has its nine digits cut to what a reader needs to redo it."""
    if line.value is None:
        return MISSING
    if line.unit.startswith("USD"):
        return f"{usd(line.value)}{line.unit.removeprefix('USD')}"
    if line.unit == "":
        return percent(float(line.value), 2)
    text = f"{line.value:,f}" if line.value == line.value.to_integral_value() else figure(float(line.value), 4)
    unit = line.unit.removesuffix("s") if line.value == 1 and len(line.unit) > 1 else line.unit
    return f"{text} {unit}".replace("-", MINUS)


class Piece(NamedTuple):
    """Of a formula: ``to`` is the id that it names."""

    text: str
    to: str | None


def pieces(formula: str, known: Collection[str]) -> list[Piece]:
    found = re.split(r"([a-z][a-z0-9_.]*[a-z0-9])", formula)
    return [Piece(text, text if text in known else None) for text in found if text]


def anchor(id: str, lines: Collection[str] = ()) -> str:  # noqa: A002
    """Where a line, else an assumption, stands on the page."""
    return f"line-{id}" if id in lines else f"assumption-{id}"


def listed(names: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = list(names) or [MISSING]
    return f"{', '.join(most)} and {last}" if most else last
