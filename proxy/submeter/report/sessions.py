"""Calls that wait for an earlier one of their session: someone reads an answer before asking on.

So they are replayed as a closed loop: on a slower fleet such a call comes later than recorded, on a faster one sooner.
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush, heappushpop
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from submeter.report.engine import NEVER

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Waits(NamedTuple):
    """Of each call of a demand, in its order."""

    earlier: Ints
    """The place of the call that has to be done first, before its own; -1: none, it arrives as recorded."""
    think_s: Floats
    """From the end of that one to the begin of this, as recorded; at least 0."""

    def taken(self, rows: Ints, copy: Ints | int = 0) -> "Waits | None":
        """Of some calls (``rows`` of these), or of copies, in a new order; ``copy`` tells apart those of one call.

        Each copy has sessions of its own. Who waited for a call that is not among them, or now comes later, arrives as
        recorded; ``None``: so do all.
        """
        own = np.arange(len(rows))
        place = np.full((int(np.max(copy, initial=0)) + 1, len(self.earlier)), -1)
        place[copy, rows] = own
        before = self.earlier[rows]
        earlier = np.where(before < 0, -1, place[copy, before])
        return waits(np.where(earlier < own, earlier, -1), self.think_s[rows])


def waits(earlier: Ints, think_s: Floats) -> Waits | None:
    """``None``: nobody waits."""
    return Waits(earlier, think_s) if (earlier >= 0).any() else None


class ClosedLoop:
    """The arrivals of calls of which some wait: (call, second), in order of time, and at last one at ``NEVER``."""

    def __init__(self, arrival_s: list[float], waits: Waits, host_overhead_s: float) -> None:
        """``arrival_s`` is changed to when calls do arrive."""
        self._arrival_s, self._host_overhead_s = arrival_s, host_overhead_s
        self._think_s: list[float] = waits.think_s.tolist()
        self._followers: dict[int, list[int]] = {}
        earlier: list[int] = waits.earlier.tolist()
        for call, first in enumerate(earlier):
            if first >= 0:
                self._followers.setdefault(first, []).append(call)
        known = [(at_s, call) for call, at_s in enumerate(arrival_s) if earlier[call] < 0]
        self._due = [*known, (NEVER, len(arrival_s))]
        """A heap, as what is sorted is one."""

    def __iter__(self) -> Iterator[tuple[int, float]]:
        while self._due:
            at_s, call = heappop(self._due)
            yield call, at_s

    def done(self, calls: Sequence[int], now_s: float, following: tuple[int, float]) -> tuple[int, float]:
        """Who arrives next now that these are done: ``following``, or a call that waited for one of them."""
        for call in calls:
            for follower in self._followers.get(call, ()):
                self._arrive(follower, now_s + self._host_overhead_s + self._think_s[follower])
        at_s, call = heappushpop(self._due, following[::-1])
        return call, at_s

    def failed(self, call: int, now_s: float) -> None:
        """It is never done: who waited for it arrives as recorded, though not before it."""
        for follower in self._followers.get(call, ()):
            self._arrive(follower, max(self._arrival_s[follower], now_s))

    def _arrive(self, call: int, at_s: float) -> None:
        self._arrival_s[call] = at_s
        heappush(self._due, (at_s, call))
