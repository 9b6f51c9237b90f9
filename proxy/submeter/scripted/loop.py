"""The event loop of the provider as a process: asyncio's own, with timers to the microsecond."""

import asyncio
import select
import selectors
import sys

if sys.platform == "linux":

    class _FineSelector(selectors.EpollSelector):
        """Python's epoll waits whole milliseconds, rounded up: a fitted base would show it. ``select`` waits
        microseconds, and an epoll is a file like another, with a small number if it is made at the start."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)


def new_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(_FineSelector()) if sys.platform == "linux" else asyncio.new_event_loop()
