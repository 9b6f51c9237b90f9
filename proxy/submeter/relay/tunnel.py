"""WebSockets and other upgrades: once the upstream has said 101, bytes go both ways as they are."""

import asyncio
from typing import TYPE_CHECKING

from submeter.core.headers import Headers, connection_tokens, downstream_response, find
from submeter.relay.answers import answer_head

if TYPE_CHECKING:
    from submeter.relay.server import ClientConnection
    from submeter.relay.upstream import UpstreamConnection

MAX_EARLY_BYTES = 256 * 1024


class Tunnel:
    """``ended`` resolves to True when the upstream gave no answer at all, so that the handler gives one."""

    def __init__(
        self, client: "ClientConnection", connection: "UpstreamConnection", our_headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._client = client
        self._connection = connection
        self._our_headers = our_headers
        self._answered = False
        self._switched = False
        self._early = b""
        """What the caller sent before the upstream had agreed."""

    def open(self, head: bytes, early: bytes) -> None:
        self._early = early
        self._client.take_raw()
        self._connection.send(head, self)

    # -- the upstream's answer -------------------------------------------------------------------------------

    def head(self, status: int, reason: bytes, headers: Headers) -> None:
        out = downstream_response(headers, keep_length=True) + self._our_headers
        if status == 101:
            out += [(name, value) for name, value in headers if name.lower() == b"upgrade"]
            out.append((b"Connection", b"Upgrade"))
            self._switched = True
        else:
            # Refused: the answer is passed on, and its end is the end of the connection.
            out.append((b"Connection", b"close"))
        self._answered = True
        self._client.write(answer_head(status, reason, out))

    def data(self, data: bytes) -> None:
        self._client.write(data)

    def end(self) -> None:
        if not self._switched:  # the parser calls the head of a 101 a whole message
            self._resolve(failed=False)

    def raw(self, data: bytes) -> None:
        self._client.write(data)

    def read_begins(self) -> None: ...

    def read_done(self) -> None:
        if self._switched and self._early:
            self._connection.write_raw(self._early)
            self._early = b""

    def lost(self, *, timeout: bool) -> None:
        self._resolve(failed=not self._answered)

    def upstream_paused(self, paused: bool) -> None:
        if self._client.closing:
            return
        if paused:
            self._client.pause_body()
        else:
            self._client.resume_body()

    # -- the caller ------------------------------------------------------------------------------------------

    def from_client(self, data: bytes) -> None:
        if self._switched:
            self._connection.write_raw(data)
        elif len(self._early) + len(data) <= MAX_EARLY_BYTES:
            self._early += data
        else:
            self._resolve(failed=True)

    def client_paused(self, paused: bool) -> None:
        self._connection.pause(paused)

    def client_gone(self) -> None:
        self._resolve(failed=False)

    def _resolve(self, *, failed: bool) -> None:
        if not self.ended.done():
            self._connection.close()
            self.ended.set_result(failed)


def wants_upgrade(headers: Headers) -> bool:
    return find(headers, b"upgrade") is not None and b"upgrade" in connection_tokens(headers)
