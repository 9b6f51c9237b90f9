"""Connections to one upstream: dialling, keeping, deadlines. What an answer means is not known here.

A connection returns to the pool when its answer has been consumed, not when its last byte was parsed. A kept
connection that the upstream closes leaves the pool as soon as the loop sees it.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import urlsplit

import httptools

from submeter.core.headers import Headers

if TYPE_CHECKING:
    from submeter.config import Upstream as UpstreamSettings

IDLE_S = 55.0
MAX_IDLE = 256
MAX_HEAD_BYTES = 256 * 1024


class Unreachable(Exception):
    """Name, connection or TLS failed: nothing was sent."""


class Answer(Protocol):
    """Who reads an upstream's answer. All calls of one read come in one turn of the loop, ``read_done`` last."""

    def head(self, status: int, reason: bytes, headers: Headers) -> None: ...
    def data(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def read_begins(self) -> None: ...
    def read_done(self) -> None: ...
    def lost(self, *, timeout: bool) -> None: ...
    def upstream_paused(self, paused: bool) -> None: ...
    def raw(self, data: bytes) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One connection; it carries one call at a time."""

    transport: asyncio.Transport

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._answer: Answer | None = None
        self._raw = False
        self._paused = False
        self._keep = False
        self._deadline: float | None = None

    # -- for the call ----------------------------------------------------------------------------------------

    def send(self, data: bytes, answer: Answer) -> None:
        """Begin a call: ``data`` is its head and as much of its body as is there."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer = answer
        self._status = 0
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._in_body = False
        self._informational = False
        self._ended = False
        self._deadline = self._loop.time() + self._pool.settings.first_byte_timeout_s
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        self._deadline = self._loop.time() + self._pool.settings.first_byte_timeout_s
        self.transport.write(data)

    def write_raw(self, data: bytes) -> None:
        """Into a tunnel; no deadline runs there."""
        self.transport.write(data)

    def release_unused(self) -> None:
        """Nothing was sent: keep it for the next call."""
        self._keep = True
        self.release()

    def pause(self, paused: bool) -> None:
        """Stop reading while the caller is slow; its slowness is not the upstream's, so no deadline runs."""
        if paused == self._paused or self.transport.is_closing():
            return
        self._paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self._deadline = self._loop.time() + self._pool.settings.idle_timeout_s
            self.transport.resume_reading()

    def release(self) -> None:
        """The answer has been consumed: keep the connection, or close it where HTTP says so."""
        self._answer = None
        if self._keep and not self._paused and not self.transport.is_closing():
            self._pool.keep(self)
        else:
            self.close()

    def close(self) -> None:
        """Close at once: the upstream shall stop generating."""
        self._answer = None
        self.transport.abort()

    def idle_since(self, now: float) -> None:
        self._deadline = now + IDLE_S

    # -- asyncio.Protocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._pool.connections.add(self)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.close()  # an upstream that talks out of turn
            return
        self._deadline = self._loop.time() + self._pool.settings.idle_timeout_s
        answer.read_begins()
        if self._raw:
            answer.raw(data)
        else:
            self._parse(data, answer)
        answer.read_done()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        answer = self._answer
        if answer is None:
            return
        if exc is None and self._in_body and not self._ended and self._ends_by_close():
            answer.read_begins()
            answer.end()
            answer.read_done()
        else:
            self._answer = None
            answer.lost(timeout=False)

    def pause_writing(self) -> None:
        if self._answer is not None:
            self._answer.upstream_paused(True)

    def resume_writing(self) -> None:
        if self._answer is not None:
            self._answer.upstream_paused(False)

    def check(self, now: float) -> None:
        """The relay's sweep: has a deadline passed?"""
        if self._deadline is None or now <= self._deadline or self._paused:
            return
        answer = self._answer
        self.close()
        if answer is not None and not self._raw:
            answer.lost(timeout=True)

    # -- httptools -------------------------------------------------------------------------------------------

    def on_status(self, reason: bytes) -> None:
        self._reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer
        self._headers.append((name, value))
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("head too large")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._informational = 100 <= self._status < 200 and self._status != 101
        if self._informational:
            self._headers = []
            return
        self._in_body = True
        if self._answer is not None:
            self._answer.head(self._status, self._reason, self._headers)

    def on_body(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.data(data)

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
            return
        self._ended = True
        self._keep = self._parser.should_keep_alive() and self._status != 101
        if self._answer is not None:
            self._answer.end()

    # -- inside ----------------------------------------------------------------------------------------------

    def _parse(self, data: bytes, answer: Answer) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._raw = True
            self._deadline = None
            rest = data[upgrade.args[0] :]
            if rest:
                answer.raw(rest)
        except httptools.HttpParserError:
            # After the end it is only the connection that is spoilt; before it, the answer.
            self._keep = False
            if not self._ended:
                self.close()
                answer.lost(timeout=False)

    def _ends_by_close(self) -> bool:
        names = {name.lower() for name, _ in self._headers}
        return b"content-length" not in names and b"transfer-encoding" not in names


class Pool:
    """The connections of one upstream, the most recently used first."""

    def __init__(self, settings: "UpstreamSettings") -> None:
        url = urlsplit(settings.base_url)
        assert url.hostname is not None, "checked when the settings were read"
        self.settings = settings
        self.base_path = url.path.rstrip("/")
        self.connections: set[UpstreamConnection] = set()
        self._idle: list[UpstreamConnection] = []
        self._tls = url.scheme == "https"
        self._host = url.hostname
        self._port = url.port or (443 if self._tls else 80)
        self.host_header = url.netloc.rpartition("@")[2].encode("idna" if not url.netloc.isascii() else "ascii")
        self._context: ssl.SSLContext | None = None

    async def acquire(self) -> UpstreamConnection:
        """A kept connection, or a new one. Raises ``Unreachable``."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return await self.dial()

    async def dial(self) -> UpstreamConnection:
        """A new connection. Raises ``Unreachable``; the cause is not passed on, since it may name addresses."""
        factory: Callable[[], UpstreamConnection] = lambda: UpstreamConnection(self)  # noqa: E731
        dialling = asyncio.get_running_loop().create_connection(
            factory, self._host, self._port, ssl=self._tls_context(), server_hostname=self._host if self._tls else None
        )
        try:
            _, connection = await asyncio.wait_for(dialling, self.settings.connect_timeout_s)
        except (OSError, ssl.SSLError, TimeoutError, UnicodeError):
            raise Unreachable from None
        return connection

    def keep(self, connection: UpstreamConnection) -> None:
        if len(self._idle) >= MAX_IDLE:
            connection.close()
            return
        connection.idle_since(asyncio.get_running_loop().time())
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        for connection in list(self.connections):
            connection.close()

    def _tls_context(self) -> ssl.SSLContext | None:
        """Made when first needed: loading the certificates takes tens of milliseconds and some megabytes."""
        if self._tls and self._context is None:
            self._context = ssl.create_default_context()
        return self._context
