"""One request: its head is there from the start, its body arrives."""

import asyncio
import time
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from submeter.core import errors
from submeter.core.errors import Fault, Refusal
from submeter.core.headers import find
from submeter.relay.answers import CONTINUE

if TYPE_CHECKING:
    from submeter.relay.server import ClientConnection

Headers = list[tuple[bytes, bytes]]


class Request:
    """Read whole with ``read``, or handed on piece by piece with ``stream``."""

    __slots__ = (
        "_body", "_continue", "_hold", "_limit", "_sink", "_waiter", "client", "complete", "completed_ns", "fault",
        "headers", "held", "keep_alive", "length", "method", "received", "target", "upgrade", "version",
    )  # fmt: skip

    def __init__(self, client: "ClientConnection", method: bytes, target: str, headers: Headers, version: str) -> None:
        self.client = client
        self.method = method
        self.target = target
        self.headers = headers
        self.version = version
        self.keep_alive = False
        self.upgrade = False
        self.complete = False
        self.completed_ns = 0
        """t0 of the call's durations: the body is here."""
        self.received = 0
        self.held = 0
        """Bytes of the body that count against the relay's memory."""
        self.fault: Fault | None = None
        length = find(headers, b"content-length")
        self.length = None if length is None else int(length)
        self._body = BytesIO()  # not a list: chunks may be of one byte, and each would cost fifty
        self._limit: int | None = None
        self._hold: Callable[[int], bool] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._continue = (find(headers, b"expect") or b"").strip().lower() == b"100-continue"

    async def read(self, limit_bytes: int, hold: Callable[[int], bool]) -> bytes:
        """The whole body. ``hold`` is told of bytes that are kept, and says whether there was room for them.

        Raises ``Refusal``: too large (declared, or while it arrives), too slow, cut, no room.
        """
        if self.length is not None and self.length > limit_bytes:
            raise Refusal(errors.TOO_LARGE)
        self._limit, self._hold = limit_bytes, hold
        excess = self._count()
        if excess is not None:
            raise Refusal(excess)
        await self._wait()
        body, self._body = self._body.getvalue(), BytesIO()
        return body

    async def stream(self, sink: Callable[[bytes], None]) -> None:
        """Hand the body on piece by piece; returns when it has ended."""
        self._sink = sink
        so_far, self._body = self._body.getvalue(), BytesIO()
        if so_far:  # an empty piece would be the last chunk
            sink(so_far)
        await self._wait()

    async def _wait(self) -> None:
        if self._continue and not self.complete and not self.received:
            self._continue = False
            self.client.write(CONTINUE)
        if not self.complete and self.fault is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.fault is not None:
            raise Refusal(self.fault)

    def take(self, data: bytes) -> None:
        if self.fault is not None:
            return
        self.received += len(data)
        if self._sink is not None:
            self._sink(data)
            return
        self._body.write(data)
        excess = self._count()
        if excess is not None:
            self.fail(excess)

    def end(self) -> None:
        self.complete = True
        self.completed_ns = time.monotonic_ns()
        self._wake()

    def fail(self, fault: Fault) -> None:
        """The rest of the body will not come, or is not wanted."""
        if not self.complete and self.fault is None:
            self.fault = fault
            self._body = BytesIO()
            self._wake()

    def _count(self) -> Fault | None:
        """Say what more is held; the fault where it is too much."""
        if self._limit is None or self._hold is None:
            return None  # nobody reads it yet
        room = self._hold(self.received - self.held)
        self.held = self.received
        if self.received > self._limit:
            return errors.TOO_LARGE
        return None if room else errors.OVERLOADED

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
