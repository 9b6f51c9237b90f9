"""How soon after the leader's first byte the followers of a flight have theirs.

Many callers ask the same at once, through one relay and through four that share a Redis; the provider's first token
comes after half a second, so that all of them are seated. Printed: how many calls the provider billed, and the spread
of first bytes after the leader's. The callers share one process with each other: its own reading is in the figures.

    python bench/flight.py [--callers 200]

Exit code 1 if the provider has billed more than one call.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cache import redis, say

from harness.processes import Unit, running
from harness.raw import chat, request

TTFT_MS = 500
CONFIG = "cache: {deadline_ms: 2000}"


class First(NamedTuple):
    cache: str
    at_ns: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--callers", type=int, default=200)
    callers = parser.parse_args().callers
    billed = measure("one relay", callers)
    if shutil.which("redis-server") is None:
        say("no redis-server here: four relays are left out")
        return int(billed != 1)
    with redis() as url:
        return int(max(billed, measure("four relays", callers, "--workers", "4", "--redis", url)) != 1)


def measure(name: str, callers: int, *flags: str) -> int:
    """Prints the figures; the number of calls that the provider has billed."""
    script = {"output_tokens": 20, "ttft_ms": TTFT_MS, "gap_ms": 20}
    with (
        tempfile.TemporaryDirectory() as directory,
        running(Path(directory), *flags, config=CONFIG, **script) as started,
    ):
        provider, unit = started
        firsts = asyncio.run(everybody(unit, callers))
        billed = len(provider.invoice())
    (leader,) = [first for first in firsts if first.cache == "miss"]
    later_ms = sorted((first.at_ns - leader.at_ns) / 1e6 for first in firsts if first is not leader)
    p95 = later_ms[int(0.95 * len(later_ms))]
    say(
        f"{name:12} {callers} callers, {billed} billed; first bytes after the leader's: median "
        f"{statistics.median(later_ms):.1f} ms, p95 {p95:.1f} ms, last {later_ms[-1]:.1f} ms "
        f"({later_ms[-1] / TTFT_MS:.3f} of the provider's {TTFT_MS} ms)"
    )
    return billed


async def everybody(unit: Unit, callers: int) -> list[First]:
    return await asyncio.gather(*(first_byte(unit.port) for _ in range(callers)))


async def first_byte(port: int) -> First:
    """When the first byte of the body was here; the rest is read too, so that the flight lands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = {"Authorization": "Bearer bench", "Connection": "close"}
    writer.write(request("POST", "/v1/chat/completions", headers, chat(stream=True, temperature=0)))
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.read(1)
    at_ns = time.monotonic_ns()
    while await reader.read(1 << 16):
        pass
    writer.close()
    cache = next(
        line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"x-submeter-cache:")
    )
    return First(cache.decode(), at_ns)


if __name__ == "__main__":
    sys.exit(main())
