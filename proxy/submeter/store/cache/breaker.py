"""Leaves a server alone that has just failed, and asks it again, once, after a while."""

import time
from collections import defaultdict
from collections.abc import Callable

BREAK_AFTER = 3
BREAK_S = 5.0


class Breaker:
    """Opens after ``BREAK_AFTER`` failures in a row, for ``BREAK_S``; then one command tries, while others wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until_s = 0.0

    def allows(self) -> bool:
        if self._failures < BREAK_AFTER:
            return True
        now_s = self._clock()
        if now_s < self._open_until_s:
            return False
        self._open_until_s = now_s + BREAK_S
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= BREAK_AFTER:
            self._open_until_s = self._clock() + BREAK_S


Breakers = defaultdict[str, Breaker]
"""By the node that is asked; a server that is no cluster has one, by the name of ``""``."""


def make_breakers(clock: Callable[[], float]) -> Breakers:
    return defaultdict(lambda: Breaker(clock))
