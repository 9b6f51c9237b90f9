"""What counting costs the calls that need none: CPU of a relay per call, with it and without it.

Two relays that differ in nothing else stand before one upstream that reports usage. Rounds alternate between them, so
that what else the machine does falls on both; the figure is the median of the rounds' ratios, from the relay
processes' own CPU clocks. A stream comes in one write: with a read per event the relay does more besides, and the
share of counting is smaller.

    python bench/counting.py [--rounds 15] [--calls 400]

Exit code 1 when the relay with counting takes 10 % more, or worse.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvloop

from submeter.config import Settings, Upstream
from submeter.core.counting import SOCKET_NAME
from submeter.journal.writer import JournalWriter
from submeter.relay.counting import Counting
from submeter.relay.relay import Keys, Relay
from submeter.relay.server import ClientConnection

LIMIT = 1.10
EVENTS = 64
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say something."}]}).encode()
USAGE = {"prompt_tokens": 10, "completion_tokens": EVENTS, "total_tokens": 10 + EVENTS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--relay", nargs=4, metavar=("FD", "WITH", "UPSTREAM", "DIR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.relay is not None:
        fd, counting, upstream, directory = arguments.relay
        uvloop.run(relay(int(fd), counting == "with", upstream, Path(directory)))
        return 0
    return compare(arguments.rounds, arguments.calls)


def compare(rounds: int, calls: int) -> int:
    worst = 0.0
    for name, answer in (("stream", stream_answer()), ("whole", whole_answer())):
        with tempfile.TemporaryDirectory() as directory, Measured(directory, answer) as measured:
            ratio, without_us, with_us = measured.compare(rounds, calls)
        worst = max(worst, ratio)
        print(f"{name:7} {without_us:7.1f} us without, {with_us:7.1f} us with counting, ratio {ratio:.3f}")  # noqa: T201
    return int(worst >= LIMIT)


class Figures(NamedTuple):
    ratio: float
    without_us: float
    with_us: float


class Measured:
    """An upstream, the two relays before it, and a client of each."""

    def __init__(self, directory: str, answer: bytes) -> None:
        upstream = serve(answer)
        self._relays = {kind: RelayProcess(kind, upstream, Path(directory) / kind) for kind in ("without", "with")}

    def __enter__(self) -> "Measured":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._relays.values():
            process.close()

    def compare(self, rounds: int, calls: int) -> Figures:
        took: dict[str, list[float]] = {"without": [], "with": []}
        for number in range(rounds + 1):
            order = sorted(self._relays) if number % 2 else sorted(self._relays, reverse=True)
            for kind in order:
                took[kind].append(self._relays[kind].cpu_us_per_call(calls))
        without, counted = took["without"][1:], took["with"][1:]  # the first round warms up
        ratio = statistics.median(b / a for a, b in zip(without, counted, strict=True))
        return Figures(ratio, statistics.median(without), statistics.median(counted))


class RelayProcess:
    """One relay in a process of its own, and one kept connection to it."""

    def __init__(self, kind: str, upstream: str, directory: Path) -> None:
        (directory / "journal").mkdir(parents=True)
        listener = socket.create_server(("127.0.0.1", 0))
        command = [sys.executable, __file__, "--relay", str(listener.fileno()), kind, upstream, str(directory)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(listener.fileno(),))  # noqa: S603
        self._client = socket.create_connection(listener.getsockname())
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.close()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n"
        self._request = head.encode() + b"Content-Type: application/json\r\n\r\n" + BODY

    def cpu_us_per_call(self, calls: int) -> float:
        before = self._cpu_ns()
        for _ in range(calls):
            self._client.sendall(self._request)
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += self._client.recv(1 << 16)
        return (self._cpu_ns() - before) / calls / 1000

    def close(self) -> None:
        self._client.close()
        self._process.communicate(timeout=10)

    def _cpu_ns(self) -> int:
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0])


async def relay(fd: int, counting: bool, upstream: str, directory: Path) -> None:
    """Until stdin ends."""
    settings = Settings(data_dir=directory, upstreams={"openai": Upstream(name="openai", base_url=upstream)})
    writer = JournalWriter(directory / "journal" / "relay-0", sync="os", segment_bytes=1 << 26, quota_bytes=1 << 32)
    line = Counting(directory / SOCKET_NAME) if counting else None
    served = Relay(settings, writer, None, Keys(attribution=bytes(32), cache=bytes(32)), line)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: ClientConnection(served), sock=socket.socket(fileno=fd))
    stop = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    await stop.wait()
    await served.close()


# -- the upstream --------------------------------------------------------------------------------------------------


def serve(answer: bytes) -> str:
    """Gives everybody the same answer; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    in_thread(lambda: accept(listener, answer))
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def accept(listener: socket.socket, answer: bytes) -> None:
    while True:
        connection, _ = listener.accept()
        in_thread(lambda connection=connection: reply(connection, answer))  # type: ignore[misc]


def reply(connection: socket.socket, answer: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while received := connection.recv(1 << 16):
        while not received.endswith(b"}"):
            received += connection.recv(1 << 16)
        connection.sendall(answer)
    connection.close()


def in_thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


def stream_answer() -> bytes:
    deltas = [{"choices": [{"index": 0, "delta": {"content": f" word{number}"}}]} for number in range(EVENTS)]
    end = [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}]
    common = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": "gpt-4o-mini",
    }
    events = [f"data: {json.dumps(common | event)}\n\n" for event in (*deltas, *end)]
    return http("text/event-stream", "".join((*events, "data: [DONE]\n\n")))


def whole_answer() -> bytes:
    message = {"role": "assistant", "content": " ".join(f"word{number}" for number in range(EVENTS))}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return http("application/json", json.dumps({"model": "gpt-4o-mini", "choices": choices, "usage": USAGE}))


def http(content_type: str, body: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return f"{head}{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()


if __name__ == "__main__":
    sys.exit(main())
