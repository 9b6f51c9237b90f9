"""Where two JSON values differ, as lines that a person can read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

MAX_VALUE = 160
"""Characters shown of one value."""


class Difference(NamedTuple):
    path: str
    """Such as ``panels[Spend today].targets[0].expr``."""
    theirs: object
    ours: object

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.theirs)} → {_shown(self.ours)}"


def differences(theirs: object, ours: object, path: str = "") -> Iterator[Difference]:
    """From ``theirs`` to ``ours``. A key that is missing is one that is null, as Grafana writes either."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key in sorted({*theirs, *ours}):
            yield from differences(theirs.get(key), ours.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(theirs, list) and isinstance(ours, list):
        yield from _of_lists(theirs, ours, path)
    elif theirs != ours or isinstance(theirs, bool) != isinstance(ours, bool):
        yield Difference(path, theirs, ours)


def _of_lists(theirs: Sequence[object], ours: Sequence[object], path: str) -> Iterator[Difference]:
    for place in range(max(len(theirs), len(ours))):
        old, new = (values[place] if place < len(values) else None for values in (theirs, ours))
        here = f"{path}[{_name(new) or _name(old) or place}]"
        if place < min(len(theirs), len(ours)):
            yield from differences(old, new, here)
        else:
            yield Difference(here, old, new)


def _name(value: object) -> str | None:
    """What a person calls an item of a list: a panel's title, a variable's name. Never what commands a terminal."""
    names = (value.get("title"), value.get("name")) if isinstance(value, Mapping) else ()
    return next((name for name in names if isinstance(name, str) and name and name.isprintable()), None)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
