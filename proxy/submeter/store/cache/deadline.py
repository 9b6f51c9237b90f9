"""A deadline that a loop which is busy with other calls does not use up."""

import asyncio
from types import TracebackType

SLICES = 5


class Deadline:
    """As ``asyncio.timeout``, but a turn of the loop counts for a fifth of the time at most, however long it took: what
    came meanwhile has not been read yet, so that nobody can say that it came late."""

    def __init__(self, seconds: float) -> None:
        self._slice_s = seconds / SLICES
        self._slices = SLICES
        self._timeout = asyncio.timeout(None)

    @property
    def left_s(self) -> float:
        """In whole slices."""
        return self._slices * self._slice_s

    async def __aenter__(self) -> "Deadline":
        await self._timeout.__aenter__()
        self._wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._slice_s, self._slice_over)

    def _slice_over(self) -> None:
        self._slices -= 1
        if self._slices:
            self._wait()
        else:
            self._timeout.reschedule(asyncio.get_running_loop().time())
