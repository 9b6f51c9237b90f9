"""Reads of the ledger for the web app: opened when it is there, in threads of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TypeVar

from submeter.errors import UsageError
from submeter.store.engine import sqlite_path
from submeter.store.ledger import Ledger, LedgerUnavailable

T = TypeVar("T")

THREADS = 2
"""One for what a page sums up over a month, one for the short reads that must not wait for it."""


class NothingYet(Exception):
    """There is no ledger yet: nothing was ever recorded."""


class LedgerReader:
    """A read-only ``Ledger`` that may not exist yet. Close it when done."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ledger: Ledger | None = None
        self._opening = Lock()
        # Not the loop's own threads: shipping and exposition must not wait for somebody's month of percentiles.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ops-read")

    async def read(self, query: Callable[[Ledger], T]) -> T:
        """What ``query`` makes of the ledger, in a thread. Raises ``NothingYet`` or ``LedgerUnavailable``."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: query(self._open()))

    def close(self) -> None:
        """Wait for the reads under way, then close."""
        self._threads.shutdown(cancel_futures=True)
        if self._ledger is not None:
            self._ledger.close()

    def _open(self) -> Ledger:
        with self._opening:
            if self._ledger is None:
                path = sqlite_path(self._url)
                if path is not None and not Path(path).exists():
                    raise NothingYet
                try:
                    self._ledger = Ledger.open(self._url, read_only=True)
                except UsageError as error:
                    # Its text advises a command line; here the meter itself is about to set the ledger up.
                    raise LedgerUnavailable("not open yet") from error
            return self._ledger
