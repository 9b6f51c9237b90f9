"""An upstream that answers before it has read the request (FAULTS 45): no call may be read as another's body."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import Unit
from harness.raw import RawConnection, ask, request

ANSWER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class EarlyUpstream:
    """Answers each head at once, and keeps the connection. ``heard``: what came in on each connection."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.heard.append(b"")
            self._threads.append(threading.Thread(target=self._serve, args=(connection, len(self.heard) - 1)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        answered = 0
        with connection:
            while data := _read(connection):
                self.heard[number] += data
                while answered < self.heard[number].count(b"\r\n\r\n"):
                    connection.sendall(ANSWER)
                    answered += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


def _read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def upstream() -> Iterator[EarlyUpstream]:
    upstream = EarlyUpstream()
    yield upstream
    upstream.close()


@pytest.fixture
def unit(tmp_path: Path, upstream: EarlyUpstream) -> Iterator[Unit]:
    unit = Unit(tmp_path, upstream.base_url)
    yield unit
    unit.close()


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_connection_with_half_a_body_carries_no_other_call(unit: Unit, upstream: EarlyUpstream, framing: str) -> None:
    whole = request("POST", "/v1/files", {"Content-Type": "multipart/form-data"}, b"0123456789")
    if framing == "chunks":
        whole = whole.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked").replace(b"0123", b"a\r\n0123")
    with RawConnection(unit.port) as connection:
        connection.send(whole[:-5])
        answer = connection.read_answer()
        assert (answer.status, answer.header("content-length")) == (404, "0")
        connection.send(whole[-5:])
        assert connection.read_to_end() == b"", "the rest has nowhere to go: the connection ends"
    assert ask(unit.port, "GET", "/v1/models").status == 404
    assert [heard.split(b" ", 1)[0] for heard in upstream.heard] == [b"POST", b"GET"]


def test_a_call_follows_another_only_after_its_whole_body(unit: Unit, upstream: EarlyUpstream) -> None:
    """Here the body is there at once, and the answer may come before it has been handed on."""
    with RawConnection(unit.port) as connection:
        for _ in range(200):
            connection.send(request("POST", "/v1/files", {}, b"0123456789"))
            assert connection.read_answer().status == 404
    calls = [call for heard in upstream.heard for call in heard.split(b"POST ")[1:-1]]
    assert {call.partition(b"\r\n\r\n")[2] for call in calls} <= {b"0123456789"}
