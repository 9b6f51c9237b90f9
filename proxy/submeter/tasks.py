"""The one place that starts asyncio tasks: it keeps a reference and reports what a task raised."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("submeter")
_running: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Start a task that outlives its caller. Exceptions are logged by type only: the text may quote input."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        log.error("task %s ended with %s at %s", task.get_name(), type(error).__name__, where)
