"""What an answer from the cache costs a relay, beside one from the upstream, and beside nginx with a static file.

One kept connection each asks, in rounds that alternate: a relay for answers that were never asked for (miss), a relay
for one that its memory holds, a relay for one that Redis holds, and nginx for the same bytes as a file. CPU is the
serving process's own clock; "per core" is what one core would serve if it did nothing else.

    python bench/cache.py [--rounds 9] [--calls 300]

nginx and redis-server are Debian's; what is not installed is left out, and said. Exit code 1 if a hit in memory costs
the relay as much as a miss.
"""

import argparse
import itertools
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from harness.processes import accepts, free_port, running, wait_for

WORDS = 64
NUMBERS = itertools.count()


class Figures(NamedTuple):
    cpu_us: float
    p50_us: float


class Served:
    """One kept connection to a server, and the CPU clock of the process behind it."""

    def __init__(self, port: int, pid: int, request: Callable[[], bytes]) -> None:
        self._client = socket.create_connection(("127.0.0.1", port))
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clock = Path(f"/proc/{pid}/schedstat")
        self._request = request

    def round(self, calls: int) -> Figures:
        took: list[int] = []
        before_ns = self._cpu_ns()
        for _ in range(calls):
            request = self._request()
            begun_ns = time.perf_counter_ns()
            self.ask(request)
            took.append(time.perf_counter_ns() - begun_ns)
        return Figures((self._cpu_ns() - before_ns) / calls / 1000, statistics.median(took) / 1000)

    def ask(self, request: bytes) -> bytes:
        """The body of the answer."""
        self._client.sendall(request)
        head, _, body = self._client.recv(1 << 16).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head[:200]
        lines = head.lower().split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self._client.recv(1 << 16)
        return body

    def close(self) -> None:
        self._client.close()

    def _cpu_ns(self) -> int:
        return int(self._clock.read_text().split()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        served = start(stack)
        rounds: dict[str, list[Figures]] = {name: [] for name in served}
        for _ in range(arguments.rounds + 1):
            for name, server in served.items():
                rounds[name].append(server.round(arguments.calls))
    # The first round warms up.
    figures = {name: Figures(*map(statistics.median, zip(*taken[1:], strict=True))) for name, taken in rounds.items()}
    report(figures)
    return int(figures["hit in memory"].cpu_us >= figures["miss"].cpu_us)


def start(stack: ExitStack) -> dict[str, Served]:
    served = {"miss": stack.enter_context(relay(fresh=True)), "hit in memory": stack.enter_context(relay(fresh=False))}
    body = served["hit in memory"].ask(post(""))
    if shutil.which("redis-server") is None:
        say("no redis-server here: hits in Redis are left out")
    else:
        url = stack.enter_context(redis())
        served["hit in Redis"] = stack.enter_context(relay("--redis", url, fresh=False))
    if shutil.which("nginx") is None:
        say("no nginx here: it is left out")
    else:
        served["nginx, a file"] = stack.enter_context(nginx(body))
    return served


@contextmanager
def relay(*flags: str, fresh: bool) -> Iterator[Served]:
    """`submeter serve` before a scripted provider. ``fresh``: every call is one that nobody has asked yet."""
    with tempfile.TemporaryDirectory() as directory, running(Path(directory), *flags, output_tokens=WORDS) as (_, unit):
        (pid,) = unit.pids("submeter.relay")
        server = Served(unit.port, pid, lambda: post(str(next(NUMBERS)) if fresh else ""))
        try:
            yield server
        finally:
            server.close()


@contextmanager
def redis() -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]
    with daemon(command, port):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def nginx(body: bytes) -> Iterator[Served]:
    """One worker with the bytes as a file. In the foreground and without a master, so that its pid is the worker's."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        (root / "answer.json").write_bytes(body)
        (root / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {root}/pid; error_log {root}/error;\n"
            "events {}\n"
            f"http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {root}/body;\n"
            f"proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n"
            f"uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n"
            f"server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
        )
        with daemon(["nginx", "-c", str(root / "nginx.conf")], port) as pid:
            server = Served(port, pid, lambda: b"GET /answer.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try:
                yield server
            finally:
                server.close()


@contextmanager
def daemon(command: list[str], port: int) -> Iterator[int]:
    """Its pid, once it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        wait_for(lambda: accepts(port), command[0])
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)


def post(question: str) -> bytes:
    """A chat call at temperature 0."""
    messages = [{"role": "user", "content": f"Say something. {question}"}]
    body = json.dumps({"model": "gpt-4o-mini", "temperature": 0, "messages": messages}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bench\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def report(figures: dict[str, Figures]) -> None:
    miss = figures["miss"]
    for name, each in figures.items():
        per_core = 1_000_000 / each.cpu_us
        say(
            f"{name:14} {each.cpu_us:8.1f} us CPU a call ({each.cpu_us / miss.cpu_us:.2f} of a miss), "
            f"{per_core:8,.0f} a second and core, p50 {each.p50_us:8.1f} us ({each.p50_us / miss.p50_us:.2f} of a miss)"
        )


def say(line: str) -> None:
    print(line)  # noqa: T201 - what a bench is for


if __name__ == "__main__":
    sys.exit(main())
