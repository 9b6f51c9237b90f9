"""The load test inside Locust: users who ask what the order says. Runs in a process of its own, which gevent patches.

``submeter loadtest`` starts it as ``locust -f locustfile.py --order DIR``; see ``order`` for the files in DIR.

Locust's POST rows are whole calls, end to end, and so is its "Aggregated" row. TTFT and the other measures stand in
rows of their own kind, which are written to Locust's statistics past its request event: through it they would count as
requests.
"""

import errno
import gc
import os
import signal
import time
import traceback
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from socket import gaierror
from ssl import SSLCertVerificationError
from typing import Any

import gevent  # type: ignore[import-untyped]
import msgspec
from gevent.event import Event  # type: ignore[import-untyped]
from gevent.lock import BoundedSemaphore  # type: ignore[import-untyped]
from gevent.ssl import create_default_context  # type: ignore[import-untyped]
from geventhttpclient.client import HTTPClientPool
from geventhttpclient.useragent import RetriesExceeded
from locust import FastHttpUser, events, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import Runner
from locust.stats import CSV_STATS_INTERVAL_SEC

from submeter.core.latency import tpot_ns
from submeter.loadtest import order as files
from submeter.loadtest.answer import Answer
from submeter.loadtest.budget import Budget
from submeter.loadtest.lag import Cpu, Lag
from submeter.loadtest.order import Ended, Generator, Order, Settled, Stopped, Tail, from_schedule_ns, request_body
from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import NS_PER_S, Call
from submeter.loadtest.stream import pieces

NS_PER_MS = 1_000_000
WATCH_S = 0.05
CPU_WINDOW_NS = 2 * NS_PER_S
LATE_NS = 5 * NS_PER_MS
"""A call that begins later than that is late."""
NEVER_SENT = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE})
"""Errors of a connection that never was, beside those that have a class of their own."""


