"""Starts Locust headless in a process of its own, reads its calls as they end, settles their cost, and sees it end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from submeter.errors import UsageError
from submeter.loadtest import order as files
from submeter.loadtest.order import Ended, Generator, Order, Settled, Tail
from submeter.loadtest.samples import Sample
from submeter.loadtest.spend import Spend

POLL_S = 0.1
START_S = 30.0
STOP_S = 15.0
SETTLE_S = 20.0
WEB_HOST, WEB_PORT = "127.0.0.1", 8089
LOG = "locust.log"

Progress = Callable[[int, int | None], None]
"""(calls ended, nano-USD spent)."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has brought."""

    samples: list[Sample]
    """Without the warm-up, as they ended."""
    warm_up: int
    generator: Generator | None
    """``None``: Locust did not end by itself."""
    interrupted: bool
    unsettled: int
    """Ended calls of which nobody has said what they cost."""


def run(order: Order, directory: Path, spend: Spend, progress: Progress) -> Outcome:
    """The whole load test, its files in ``directory``, which is made. Ctrl-C ends it early.

    Raises ``UsageError`` where Locust cannot run. Its process is gone afterwards, whatever happened.
    """
    _prepare(order, directory)
    reader = _Reader(directory, spend, progress)
    process = _start(order, directory)
    try:
        interrupted = _watch(process, reader, time.monotonic() + _longest_s(order))
    finally:
        _end(process)
    reader.settle_all(time.monotonic() + SETTLE_S)
    generator = _generator(directory)
    if generator is None and not reader.ended and not interrupted:
        raise UsageError(f"Locust did not run: what it said is in {directory / LOG}")
    return Outcome(
        samples=[ended.sample for ended in reader.ended if not ended.call.warm_up],
        warm_up=sum(ended.call.warm_up for ended in reader.ended),
        generator=generator,
        interrupted=interrupted,
        unsettled=spend.waiting,
    )


class _Reader:
    """The lines of calls.jsonl, and the answer to them in settled.jsonl."""

    def __init__(self, directory: Path, spend: Spend, progress: Progress) -> None:
        self._tail = Tail(directory / files.CALLS)
        self._settled = directory / files.SETTLED
        self._spend = spend
        self._progress = progress
        self.ended: list[Ended] = []

    def read(self) -> None:
        new = [msgspec.json.decode(line, type=Ended) for line in self._tail.lines()]
        for ended in new:
            self._spend.take(ended)
        self.ended += new
        self._write(self._spend.settled())
        self._progress(len(self.ended), self._spend.nano_usd)

    def settle_all(self, deadline_s: float) -> None:
        self.read()
        while self._spend.waiting and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            self.read()

    def _write(self, settled: list[Settled]) -> None:
        if settled:
            with self._settled.open("ab") as file:
                file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in settled))


def _prepare(order: Order, directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in (files.CALLS, files.SETTLED, files.GENERATOR):
            (directory / name).unlink(missing_ok=True)
        (directory / files.ORDER).write_bytes(msgspec.json.encode(order))
    except OSError as error:
        raise UsageError(f"cannot write {directory}: {error.strerror}; give another --out") from None


def _start(order: Order, directory: Path) -> subprocess.Popen[bytes]:
    scenario = order.scenario
    ui = ["--autostart", "--autoquit", "1", "--web-host", WEB_HOST, "--web-port", str(WEB_PORT)]
    command = [
        *(sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py"))),
        *(ui if order.web else ["--headless", "--only-summary"]),
        *("--users", str(scenario.users), "--spawn-rate", str(scenario.users)),
        *("--run-time", f"{int(_longest_s(order) - START_S - STOP_S) + 1}s"),
        *("--stop-timeout", str(int(scenario.call_limit_s) + 1), "--exit-code-on-error", "0"),
        *("--host", order.base_url, "--order", str(directory)),
        *("--csv", str(directory / "stats"), "--html", str(directory / "report.html")),
        *("--logfile", str(directory / LOG)),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    with (directory / LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and file
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other in order
        )


def _watch(process: subprocess.Popen[bytes], reader: _Reader, deadline_s: float) -> bool:
    """Until Locust has ended, or must. Whether it was interrupted."""
    try:
        while process.poll() is None and time.monotonic() < deadline_s:
            reader.read()
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _longest_s(order: Order) -> float:
    """Nothing runs longer: the warm-up, all the time that calls may begin in, and the last one's own."""
    scenario = order.scenario
    warm_up_s = scenario.call_limit_s if scenario.warm_up else 0.0
    return START_S + warm_up_s + scenario.time_limit_s + scenario.call_limit_s + STOP_S


def _generator(directory: Path) -> Generator | None:
    try:
        return msgspec.json.decode((directory / files.GENERATOR).read_bytes(), type=Generator)
    except (OSError, msgspec.DecodeError):
        return None
