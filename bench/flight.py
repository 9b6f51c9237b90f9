"""How soon after the leader's first token the followers of a flight have theirs.

Many callers ask the same at once, through one relay and through four that share a Redis; the provider's first token
comes half a second after its head, so that all of them are seated by then. Beside it, as the least that it can be: a
process that does nothing but write the same bytes to as many connections. Printed: how many calls the provider billed,
the spread of first tokens after the leader's, and the ratio of the last one's to the bare process's. The callers share
one process, which looks for the token and does nothing else.

    python bench/flight.py [--callers 1000]

Exit code 1 if the provider has billed more than one call.
"""

import argparse
import asyncio
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cache import redis, say

from harness.processes import accepts, free_port, running, wait_for
from harness.raw import chat, request

TTFT_MS = 500
CONFIG = "cache: {deadline_ms: 2000}"
TOKEN = b'"delta":{"content":"'
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
PIECE = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'


class First(NamedTuple):
    leads: bool
    at_ns: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--callers", type=int, default=1000)
    callers = parser.parse_args().callers
    with bare(callers) as port:
        bare_ms = spread("bare writes", asyncio.run(everybody(port, callers)))
    billed = measure("one relay", callers, bare_ms)
    if shutil.which("redis-server") is None:
        say("no redis-server here: four relays are left out")
        return int(billed != 1)
    with redis() as url:
        return int(max(billed, measure("four relays", callers, bare_ms, "--workers", "4", "--redis", url)) != 1)


def measure(name: str, callers: int, bare_ms: float, *flags: str) -> int:
    """Prints the figures; the number of calls that the provider has billed."""
    script = {"output_tokens": 20, "ttft_ms": TTFT_MS, "gap_ms": 20}
    with (
        tempfile.TemporaryDirectory() as directory,
        running(Path(directory), *flags, config=CONFIG, **script) as (provider, unit),
    ):
        last_ms = spread(name, asyncio.run(everybody(unit.port, callers)))
        billed = len(provider.invoice())
    say(f"{'':12} {billed} billed; the last one's is {last_ms / bare_ms:.1f} times that of bare writes")
    return billed


def spread(name: str, firsts: list[First]) -> float:
    """Prints how long after the leader's the others' first tokens came; the last one's, in ms."""
    (leader,) = [first for first in firsts if first.leads]
    later_ms = sorted((first.at_ns - leader.at_ns) / 1e6 for first in firsts if first is not leader)
    median, p95 = statistics.median(later_ms), later_ms[int(0.95 * len(later_ms))]
    say(
        f"{name:12} {len(firsts)} callers; first tokens after the leader's: median {median:.1f} ms, "
        f"p95 {p95:.1f} ms, last {later_ms[-1]:.1f} ms"
    )
    return later_ms[-1]


# -- the callers -------------------------------------------------------------------------------------------------------


class Caller(asyncio.Protocol):
    """Looks for the first token; the rest is read too, so that the flight lands."""

    def __init__(self) -> None:
        self.first: asyncio.Future[First] = asyncio.get_running_loop().create_future()
        self._got = b""
        self._at_ns: int | None = None

    def data_received(self, data: bytes) -> None:
        if self._at_ns is None:
            self._got += data
            self._at_ns = time.monotonic_ns() if TOKEN in self._got else None

    def connection_lost(self, why: Exception | None) -> None:
        if self._at_ns is None:
            self.first.set_exception(why or EOFError("no token came"))
        else:
            self.first.set_result(First(b"x-submeter-cache: miss\r\n" in self._got.lower(), self._at_ns))


async def everybody(port: int, callers: int) -> list[First]:
    return await asyncio.gather(*(ask(port) for _ in range(callers)))


async def ask(port: int) -> First:
    headers = {"Authorization": "Bearer bench", "Connection": "close"}
    transport, caller = await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", port)
    transport.write(request("POST", "/v1/chat/completions", headers, chat(stream=True, temperature=0)))
    return await caller.first


# -- the process that only writes --------------------------------------------------------------------------------------


@contextmanager
def bare(callers: int) -> Iterator[int]:
    """The port of a process that has one piece for all its callers, once so many are there."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve_bare, args=(port, callers))
    process.start()
    try:
        wait_for(lambda: accepts(port), "the bare process")
        yield port
    finally:
        process.terminate()
        process.join()


def serve_bare(port: int, callers: int) -> None:
    uvloop.run(_serve_bare(port, callers))


async def _serve_bare(port: int, callers: int) -> None:
    seated: list[asyncio.Transport] = []

    class Seat(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast(asyncio.Transport, transport)

        def data_received(self, _: bytes) -> None:
            seated.append(self._transport)
            if len(seated) == callers:
                asyncio.get_running_loop().call_later(TTFT_MS / 1000, write_to_all)

    def write_to_all() -> None:
        leads, follows = (HEAD + b"x-submeter-cache: %b\r\n\r\n" % cache + PIECE for cache in (b"miss", b"coalesced"))
        for transport in seated:
            transport.write(leads if transport is seated[0] else follows)
        for transport in seated:
            transport.close()

    server = await asyncio.get_running_loop().create_server(Seat, "127.0.0.1", port, backlog=callers)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
