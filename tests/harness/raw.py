"""HTTP by hand: what was sent, and every read with its time, so that bytes and boundaries can be compared."""

import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Self

DEADLINE_S = 20.0
# What differs between two answers to the same request, whichever way they come, and what a relay adds or owns.
VOLATILE = {b"date", b"x-request-id", b"request-id", b"openai-processing-ms"}
OURS = {b"x-submeter-call-id", b"x-submeter-cache"}
HOP = {b"connection", b"keep-alive", b"transfer-encoding"}


@dataclass
class Answer:
    """One HTTP answer; ``chunks`` are the chunks of its body as they were framed, ``reads`` what each read brought."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    chunks: list[bytes] = field(default_factory=list)
    ended: bool = True
    """The body ended as its framing says it should."""

    def header(self, name: str) -> str | None:
        found = [value.decode() for key, value in self.headers if key.lower() == name.encode().lower()]
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def call_id(self) -> str:
        found = self.header("x-submeter-call-id")
        assert found is not None
        return found

    def comparable_headers(self) -> list[tuple[bytes, bytes]]:
        """In order and as written, without what two runs may differ in."""
        return [(key, value) for key, value in self.headers if key.lower() not in VOLATILE | OURS | HOP]


class RawConnection:
    """One connection to a server on loopback."""

    def __init__(self, port: int, deadline_s: float = DEADLINE_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), deadline_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.deadline_s = deadline_s
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_some(self) -> bytes:
        """What one read brings; empty at the end of the connection, also when it was reset."""
        self.socket.settimeout(self.deadline_s)
        try:
            return self.socket.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def read_until(self, mark: bytes) -> bytes:
        """Up to and with ``mark``, or all there is."""
        end = time.monotonic() + self.deadline_s
        while mark not in self.buffer:
            assert time.monotonic() < end, f"waited for {mark!r}, have {self.buffer[-200:]!r}"
            data = self.read_some()
            if not data:
                out, self.buffer = self.buffer, b""
                return out
            self.buffer += data
        out, _, self.buffer = self.buffer.partition(mark)
        return out + mark

    def read_to_end(self) -> bytes:
        while data := self.read_some():
            self.buffer += data
        out, self.buffer = self.buffer, b""
        return out

    def read_exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.read_some()
            if not data:
                break
            self.buffer += data
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out

    def read_head(self) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        head = self.read_until(b"\r\n\r\n")
        assert head.endswith(b"\r\n\r\n"), f"no answer: {head!r}"
        first, *lines = head[:-4].split(b"\r\n")
        _, status, reason = (first + b" ").split(b" ", 2)
        headers = []
        for line in lines:
            key, _, value = line.partition(b": ")
            headers.append((key, value))
        return int(status), reason.strip(), headers

    def read_chunk(self) -> bytes | None:
        """One chunk; ``None`` when the connection ended instead."""
        line = self.read_until(b"\r\n")
        if not line.endswith(b"\r\n"):
            return None
        size = int(line.split(b";")[0], 16)
        data = self.read_exactly(size + 2)
        return data[:-2] if len(data) == size + 2 else None

    def read_answer(self, *, head_only: bool = False) -> Answer:
        status, reason, headers = self.read_head()
        while 100 <= status < 200:
            status, reason, headers = self.read_head()
        named = {key.lower(): value for key, value in headers}
        if head_only or status in (204, 304):
            return Answer(status, reason, headers, b"")
        if named.get(b"transfer-encoding", b"").lower() == b"chunked":
            chunks: list[bytes] = []
            while chunk := self.read_chunk():
                chunks.append(chunk)
            return Answer(status, reason, headers, b"".join(chunks), chunks, ended=chunk is not None)
        if b"content-length" in named:
            size = int(named[b"content-length"])
            body = self.read_exactly(size)
            return Answer(status, reason, headers, body, [body], ended=len(body) == size)
        body = self.read_to_end()
        return Answer(status, reason, headers, body, [body])


def request(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes | dict[str, Any] | None = None
) -> bytes:
    """A request's bytes; a dict becomes JSON. Host and Content-Length are added when missing."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    all_headers = {"Host": "127.0.0.1", "Authorization": "Bearer sk-test"}
    if isinstance(body, dict):
        all_headers["Content-Type"] = "application/json"
    if data is not None:
        all_headers["Content-Length"] = str(len(data))
    all_headers |= headers or {}
    lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in all_headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (data or b"")


def ask(port: int, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> Answer:
    """One request on a connection of its own."""
    with RawConnection(port) as connection:
        connection.send(request(method, path, headers, body))
        return connection.read_answer(head_only=method == "HEAD")


def chat(**more: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say something."}]} | more
