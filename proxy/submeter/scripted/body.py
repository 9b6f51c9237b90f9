"""The body of one answer on its connection: framing, cutting into writes, and the ways a connection can end."""

import asyncio
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

from submeter.scripted.script import Script
from submeter.scripted.wire import cutter

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time at all


class _UntilClose(web.StreamResponse):
    """A body with neither length nor chunks: it ends where the connection ends."""

    _length_check = False  # aiohttp's own switch, that its WebSocketResponse uses too, for no framing header

    def __init__(self, *, headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self.force_close()


class Body:
    """Write to it, then end it in one way: ``close``, ``cut`` or ``reset``. Each returns aiohttp's response."""

    def __init__(self, request: web.Request, script: Script, headers: Mapping[str, str]) -> None:
        self._request = request
        self._cutter = cutter(script)
        self._response = (_UntilClose if script.until_close else web.StreamResponse)(headers=headers)

    async def open(self, length: int | None) -> None:
        """Send the head. ``length`` is what Content-Length says; ``None`` for a chunked body."""
        if not isinstance(self._response, _UntilClose):
            self._response.content_length = length
        await self._response.prepare(self._request)

    async def write(self, data: bytes) -> None:
        for piece in self._cutter.feed(data):
            await self._write_piece(piece)

    async def flush(self) -> None:
        """Write what the cutter holds back."""
        rest = self._cutter.rest()
        if rest:
            await self._write_piece(rest)

    async def close(self) -> web.StreamResponse:
        await self.flush()
        await self._response.write_eof()
        return self._response

    async def cut(self) -> web.StreamResponse:
        """What was written arrives, then the connection ends as if the process had died."""
        await self.flush()
        abort(self._request)
        return self._response

    def reset(self) -> web.StreamResponse:
        reset(self._request)
        return self._response

    async def _write_piece(self, piece: bytes) -> None:
        await self._response.write(piece)
        await asyncio.sleep(0)  # a turn for the other streams, and a chance to hear that the client has gone


def abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def reset(request: web.Request) -> None:
    """End the connection with a TCP reset."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    abort(request)
