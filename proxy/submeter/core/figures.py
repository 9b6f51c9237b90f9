"""How figures and text from outside are written everywhere: on the page, in tables, in reports. Missing is a dash."""

from math import floor, log10

MISSING = "–"


def count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def share(part: int, whole: int) -> str:
    """``12.3 %``; a dash of nothing."""
    return MISSING if whole == 0 else f"{100 * part / whole:.1f} %"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def visible(text: str) -> str:
    """Text from clients, with characters that hide or reorder what is around them shown as what they are."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def figure(value: float | None, digits: int = 3) -> str:
    """So many significant digits, all those before the point, and no exponent: ``0.0204``, ``11.3``, ``1,234``."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    places = max(0, digits - 1 - floor(log10(abs(value))))
    return f"{value:,.{min(places, 9)}f}"


def duration(value_ms: float | None) -> str:
    """``11.3 ms``, ``412 ms``, ``1.24 s``."""
    if value_ms is None:
        return MISSING
    return f"{value_ms / 1000:,.2f} s" if abs(value_ms) >= 1000 else f"{figure(value_ms)} ms"
