"""The caller's side of a connection: bytes in, ``Request`` objects out, one call at a time.

llhttp refuses most of what is not HTTP; what it lets through is checked here (FAULTS 1-10, 45, 47). Requests that
were sent ahead of their turn wait in order. Every wait has a deadline, looked at by the relay's sweep once a second.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from submeter.core import errors
from submeter.core.errors import Fault
from submeter.core.headers import find
from submeter.relay.request import Headers, Request

if TYPE_CHECKING:
    from submeter.config import Limits

WRITE_BUFFER_BYTES = 4096  # a read brings up to 256,000 bytes; with this the sum stays below 256 KiB per stream
LINGER_S = 1.0
FRAMING_BYTES = 64 * 1024  # chunk sizes, extensions and trailers that may come with a body, besides 1 byte per byte


class Call(Protocol):
    """What serves one request."""

    async def run(self) -> None: ...
    def client_gone(self) -> None: ...
    def client_paused(self, paused: bool) -> None: ...
    def raw_from_client(self, data: bytes) -> None: ...


class Server(Protocol):
    """What a connection needs of its relay."""

    limits: "Limits"
    connections: set["ClientConnection"]
    draining: bool

    def new_call(self, client: "ClientConnection", request: Request) -> Call: ...
    def refuse_early(self, client: "ClientConnection", fault: Fault, target: bytes) -> None: ...
    def host_allowed(self, host: bytes) -> bool: ...
    def spawn(self, call: Call) -> None: ...


class ClientConnection(asyncio.Protocol):
    """One connection of a caller."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._call: Call | None = None
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None  # the one whose body is arriving
        self._closing = False
        self._spoilt: Fault | None = None  # what follows the calls under way is not HTTP, and is not read
        self._raw = False
        self._write_paused_at: float | None = None
        self._window_start = 0.0
        self._window_bytes = 0
        self._deadline: float | None = None
        self._in_head = False
        self._framing = 0
        self._fault: Fault | None = None
        self._new_head()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._server.connections.add(self)
        self._deadline = self._loop.time() + self._server.limits.idle_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._closing = True
        self._waiting.clear()
        if self._request is not None:
            self._request.fail(errors.BAD_HTTP)
            self._request = None
        if self._call is not None:
            call, self._call = self._call, None
            call.client_gone()

    def data_received(self, data: bytes) -> None:
        if self._raw and self._call is not None:
            self._call.raw_from_client(data)
        elif not self._closing and self._spoilt is None:
            self._parse(data)

    def eof_received(self) -> bool:
        return False  # a caller that closes its half has gone: the transport closes, connection_lost settles

    def pause_writing(self) -> None:
        self._write_paused_at = self._loop.time()
        if self._call is not None:
            self._call.client_paused(True)

    def resume_writing(self) -> None:
        self._write_paused_at = None
        if self._call is not None:
            self._call.client_paused(False)

    # -- httptools -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._new_head()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._server.limits.header_line_bytes:
            self._fault = self._fault or errors.HEADERS_TOO_LARGE

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is not None:
            return  # a trailer: counted as framing, never forwarded
        limits = self._server.limits
        self._head_bytes += len(name) + len(value) + 4
        if len(name) + len(value) + 4 > limits.header_line_bytes or self._head_bytes > limits.head_bytes:
            self._fault = self._fault or errors.HEADERS_TOO_LARGE
        self._headers.append((name, value))
        if len(self._headers) > limits.headers:
            self._fault = self._fault or errors.HEADERS_TOO_LARGE

    def on_headers_complete(self) -> None:
        self._fault = self._fault or self._head_fault()
        if self._fault is not None:
            return
        self._in_head = False
        request = Request(
            self, self._parser.get_method(), self._url.decode("ascii"), self._headers, self._parser.get_http_version()
        )
        request.keep_alive = self._parser.should_keep_alive()
        request.upgrade = self._parser.should_upgrade()
        self._request = request
        self._window_start, self._window_bytes = self._loop.time(), 0
        self._begin(request)

    def on_body(self, data: bytes) -> None:
        if self._request is not None:
            self._window_bytes += len(data)
            self._request.take(data)

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        self._framing = 0
        if request is not None:
            request.end()

    # -- for the call ----------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        return self._closing or self.transport.is_closing()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause_body(self) -> None:
        self._window_start = float("inf")  # it is we who are slow
        self.transport.pause_reading()

    def resume_body(self) -> None:
        self._window_start, self._window_bytes = self._loop.time(), 0
        self.transport.resume_reading()

    def take_raw(self) -> None:
        """From now on every byte goes to the call as it is."""
        self._raw = True

    def done(self, request: Request, *, keep: bool) -> None:
        """The call has written its answer. ``keep``: the connection may serve another request."""
        self._call = None
        unread = not request.complete
        if not keep or unread or self.closing:
            self.close(linger=not keep or unread)
            return
        limits = self._server.limits
        self._deadline = self._loop.time() + (limits.head_timeout_s if self._in_head else limits.idle_timeout_s)
        if self._waiting:
            self._begin(self._waiting.popleft())
            if not self._waiting:
                self.transport.resume_reading()
        elif self._spoilt is not None:
            self._refuse(self._spoilt)

    def close(self, *, linger: bool = False) -> None:
        """Close when everything is written. ``linger``: half-close and read on a second, so that the answer arrives."""
        if self.transport.is_closing():
            return
        self._closing = True
        if not linger:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
        self._deadline = self._loop.time() + LINGER_S

    def abort(self) -> None:
        """Cut: the caller must not take this for a clean end."""
        self._closing = True
        self.transport.abort()

    def close_if_idle(self) -> None:
        if self._call is None and not self._in_head:
            self.close()

    def check(self, now: float) -> None:
        """The relay's sweep: has a deadline passed?"""
        limits = self._server.limits
        if self._write_paused_at is not None and now - self._write_paused_at > limits.send_timeout_s:
            self.abort()
        elif self._closing or self._call is None:
            if self._deadline is not None and now > self._deadline:
                self._expire()
        elif self._request is not None and not self._raw and now - self._window_start > limits.body_rate_window_s:
            if self._window_bytes < limits.body_rate_bytes_s * limits.body_rate_window_s:
                self._request.fail(errors.REQUEST_TIMEOUT)
            self._window_start, self._window_bytes = now, 0

    # -- inside ----------------------------------------------------------------------------------------------

    def _new_head(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._fault = None

    def _parse(self, data: bytes) -> None:
        if not self._in_head and self._request is None:
            self._in_head = True
            if self._call is None:
                self._deadline = self._loop.time() + self._server.limits.head_timeout_s
        before = self._window_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._take_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._fault = self._fault or self._parse_fault(data)
        self._count_framing(len(data) - (self._window_bytes - before))
        if self._fault is not None and not self._closing:
            self._refuse(self._fault)

    def _count_framing(self, size: int) -> None:
        """Bytes that are neither body nor a finished head: an endless head, chunk extensions, blank lines."""
        if self._request is None and not self._in_head:
            return
        self._framing += max(0, size)
        if self._request is None:
            if self._framing > self._server.limits.head_bytes:
                self._fault = self._fault or errors.HEADERS_TOO_LARGE
        elif self._framing > FRAMING_BYTES + self._server.limits.head_bytes + 8 * self._request.received:
            self._fault = self._fault or errors.BAD_HTTP

    def _head_fault(self) -> Fault | None:
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            return errors.HTTP_VERSION
        hosts = [value for name, value in self._headers if name.lower() == b"host"]
        if len(hosts) != 1 or not self._url.isascii():
            return errors.BAD_HTTP
        for _, value in self._headers:
            if not value.isascii() or any((byte < 32 and byte != 9) or byte == 127 for byte in value):
                return errors.BAD_HTTP
        if not self._server.host_allowed(hosts[0]):
            return errors.MISDIRECTED
        expect = find(self._headers, b"expect")
        if expect is not None and expect.strip().lower() != b"100-continue":
            return errors.EXPECTATION
        return None

    def _parse_fault(self, data: bytes) -> Fault:
        """llhttp's error classes are one to httptools: tell a version that is not ours from the rest."""
        line = data.partition(b"\n")[0].rstrip(b"\r")
        if self._in_head and not self._headers and (line.startswith(b"PRI * HTTP/2") or _other_version(line)):
            return errors.HTTP_VERSION
        return errors.BAD_HTTP

    def _begin(self, request: Request) -> None:
        if self._call is not None:
            self._waiting.append(request)
            self.transport.pause_reading()
            return
        self._deadline = None
        self._call = self._server.new_call(self, request)
        self._server.spawn(self._call)

    def _take_upgrade(self, rest: bytes) -> None:
        if self._call is None or (self._request is None and self._waiting):
            self._fault = self._fault or errors.BAD_HTTP
            return
        self._request = None
        self.take_raw()
        if rest:
            self._call.raw_from_client(rest)

    def _refuse(self, fault: Fault) -> None:
        """A fault of HTTP itself. While calls are being answered it waits for its turn."""
        request = self._request
        if request is not None:
            request.fail(fault)
        elif self._call is None:
            self._server.refuse_early(self, fault, self._url)
            self.close(linger=True)
        else:
            self._spoilt = fault

    def _expire(self) -> None:
        if self._in_head and not self._closing:
            self._server.refuse_early(self, errors.REQUEST_TIMEOUT, self._url)
            self.close(linger=True)
        else:
            self.abort() if self._closing else self.transport.close()


def _other_version(line: bytes) -> bool:
    _, mark, version = line.rpartition(b" HTTP/")
    return bool(mark) and version not in (b"1.1", b"1.0")
