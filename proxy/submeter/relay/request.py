"""One request: its head is there from the start, its body arrives."""

import asyncio
from collections.abc import Callable
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
        "_chunks", "_continue", "_limit", "_sink", "_waiter", "client", "complete", "fault", "headers", "keep_alive",
        "length", "method", "received", "target", "upgrade", "version",
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
        self.received = 0
        self.fault: Fault | None = None
        length = find(headers, b"content-length")
        self.length = None if length is None else int(length)
        self._chunks: list[bytes] = []
        self._limit: int | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._continue = (find(headers, b"expect") or b"").strip().lower() == b"100-continue"

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises ``Refusal``: too large (declared, or while it arrives), too slow, cut."""
        if self.length is not None and self.length > limit_bytes:
            raise Refusal(errors.TOO_LARGE)
        self._limit = limit_bytes
        self._check_limit()
        await self._wait()
        body = b"".join(self._chunks)
        self._chunks.clear()
        return body

    async def stream(self, sink: Callable[[bytes], None]) -> None:
        """Hand the body on piece by piece; returns when it has ended."""
        self._sink = sink
        for piece in self._chunks:
            sink(piece)
        self._chunks.clear()
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
        self._chunks.append(data)
        self._check_limit()

    def end(self) -> None:
        self.complete = True
        self._wake()

    def fail(self, fault: Fault) -> None:
        """The rest of the body will not come, or is not wanted."""
        if not self.complete and self.fault is None:
            self.fault = fault
            self._chunks.clear()
            self._wake()

    def _check_limit(self) -> None:
        if self._limit is not None and self.received > self._limit:
            self.fail(errors.TOO_LARGE)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
