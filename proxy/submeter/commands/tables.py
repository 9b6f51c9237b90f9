"""Tables for people: dollars, milliseconds and counts that line up, and text that cannot command the terminal."""

import sys
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from submeter.core.figures import MISSING as MISSING
from submeter.core.figures import count as count
from submeter.core.figures import plural as plural
from submeter.core.figures import share as share
from submeter.core.figures import visible

PIPED_WIDTH = 220
"""Columns when stdout is no terminal: nothing is cut there."""

NANO = Decimal("1e-9")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly; rich would exit with 1."""
        raise


def make_console() -> Console:
    return _Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def make_table(title: str, texts: Sequence[str], figures: Sequence[str], whole: Sequence[str] = ()) -> Table:
    """Columns of text on the left, those in ``whole`` never broken over lines; columns of figures on the right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in texts:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def plain(value: object) -> Text:
    """Text as it is: no markup, and control characters shown instead of obeyed (names come from clients)."""
    if value is None:
        return Text(MISSING, style="dim")
    return Text(visible(str(value)))


def usd(nano_usd: int | None) -> str:
    """Dollars with four significant digits or whole cents, whichever says more: $1,234.56, $0.000123."""
    if nano_usd is None:
        return MISSING
    dollars = nano_usd * NANO
    places = min(9, max(2, 3 - dollars.adjusted()))
    return _dollars(dollars.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN))


def usd_exact(nano_usd: int) -> str:
    """Dollars to the last nano-dollar: $0.123456789."""
    return _dollars(nano_usd * NANO)


def _dollars(dollars: Decimal) -> str:
    whole, _, fraction = f"{dollars:,f}".partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def ms(duration_ns: float | None) -> str:
    """Milliseconds with about three significant digits."""
    if duration_ns is None:
        return MISSING
    duration_ms = duration_ns / 1e6
    places = 0 if abs(duration_ms) >= 100 else 1 if abs(duration_ms) >= 10 else 3
    return f"{duration_ms:,.{places}f}"