class Run:
    """What all users of the process share. gevent switches between them at I/O only, so that nothing is locked."""

    def __init__(self, directory: Path, environment: Environment, runner: Runner) -> None:
        self.order = msgspec.json.decode((directory / files.ORDER).read_bytes(), type=Order)
        self.environment = environment
        self.runner = runner
        self.in_flight = 0
        self._directory = directory
        self._budget = Budget(self.order.limit_nano_usd, self.order.worst_nano_usd)
        self._settled = Tail(directory / files.SETTLED)
        self._calls: Iterator[Call] = iter(self.order.calls)
        self._turn = BoundedSemaphore()
        self._warming = sum(call.warm_up for call in self.order.calls)
        self._spawned, self._warm = Event(), Event()
        self._out = (directory / files.CALLS).open("ab", buffering=0)
        self._lag, self._schedule_lag, self._cpu = Lag(), Lag(), Cpu(CPU_WINDOW_NS)
        self._begun = self._busy = 0
        self._stopped: Stopped = "done"
        self._over = False
        self._held_until_ns = 0
        self.begun_ns = time.monotonic_ns()

    def spawned(self) -> None:
        """All users are there. Until then the generator is busy with itself."""
        self._spawned.set()
        self._set_warm()

    def next_call(self) -> tuple[Call, bytes] | None:
        """The next call and its body, at the moment when it begins; ``None``: there is none any more."""
        self._spawned.wait()
        asked_ns = time.monotonic_ns()
        with self._turn:  # one user waits for the next call's time (or money), the others wait for their turn
            call = next(self._calls, None)
            if call is None:
                self._over = True
                return None
            if not call.warm_up:
                self._warm.wait()
            body = request_body(self.order, call)
            if call.scheduled_ns is not None:
                self._sleep_until(self.begun_ns + call.scheduled_ns, asked_ns)
            if not self._may_begin(call):
                self._calls, self._over = iter(()), True
                return None
            self._budget.begin(call.number, call.setting)
            self._begun += 1
            self.in_flight += 1
            return call, body

    def ended(self, ended: Ended) -> None:
        self.in_flight -= 1
        self._out.write(msgspec.json.encode(ended) + b"\n")
        if ended.call.warm_up:
            self._warming -= 1
            self._set_warm()

    def watch(self) -> None:
        """Settles, and feels how busy this process is, until the run is over."""
        while True:
            before_ns = time.monotonic_ns()
            gevent.sleep(WATCH_S)
            now_ns = time.monotonic_ns()
            if self._warm.is_set() and not (self._over and self.in_flight == 0):  # what is measured is being measured
                self._lag.note(now_ns - before_ns - int(WATCH_S * NS_PER_S))
                self._cpu.note(now_ns, time.process_time_ns())
            self._settle()
            if os.getppid() != self.order.parent_pid:
                os.kill(os.getpid(), signal.SIGTERM)  # nobody waits for the figures any more
                return

    def close(self) -> None:
        found = Generator(
            cpu_warning=self.runner.cpu_warning_emitted,
            cpu_most=self._cpu.most,
            lag_ms_p99=self._lag.p99_ms(),
            schedule_lag_ms_p99=self._schedule_lag.p99_ms() if self.order.scenario.is_open else None,
            all_users_busy=self._busy,
            stopped=self._stopped,
            begun=self._begun,
        )
        (self._directory / files.GENERATOR).write_bytes(msgspec.json.encode(found))

    def _set_warm(self) -> None:
        if self._warming == 0 and self._spawned.is_set() and not self._warm.is_set():
            self.begun_ns = time.monotonic_ns()
            self._warm.set()

    def _may_begin(self, call: Call) -> bool:
        while True:
            if time.monotonic_ns() - self.begun_ns > self.order.scenario.time_limit_s * NS_PER_S:
                self._stopped = "time"
                return False
            verdict = self._budget.ask(call.setting)
            if verdict == "go":
                return True
            if verdict == "never":
                self._stopped = "budget"
                return False
            gevent.sleep(WATCH_S / 5)
            self._settle()
            self._held_until_ns = time.monotonic_ns()

    def _settle(self) -> None:
        for line in self._settled.lines():
            settled = msgspec.json.decode(line, type=Settled)
            self._budget.settle(settled.number, settled.nano_usd)

    def _sleep_until(self, at_ns: int, asked_ns: int) -> None:
        """``asked_ns``: since when a user was free. What a call waited for a user or for money, no generator caused."""
        early_ns = at_ns - time.monotonic_ns()
        if early_ns > 0:
            gevent.sleep(early_ns / NS_PER_S)
        possible_ns = max(at_ns, asked_ns, self._held_until_ns)
        self._schedule_lag.note(max(0, time.monotonic_ns() - possible_ns))
        self._busy += asked_ns - at_ns > LATE_NS


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    parser.add_argument("--order", required=True, help="the directory with order.json")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _begin(environment: Environment, runner: Runner, **_: object) -> None:
    options: Any = environment.parsed_options
    run = Caller.shared = Run(Path(options.order), environment, runner)
    limit_s, users = run.order.scenario.call_limit_s, run.order.scenario.users
    # One pool for all users: as many connections as calls in flight, kept alive, and one TLS context.
    Caller.client_pool = HTTPClientPool(
        concurrency=users,
        network_timeout=limit_s,
        connection_timeout=limit_s,
        ssl_context_factory=create_default_context,
    )
    gc.freeze()  # the plan may be long, and lives as long as the run
    gevent.spawn(run.watch)


@events.spawning_complete.add_listener  # type: ignore[untyped-decorator]
def _spawned(**_: object) -> None:
    Caller.shared.spawned()


@events.user_error.add_listener  # type: ignore[untyped-decorator]
def _failed(exception: BaseException, **_: object) -> None:
    """A call that fails is a sample. Anything else would be waited for until the time limit, and never end."""
    traceback.print_exception(exception)
    os._exit(1)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _end(**_: object) -> None:
    Caller.shared.close()


