"""How figures and text from outside are written everywhere: on the page, in tables, in reports. Missing is a dash."""

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
