"""Bounded sets of label values, so that no client can grow the number of series (docs/guide/metrics.md).

The configured names, else the first 50 distinct values that look like names; kept across restarts in the ledger.
"""

import re
from collections.abc import Iterable, Mapping

LIMIT = 50
OTHER = "other"
NONE = ""
NAME = re.compile(r"[A-Za-z0-9._:/@-]{1,64}")


class LabelSets:
    """``value`` maps what a call says to what a series shows. ``new`` collects values to be kept in the ledger."""

    def __init__(self, configured: Mapping[str, Iterable[str]], known: Iterable[tuple[str, str]]) -> None:
        self._configured = {label: frozenset(names) for label, names in configured.items()}
        self._seen: dict[str, set[str]] = {}
        for label, value in known:
            self._seen.setdefault(label, set()).add(value)
        self.new: list[tuple[str, str]] = []
        self.capped: set[str] = set()
        """Labels whose set is full: something was shown as ``other``."""

    def value(self, label: str, said: str | None, *, ours: bool = False) -> str:
        """``ours``: it comes from the operator's own data, such as a price entry's glob, and may look like anything."""
        if said is None:
            return NONE
        names = self._configured.get(label)
        if names:
            return said if said in names else OTHER
        seen = self._seen.setdefault(label, set())
        if said in seen:
            return said
        if len(seen) >= LIMIT or (NAME.fullmatch(said) is None and not ours):
            self.capped.add(label)
            return OTHER
        seen.add(said)
        self.new.append((label, said))
        return said

    def take_new(self) -> list[tuple[str, str]]:
        new, self.new = self.new, []
        return new