class Caller(FastHttpUser):
    """One call after another."""

    shared: Run
    insecure = False
    """The key goes to no server that cannot prove its name; nor does the shared pool let it."""

    def on_start(self) -> None:
        order = self.shared.order
        self._url = f"{order.base_url}/chat/completions"
        self._headers = _headers(order)

    @task
    def ask(self) -> None:
        found = self.shared.next_call()
        if found is None:
            _leave(self.shared)
            raise StopUser
        ended = self._ask(*found)
        self.shared.ended(ended)
        _note(self.environment, ended.sample)

    def _ask(self, call: Call, body: Any) -> Ended:
        scenario = self.shared.order.scenario
        setting = scenario.settings[call.setting]
        concurrency, begun_at_ns, begun_ns = self.shared.in_flight, time.time_ns(), time.monotonic_ns()
        answer, error = Answer(begun_ns), None
        with self.client.post(
            self._url, data=body, headers=self._headers, name=setting.name, stream=True, catch_response=True
        ) as response:
            ttfb_ns = time.monotonic_ns() - begun_ns
            status = response.status_code or None
            try:
                _read(response, answer, scenario.call_limit_s, streamed=setting.stream and status == HTTPStatus.OK)
            except FAILURE_EXCEPTIONS as failure:
                error = type(failure).__name__
            e2e_ns = time.monotonic_ns() - begun_ns
            error = _error(response, answer) if error is None else error
            response.request_meta["response_time"] = e2e_ns / NS_PER_MS
            response.success() if error is None else response.failure(error)
        sample = Sample(
            started_ns=begun_ns - self.shared.begun_ns,
            scheduled_ns=call.scheduled_ns,
            setting=setting.name,
            model=self.shared.order.model_of(call),
            concurrency=concurrency,
            input_tokens=answer.input_tokens,
            cached_input_tokens=answer.cached_input_tokens,
            output_tokens=answer.output_tokens,
            ttfb_ns=None if status is None else ttfb_ns,
            ttft_ns=answer.ttft_ns,
            first_content_ns=answer.first_content_ns,
            e2e_ns=None if status is None else e2e_ns,
            max_gap_ns=answer.max_gap_ns,
            status=status,
            error=error,
            call_id=_header(response, "x-submeter-call-id"),
            request_id=_header(response, "x-request-id"),
            streamed=setting.stream,
        )
        return Ended(call, sample, begun_at_ns, sent=status is not None or _was_sent(_failure(response)))


def _headers(order: Order) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if order.scenario.bypass_cache:
        headers["Cache-Control"] = "no-store"
    return headers | order.scenario.headers


def _read(response: Any, answer: Answer, silence_s: float, *, streamed: bool) -> None:
    """To the last byte."""
    if getattr(response, "stream", None) is None:  # no answer at all
        return
    if not streamed:
        answer.whole(response.content)
        return
    for piece in pieces(response.stream, silence_s):
        answer.piece(piece, time.monotonic_ns())
    answer.end(time.monotonic_ns())


def _failure(response: Any) -> Exception:
    """Why there was no answer."""
    failure: Exception = response.error
    if isinstance(failure, RetriesExceeded):  # there was one try only: its own error is inside
        original: Exception | None = getattr(failure, "original", None)
        return failure if original is None else original
    return failure


def _was_sent(failure: Exception) -> bool:
    """Whether a byte of the call may have reached the server: in doubt it has."""
    if isinstance(failure, (ConnectionRefusedError, gaierror, SSLCertVerificationError)):
        return False
    return not (isinstance(failure, OSError) and failure.errno in NEVER_SENT)


def _error(response: Any, answer: Answer) -> str | None:
    if not response.status_code:
        return type(_failure(response)).__name__
    return answer.error if response.status_code == HTTPStatus.OK else f"status {response.status_code}"


def _header(response: Any, name: str) -> str | None:
    return None if response.headers is None else response.headers.get(name)


def _note(environment: Environment, sample: Sample) -> None:
    """The other measures, in Locust's tables."""
    if sample.error is not None:
        return
    measures = {
        "TTFT": sample.ttft_ns,
        "first content": sample.first_content_ns,
        "TPOT": tpot_ns(sample.e2e_ns, sample.ttft_ns, sample.output_tokens, stream=sample.streamed),
        "largest gap": sample.max_gap_ns,
        "end to end": sample.e2e_ns,
        "end to end, from schedule": from_schedule_ns(sample),
    }
    for kind, value_ns in measures.items():
        if value_ns is not None:
            # A fraction, as in the rows that Locust fills itself.
            environment.stats.get(sample.setting, kind).log(value_ns / NS_PER_MS, 0)  # type: ignore[arg-type]


def _leave(run: Run) -> None:
    """The user who is told so last, when no call is in flight, ends the run."""
    if run.in_flight == 0:
        gevent.spawn(_finish, run)


def _finish(run: Run) -> None:
    gevent.sleep(CSV_STATS_INTERVAL_SEC * 1.2)  # Locust's files get the last figures at its own pace only
    if not run.order.web:
        run.runner.quit()
        return
    run.runner.stop()
    os.kill(os.getpid(), signal.SIGTERM)  # else its page would stay up for ever
