"""The relay's line to the counting service: it asks, goes on with other calls, and never waits past the deadline.

The connection is opened by the first question and stays. Where there is no service, or one that does not keep up, the
answer is ``None`` at once, and nobody is asked for a second: so a call without usage is delayed by a dead meter
once in a second at most, by a tenth of it.
"""

import asyncio
from pathlib import Path
from typing import cast

from submeter.core import counting
from submeter.core.counting import BadFrame, Frames
from submeter.core.exchange import Exchange
from submeter.core.record import Counted
from submeter.tasks import spawn

MAX_WAITING = 64
MAX_UNSENT_BYTES = 4 << 20
REST_S = 1.0

Counts = asyncio.Future[Counted | None]


class Counting(asyncio.Protocol):
    """One per relay, on its loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transport: asyncio.Transport | None = None
        self._connecting = False
        self._frames = Frames()
        self._waiting: dict[int, Counts] = {}
        self._unsent: list[bytes] = []
        """Questions that wait for the connection."""
        self._number = 0
        self._rest_until = 0.0

    def ask(self, exchange: Exchange, body: bytes) -> Counts | None:
        """The counts of a call that has just ended, within ``DEADLINE_S``: its future resolves to ``None`` where
        there are none. ``None`` at once: nothing is to be counted, or nobody can be asked now."""
        question = exchange.question(body)
        loop = asyncio.get_running_loop()
        if question is None or loop.time() < self._rest_until or self._full:
            return None
        self._number = (self._number + 1) % (1 << 32)
        counts: Counts = loop.create_future()
        self._waiting[self._number] = counts
        loop.call_later(counting.DEADLINE_S, self._expire, self._number)
        self._send(counting.frame(self._number, question))
        return counts

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._frames = Frames()
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        """The meter has ended; the next question finds its successor."""
        self._transport = None
        self._give_up()

    def data_received(self, data: bytes) -> None:
        self._rest_until = 0.0
        try:
            for number, payload in self._frames.feed(data):
                self._resolve(number, counting.read_reply(payload))
        except BadFrame:
            self.close()

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def _full(self) -> bool:
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return len(self._waiting) >= MAX_WAITING or unsent + sum(map(len, self._unsent)) > MAX_UNSENT_BYTES

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
            return
        self._unsent.append(data)
        if not self._connecting:
            self._connecting = True
            spawn(self._connect(), "counting connection")

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            # A longer path would be cut by some loops, and lead somewhere else.
            if len(bytes(self._path)) > counting.MAX_SOCKET_PATH_BYTES:
                raise OSError("path too long")
            await loop.create_unix_connection(lambda: self, str(self._path))
        except OSError:
            self._rest_until = loop.time() + REST_S
            self._give_up()
        finally:
            self._connecting = False

    def _expire(self, number: int) -> None:
        if number in self._waiting:
            self._rest_until = asyncio.get_running_loop().time() + REST_S
            self._resolve(number, None)

    def _resolve(self, number: int, counted: Counted | None) -> None:
        counts = self._waiting.pop(number, None)
        if counts is not None and not counts.done():
            counts.set_result(counted)

    def _give_up(self) -> None:
        self._unsent.clear()
        for number in tuple(self._waiting):
            self._resolve(number, None)
