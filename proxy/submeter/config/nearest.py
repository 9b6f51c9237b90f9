"""What somebody may have meant by a name that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

from submeter.errors import UsageError

LISTED = 30
"""More names than this help nobody in one line."""


def known_or_nearest(name: str, known: Iterable[str], complaint: str) -> str:
    """``name`` if it is known; else a ``UsageError`` that begins with ``complaint`` and names the nearest right one."""
    names = {bare(text): text for text in known}
    if bare(name) in names:
        return name
    close = get_close_matches(bare(name), names, n=1, cutoff=0.7)
    if close:
        raise UsageError(f"{complaint}; did you mean {names[close[0]]}?")
    raise UsageError(complaint + (f"; known here are {', '.join(names)}" if len(names) <= LISTED else ""))


def bare(name: str) -> str:
    """Without the prefix that every variable has, which would make all of them look alike."""
    return name.removeprefix("SUBMETER_")
