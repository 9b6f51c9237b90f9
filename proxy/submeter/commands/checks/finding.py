"""One line of the doctor's report."""

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    check: str
    state: Literal["ok", "warning", "problem"]
    text: str
    mend: str | None = None
    """What to do; there whenever the state is not ``ok``."""


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def warning(check: str, text: str, mend: str) -> Finding:
    """Worth knowing; nothing is broken."""
    return Finding(check, "warning", text, mend)


def problem(check: str, text: str, mend: str) -> Finding:
    return Finding(check, "problem", text, mend)
