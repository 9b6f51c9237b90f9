"""The body of an answer as it comes, for Locust's process.

geventhttpclient's own ``readline`` asks the socket before it waits, which costs an exception for each piece of a
stream, sets a timer for each, and copies each line: together a third of what a generator can do. Here one watcher and
one timer serve the whole stream, and whatever has come is given at once.
"""

from collections.abc import Iterator
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.ssl import SSLSocket  # type: ignore[import-untyped]
from geventhttpclient.response import HTTPConnectionClosed, HTTPSocketResponse

_READ = 1
"""libev's ``EV_READ``."""
_BLOCK_BYTES = 16_384


def pieces(response: HTTPSocketResponse, silence_s: float) -> Iterator[bytes]:
    """The body in pieces of any length, each as soon as it is there, to the last.

    Raises what gevent and geventhttpclient raise, ``TimeoutError`` when nothing has come for ``silence_s``.
    """
    socket: Any = response._sock
    if socket is not None:  # else all of it came with the headers
        wait = _Wait(socket, silence_s)
        try:
            while not response.message_complete:
                yield _taken(response)
                wait.until_readable()
                data = socket.recv(_BLOCK_BYTES)
                response.feed(data)
                if not data and not response.message_complete:
                    raise HTTPConnectionClosed("connection closed")
        finally:
            wait.close()
            response.release()
    yield _taken(response)


def _taken(response: HTTPSocketResponse) -> bytes:
    data = bytes(response._body_buffer)
    response._body_buffer.clear()
    return data


class _Wait:
    """For a socket to become readable. One of TLS waits in its ``recv``: what it has decrypted shows no more."""

    def __init__(self, socket: Any, silence_s: float) -> None:
        self._hub = gevent.get_hub()
        self._plain = not isinstance(socket, SSLSocket)
        self._readable = self._hub.loop.io(socket.fileno(), _READ)
        self._silence = self._hub.loop.timer(0.0, repeat=silence_s)

    def until_readable(self) -> None:
        if self._plain:
            self._silence.again(self._hub.cancel_wait, self._readable, TimeoutError("nothing came"))
            self._hub.wait(self._readable)

    def close(self) -> None:
        self._silence.close()
        self._readable.close()
