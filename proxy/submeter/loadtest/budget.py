"""Whether a call may begin: the money spent, the worst case of all that is in flight and its own stay in the limit."""

from collections.abc import Sequence
from typing import Literal

Verdict = Literal["go", "wait", "never"]


class Budget:
    """Integer nano-USD. A call is held at its worst case from its begin until its cost is settled."""

    def __init__(self, limit_nano_usd: int | None, worst_nano_usd: Sequence[int]) -> None:
        self._limit = limit_nano_usd
        self._worst = worst_nano_usd
        self._held: dict[int, int] = {}
        self.spent_nano_usd = 0

    def ask(self, setting: int) -> Verdict:
        """``wait``: once others are settled, it may fit. ``never``: nothing is in flight, and it does not fit."""
        if self._limit is None:
            return "go"
        if self.spent_nano_usd + sum(self._held.values()) + self._worst[setting] <= self._limit:
            return "go"
        return "wait" if self._held else "never"

    def begin(self, number: int, setting: int) -> None:
        if self._limit is not None:
            self._held[number] = self._worst[setting]

    def settle(self, number: int, nano_usd: int) -> None:
        self._held.pop(number, None)
        self.spent_nano_usd += nano_usd
