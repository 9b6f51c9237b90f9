"""A server of streamed answers that costs next to nothing, so that the load generator is what limits.

A process of its own: ``python quick_provider.py --port N --log FILE``. It knows one route, whatever the path: an
answer of ``max_tokens`` pieces, ``--gap-ms`` apart, with usage where ``stream_options`` asks for it, as vLLM has it.
FILE gets a line for each call: the connection that it came on, and the members of its body but the messages.
"""

import argparse
import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CONNECTIONS = count()


def chunk(document: bytes) -> bytes:
    data = b"data: " + document + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


PIECE = chunk(
    b'{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":" a"}}]}'
)
USAGE = '{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":51,"completion_tokens":%d}}'
END = chunk(b"[DONE]") + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    gap_s: float
    log: Any

    def __init__(self) -> None:
        self._number = next(CONNECTIONS)
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) == length:
            self._data.clear()
            self._answer(json.loads(body))

    def _answer(self, asked: dict[str, Any]) -> None:
        said = {name: value for name, value in asked.items() if name != "messages"}
        self.log.write(json.dumps({"connection": self._number, **said}) + "\n")
        tokens = asked["max_tokens"]
        tail = END
        if asked.get("stream_options", {}).get("include_usage"):
            tail = chunk((USAGE % tokens).encode()) + END
        self._transport.write(HEAD)
        self._loop = asyncio.get_running_loop()
        self._next(self._loop.time(), tokens, tail)

    def _next(self, due_s: float, left: int, tail: bytes) -> None:
        if self._transport.is_closing():
            return
        if left == 0:
            self._transport.write(tail)
            return
        self._transport.write(PIECE)
        due_s += self.gap_s
        self._loop.call_at(due_s, self._next, due_s, left - 1, tail)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--gap-ms", type=float, default=1.0)
    options = parser.parse_args()
    Connection.gap_s = options.gap_ms / 1000
    with options.log.open("w", buffering=1) as Connection.log:
        asyncio.run(serve(options.port))
