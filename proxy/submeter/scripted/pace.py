"""When the pieces of an answer are due on the real clock: ``latency`` and ``batching`` say when, this waits."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Protocol

from submeter.scripted.answer import Answer, Piece
from submeter.scripted.batching import Batch, Batching
from submeter.scripted.latency import waits_ms

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


class Pace(Protocol):
    async def next(self, piece: Piece | None) -> None:
        """Return when the next piece is due; ``None``: when an answer without pieces is."""


class Alone:
    """The pace of an answer that shares nothing with others. Lateness does not add up."""

    def __init__(self, answer: Answer, received_ns: int) -> None:
        self._waits = waits_ms(answer)
        self._due_ns = received_ns

    async def next(self, _piece: Piece | None) -> None:
        self._due_ns += round(next(self._waits) * _NS_PER_MS)
        delay_ns = self._due_ns - time.monotonic_ns()
        if delay_ns > 0:
            await asyncio.sleep(delay_ns / _NS_PER_S)


class InBatch:
    """The pace of an answer whose tokens come from the device that all share."""

    def __init__(self) -> None:
        self._tokens: asyncio.Queue[None] = asyncio.Queue()

    def token(self) -> None:
        self._tokens.put_nowait(None)

    async def next(self, piece: Piece | None) -> None:
        for _ in range(1 if piece is None else piece.tokens):
            await self._tokens.get()


class Device:
    """A ``Batch`` on the real clock: one timer, which wakes the answers whose tokens have come."""

    def __init__(self, batching: Batching) -> None:
        self._limits = batching.limits()
        self._batch = Batch(batching)
        self._paces: dict[int, InBatch] = {}
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def check(self, answer: Answer) -> None:
        """Raise ``NeverFits`` for an answer larger than the device's whole cache."""
        self._limits.reserve(_uncached(answer), answer.tokens.output)

    @contextmanager
    def sequence(self, answer: Answer) -> Iterator[InBatch]:
        """Take part in the batch until this block ends, with or without all of the answer's tokens."""
        number, pace = next(self._numbers), InBatch()
        now_ns = self._turn()
        self._paces[number] = pace
        self._batch.join(number, now_ns, input_tokens=_uncached(answer), output_tokens=answer.tokens.output)
        self._turn()
        try:
            yield pace
        finally:
            self._turn()
            self._batch.leave(number)
            del self._paces[number]

    def _turn(self) -> int:
        """Hand out the tokens that have come, and set the timer to the next; the time it is."""
        now_ns = time.monotonic_ns()
        for token in self._batch.advance(now_ns):
            self._paces[token.sequence].token()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._batch.due_ns is not None:
            delay_s = max(self._batch.due_ns - time.monotonic_ns(), 0) / _NS_PER_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._turn)
        return now_ns


def _uncached(answer: Answer) -> int:
    return answer.tokens.input - answer.tokens.cached_read


@contextmanager
def pacing(answer: Answer, device: Device | None, received_ns: int) -> Iterator[Pace]:
    """The pace of one answer, whose request was there at ``received_ns`` by the monotonic clock."""
    if device is None:
        yield Alone(answer, received_ns)
        return
    with device.sequence(answer) as pace:
        yield pace
