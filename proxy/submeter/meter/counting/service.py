"""The counting service: a Unix socket in the data directory on which relays ask, and two threads that count.

It lives in the meter because a tokenizer takes 90 MB and milliseconds at a time; no relay loads one. Everything is
bounded: the size of a question, how many wait, how long each may take. Whatever comes in, the worst that happens is
that a call gets no counts, and the bounds of its cost are made from bytes.
"""

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.resources.abc import Traversable
from pathlib import Path

from submeter.core import counting
from submeter.core.counting import BadFrame, Frames, Question
from submeter.core.record import Counted
from submeter.meter.counting.count import count
from submeter.meter.counting.models import TokenizerName, tokenizer_of
from submeter.meter.counting.tokenizer import DamagedRanks, Tokenizer, TooSlow, load

log = logging.getLogger("submeter")

THREADS = 2
"""tiktoken releases the interpreter's lock while it counts."""
MAX_WAITING = 256


class CountingService:
    """Serves on the meter's loop. ``ranks``: the rank files' directory; without it, those of the package."""

    def __init__(self, data_dir: Path, ranks: Traversable | None = None) -> None:
        self._path = data_dir / counting.SOCKET_NAME
        self._ranks = ranks
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()
        self._threads = ThreadPoolExecutor(THREADS, "counting")
        self._loading = threading.Lock()
        self._tokenizers: dict[TokenizerName, Tokenizer | None] = {}
        self._waiting = 0

    async def start(self) -> None:
        """Without a socket the meter does the rest of its work, and says what is missing."""
        loop = asyncio.get_running_loop()
        try:
            if len(os.fsencode(self._path)) > counting.MAX_SOCKET_PATH_BYTES:
                raise OSError("its path is too long for a socket: choose a shorter --data-dir")
            self._server = await loop.create_unix_server(lambda: _Line(self), self._path)
            self._path.chmod(0o600)  # until then the directory's 0700 guards it
        except OSError as why:
            log.warning(
                "no counting service on %s (%s); the cost of calls without usage is bounded from their bytes",
                self._path,
                why.strerror or why,
            )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                self._path.unlink()
        for line in tuple(self._lines):
            line.abort()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    # -- for its connections ---------------------------------------------------------------------------------

    def opened(self, line: "_Line") -> None:
        self._lines.add(line)

    def closed(self, line: "_Line") -> None:
        self._lines.discard(line)

    def ask(self, line: "_Line", number: int, question: Question) -> None:
        """Count it in a thread; the reply comes by ``line.reply``."""
        if self._waiting >= MAX_WAITING:
            line.reply(number, None)
            return
        self._waiting += 1
        deadline_s = time.monotonic() + counting.DEADLINE_S
        counted = asyncio.get_running_loop().run_in_executor(self._threads, self._count, question, deadline_s)
        counted.add_done_callback(lambda done: self._answer(line, number, done))

    # -- inside ----------------------------------------------------------------------------------------------

    def _answer(self, line: "_Line", number: int, done: asyncio.Future[Counted | None]) -> None:
        self._waiting -= 1
        line.reply(number, None if done.cancelled() else done.result())

    def _count(self, question: Question, deadline_s: float) -> Counted | None:
        """In a thread. ``None``: too late, no rank file, or a fault of ours."""
        name, own = tokenizer_of(question.model)
        try:
            tokenizer = self._tokenizer(name)
            return None if tokenizer is None else count(question, tokenizer, own=own, deadline_s=deadline_s)
        except TooSlow:
            return None
        except BaseException as fault:  # noqa: BLE001 - tiktoken's panics are BaseExceptions; the next count may go well
            log.error("a count failed", extra={"error": type(fault).__name__})
            return None

    def _tokenizer(self, name: TokenizerName) -> Tokenizer | None:
        """Loaded when it is first needed, so that the meter stays small where every provider reports usage."""
        with self._loading:
            if name not in self._tokenizers:
                self._tokenizers[name] = self._load(name)
            return self._tokenizers[name]

    def _load(self, name: TokenizerName) -> Tokenizer | None:
        try:
            return load(name, self._ranks)
        except DamagedRanks as why:
            log.error("%s: install submeter again; until then the cost of calls without usage is bounded", why)
            return None


class _Line(asyncio.Protocol):
    """One relay's connection."""

    transport: asyncio.Transport

    def __init__(self, service: CountingService) -> None:
        self._service = service
        self._frames = Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._service.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.closed(self)

    def data_received(self, data: bytes) -> None:
        try:
            for number, payload in self._frames.feed(data):
                self._service.ask(self, number, counting.read_question(payload))
        except BadFrame:
            self.abort()

    def reply(self, number: int, counted: Counted | None) -> None:
        if not self.transport.is_closing():
            self.transport.write(counting.frame(number, counted))

    def abort(self) -> None:
        self.transport.abort()
