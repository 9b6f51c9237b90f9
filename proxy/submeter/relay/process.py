"""One relay process: ``python -m submeter.relay``, started by ``submeter serve``.

It is handed its settings as one JSON line on stdin and its listening socket as a file descriptor; stdin stays open for
as long as the parent lives, so that its end tells a relay to drain and leave. Secrets thus never stand in an argument,
an environment or a file.
"""

import argparse
import asyncio
import logging
import signal
import socket
import sys

from submeter.config import Settings, from_json
from submeter.core.counting import SOCKET_NAME
from submeter.journal.writer import JournalWriter
from submeter.logs import set_up
from submeter.relay.counting import Counting
from submeter.relay.relay import Keys, Relay
from submeter.relay.server import ClientConnection
from submeter.store.cache import Cache, open_cache
from submeter.store.keys import Secrets, load_or_create, load_secrets
from submeter.tasks import spawn

log = logging.getLogger("submeter")

SWEEP_S = 1.0
BACKLOG = 4096


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="submeter.relay", description="One relay; started by `submeter serve`.")
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--fd", type=int, required=True)
    arguments = parser.parse_args(argv)
    settings = from_json(sys.stdin.buffer.readline())
    set_up(f"relay-{arguments.index}")
    return _run(settings, arguments.index, socket.socket(fileno=arguments.fd))


def _run(settings: Settings, index: int, listener: socket.socket) -> int:
    try:
        import uvloop
    except ImportError:  # a platform without it: asyncio's own loop does the same, slower
        asyncio.run(_serve(settings, index, listener))
    else:
        uvloop.run(_serve(settings, index, listener))
    return 0


async def _serve(settings: Settings, index: int, listener: socket.socket) -> None:
    relay = _make_relay(settings, index)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), _parent_gone, loop, stop)
    server = await loop.create_server(lambda: ClientConnection(relay), sock=listener, backlog=BACKLOG)
    sweeping = spawn(_sweep(relay), "sweep")
    log.info("relay ready")
    await stop.wait()
    server.close()
    await relay.drain(settings.limits.shutdown_s)
    sweeping.cancel()
    await relay.close()
    log.info("relay stopped")


def _make_relay(settings: Settings, index: int) -> Relay:
    directory = settings.data_dir / "journal" / f"relay-{index}"
    writer = JournalWriter(
        directory,
        sync=settings.journal.sync,
        segment_bytes=settings.journal.segment_bytes,
        quota_bytes=settings.journal.quota_bytes,
    )
    shared = None if settings.cache.key is None else settings.cache.key.reveal()
    secrets = load_secrets(settings.data_dir, shared)
    own = load_or_create(settings.data_dir, "attribution")
    keys = Keys(attribution=own if shared is None else secrets.attributing, cache=secrets.keying)
    return Relay(settings, writer, _make_cache(settings, secrets), keys, Counting(settings.data_dir / SOCKET_NAME))


def _make_cache(settings: Settings, secrets: Secrets) -> Cache | None:
    wanted = settings.cache
    if not wanted.enabled:
        return None
    return open_cache(
        settings.redis,
        max_bytes=wanted.max_bytes,
        deadline_s=wanted.deadline_ms / 1000,
        secrets=secrets,
        l1_s=wanted.l1_s,
    )


async def _sweep(relay: Relay) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        relay.sweep()


def _parent_gone(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """stdin became readable: nothing is ever sent after the settings, so the parent has ended."""
    loop.remove_reader(sys.stdin.fileno())
    stop.set()
