"""The translator process: ``python -m submeter.translate``, started by ``submeter serve`` where an upstream needs it.

As a relay is, it is handed what it needs on stdin (its providers' keys, and the token that relays show) and its
listening socket as a file descriptor. Calls that come before litellm is imported wait in the socket's queue.
"""

import argparse
import asyncio
import logging
import signal
import socket
import sys

from aiohttp import web

from submeter.config import Translation, translation_from_json
from submeter.logs import set_up
from submeter.translate.app import make_app
from submeter.translate.engine import Engine

log = logging.getLogger("submeter")

STOP_S = 2.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="submeter.translate", description="Started by `submeter serve`.")
    parser.add_argument("--fd", type=int, required=True)
    arguments = parser.parse_args(argv)
    translation = translation_from_json(sys.stdin.buffer.readline())
    set_up("translator")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent says when to stop
    engine = Engine()
    asyncio.run(_serve(translation, engine, socket.socket(fileno=arguments.fd)))
    return 0


async def _serve(translation: Translation, engine: Engine, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), _parent_gone, loop, stop)
    loop.set_exception_handler(_log_type)
    app = make_app(translation, engine)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=STOP_S
    )
    await runner.setup()
    await web.SockSite(runner, listener).start()
    log.info("translator ready")
    await stop.wait()
    await runner.cleanup()
    log.info("translator stopped")


def _parent_gone(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """stdin became readable: nothing is ever sent after the settings, so the parent has ended."""
    loop.remove_reader(sys.stdin.fileno())
    stop.set()


def _log_type(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """asyncio's own way would print what litellm's tasks raise, which quotes prompts."""
    error = context.get("exception")
    log.error("a task of litellm's failed", extra={"kind": type(error).__name__ if error is not None else "unknown"})
