"""Has a model become slower than last week? ``submeter latency --fit``, run now and then, and what it found.

The analysis takes numpy, seconds of CPU and up to hundreds of MB, none of which may be the meter's: it is a process of
its own, which yields to every other one, is asked for JSON, and is killed when it takes too long or the meter leaves.
The ledger's URL may hold a password: it goes through the environment, which other users of the machine cannot read.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from submeter.config import Settings
from submeter.meter.families import LATENCY_MEASURES, LATENCY_MODELS
from submeter.meter.labels import NAME
from submeter.tasks import spawn

log = logging.getLogger("submeter")

FIRST_S = 300.0
"""After a start there is other work to do."""
DEADLINE_S = 900.0
NICEST = 19
COMMAND = (sys.executable, "-m", "submeter.cli", "latency", "--fit", "--json")
FOUND_NOTHING, FOUND_SOME = 0, 1


class Change(msgspec.Struct, frozen=True):
    """Of a measure: medians of calls of like lengths, this week's / last week's; ``None``: too few calls."""

    measure: str
    verdict: str
    effect: float | None


class ModelChange(msgspec.Struct, frozen=True):
    model: str
    measures: tuple[Change, ...]


class _Answer(msgspec.Struct):
    models: list[ModelChange]


def read_answer(body: bytes) -> tuple[ModelChange, ...]:
    """The busiest models that have a figure, of what the command printed. Raises ``msgspec.DecodeError``.

    The names are the served ones, which are not ours: what does not look like a name is in the command's answer only.
    """
    known = (_with_figures(each) for each in msgspec.json.decode(body, type=_Answer).models)
    return tuple(each for each in known if each.measures and NAME.fullmatch(each.model))[:LATENCY_MODELS]


def _with_figures(found: ModelChange) -> ModelChange:
    measures = (each for each in found.measures if each.effect is not None and each.measure in LATENCY_MEASURES)
    return ModelChange(found.model, tuple(measures))


class RegressionWatch:
    """Runs the command every ``settings.latency_fit_every_s`` and gives what it found to ``publish``; after a run
    that failed that is nothing, since last hour's figures would look like this hour's."""

    def __init__(
        self,
        settings: Settings,
        publish: Callable[[tuple[ModelChange, ...]], None],
        *,
        command: Sequence[str] = COMMAND,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._every_s = settings.latency_fit_every_s
        self._environ = {
            **os.environ,  # the child is a command as any other
            "SUBMETER_DATA_DIR": str(settings.data_dir),
            "SUBMETER_LEDGER": settings.ledger_url,
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._publish = publish
        self._command = command
        self._deadline_s = deadline_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """In the loop. Nothing is started where it is switched off."""
        if self._every_s == 0:
            return
        self._task = spawn(self._run(), "regressions")

    async def stop(self) -> None:
        """The command, if one runs, is gone when this returns."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        await asyncio.sleep(min(FIRST_S, self._every_s))
        while True:
            self._publish(await self._ask())
            await asyncio.sleep(self._every_s)

    async def _ask(self) -> tuple[ModelChange, ...]:
        try:
            return read_answer(await self._output())
        except TimeoutError:
            log.warning("latency was not held against last week's: it took over %g s", self._deadline_s)
        except (OSError, msgspec.DecodeError) as why:
            log.warning("latency was not held against last week's (%s): try `submeter latency --fit`", why)
        return ()

    async def _output(self) -> bytes:
        """What the command prints. Raises ``OSError`` if it fails, ``TimeoutError`` if it takes too long."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environ,
        )
        try:
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICEST)
            async with asyncio.timeout(self._deadline_s):
                body, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode not in (FOUND_NOTHING, FOUND_SOME):
            raise OSError(f"exit code {process.returncode}")
        return body
