"""Holding our costs against an oracle's: what is compared, when two costs are equal, which disagreements are allowed.

An allowed disagreement (``allowed.toml``) names the oracle, model and kind of usage as globs, what ours is
(``priced`` or ``unpriced``), why, who is right and where that can be read. ``lacks`` narrows an ``unpriced`` one to
calls whose entry has no price for that class: nothing else can hide behind it.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

ALLOWED = Path(__file__).with_name("allowed.toml")
REL_TOLERANCE = 1e-9
"""An oracle that computes in floats: some units in the last place of each product, and of their sum."""
CLASS_TOLERANCE_NANO_USD = 0.5
"""We round each token class once, to whole nano-USD."""


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    oracle: str
    models: str
    """Glob over ``provider/model``."""
    kinds: str
    """Glob over the kinds of grid.py."""
    ours: str
    """``priced`` or ``unpriced``."""
    right: str
    """``ours``, ``oracle``, or ``unknown`` where no published rule settles it."""
    reason: str
    source: str
    lacks: str | None = None
    """Unpriced for want of a price of this class."""


class Compared(NamedTuple):
    """One case at one model. Costs in nano-USD; None: no price."""

    oracle: str
    model: str
    kind: str
    classes: int
    """Token classes that occur: each may be half a nano-USD off."""
    ours: int | None
    theirs: float | None
    lacks: tuple[str, ...] = ()
    """Classes that occur and have no price."""

    @property
    def equal(self) -> bool:
        if self.ours is None or self.theirs is None:
            return self.ours is None and self.theirs is None
        tolerance = CLASS_TOLERANCE_NANO_USD * self.classes + REL_TOLERANCE * abs(self.theirs)
        return abs(self.ours - self.theirs) <= tolerance


@dataclass
class Result:
    allowed: tuple[Allowed, ...]
    compared: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    explained: Counter[Allowed] = field(default_factory=Counter)
    unexplained: list[Compared] = field(default_factory=list)

    @property
    def dead(self) -> list[Allowed]:
        """Allowed entries that nothing needed."""
        return [entry for entry in self.allowed if not self.explained[entry]]


RESULTS = pytest.StashKey[list[Result]]()
"""Where a run's results wait for the lines at its end."""


def read_allowed(*oracles: str) -> tuple[Allowed, ...]:
    document = tomllib.loads(ALLOWED.read_text())
    found = msgspec.convert(document["allowed"], tuple[Allowed, ...])
    return tuple(entry for entry in found if entry.oracle in oracles)


def judge(found: Iterable[Compared], allowed: tuple[Allowed, ...]) -> Result:
    result = Result(allowed)
    for one in found:
        result.compared[one.oracle] += 1
        if one.equal:
            result.equal[one.oracle] += 1
            continue
        reasons = [entry for entry in allowed if _covers(entry, one)]
        result.explained.update(reasons[:1])
        if not reasons:
            result.unexplained.append(one)
    return result


def _covers(entry: Allowed, one: Compared) -> bool:
    if entry.oracle != one.oracle or entry.ours != ("unpriced" if one.ours is None else "priced"):
        return False
    if entry.lacks is not None and entry.lacks not in one.lacks:
        return False
    return fnmatchcase(one.model, entry.models) and fnmatchcase(one.kind, entry.kinds)


def summary(result: Result) -> Iterator[str]:
    """Lines for a person: counts by oracle, then each explanation with how many disagreements it covers."""
    for oracle, compared in result.compared.items():
        explained = sum(count for entry, count in result.explained.items() if entry.oracle == oracle)
        equal, odd = result.equal[oracle], sum(one.oracle == oracle for one in result.unexplained)
        yield f"{oracle}: {compared:,} compared, {equal:,} equal, {explained:,} explained, {odd:,} unexplained"
    for entry, count in result.explained.most_common():
        yield f"  {count:6,}  {entry.oracle} {entry.models} | {entry.kinds}: {entry.right} right. {entry.reason}"
    for one in result.unexplained[:40]:
        yield f"  UNEXPLAINED {one.oracle} {one.model} | {one.kind}: ours {one.ours}, theirs {one.theirs} {one.lacks}"
