"""A recorded week's busiest hour, replayed through a real unit onto a planted device, and simulated: do both agree?

The device is the scripted provider's, whose iterations take what a ``Planted`` says; the simulator is the weekly
report's, told the same. What is measured is what the unit's ledger says of the replay. The simulator gets from there
when each call came and how long it was, and nothing of how long it took.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from harness.loadtests import Ran, loadtest
from harness.processes import running
from submeter.core.week import Week
from submeter.core.when import HOUR_NS, NS_PER_S, rfc3339
from submeter.loadtest import texts
from submeter.prices.load import load_book
from submeter.report import synthetic, trace
from submeter.report.load import saturated_s
from submeter.report.reach import Objective
from submeter.report.search import give_up, least
from submeter.report.simulate import Engine, simulate
from submeter.report.synthetic import Kind
from submeter.report.trace import Flags, Floats, Trace
from submeter.report.workloads import Demand, scaled
from submeter.scripted import Batching
from submeter.scripted.text import count_tokens
from submeter.store.ledger import Ledger

MODEL, SERVED = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
CHATBOT = Kind(
    team="support",
    app="chatbot",
    prompt="answer",
    model=MODEL,
    served=SERVED,
    share=0.75,
    input_tokens=400,
    output_tokens=24,
)
ROUTER = Kind(
    team="search",
    app="router",
    prompt="classify",
    model=MODEL,
    served=SERVED,
    stream=False,
    share=0.25,
    weekend=0.8,
    input_tokens=200,
    input_spread=0.4,
    output_tokens=6,
    output_spread=0.4,
    hits=0.15,
)
SEED = 7
ENDLESS = 100_000
"""Output tokens that the provider would like to give, so that each request's limit decides."""
MOST_REPLICAS = 16
TOKENIZER_RATIO = Decimal(count_tokens(texts.prompt(10_000, "any"))) / 10_000
"""The scripted provider counts more tokens in the load test's words than OpenAI's tokenizers do."""


class Planted(NamedTuple):
    """A device, and the traffic that keeps it three quarters busy.

    It is slow on purpose. An iteration of 25 to 85 ms is long against the few ms that relay, sockets and late wake-ups
    of a busy machine add to a call. Those decide no more than whether a call that comes at the end of an iteration
    takes part in the next: with delays of 2 ms and a random 4 ms more on each arrival, simulated p50 and p95 move by
    3 % (the worst of fifteen draws), which leaves much of the 10 % that are allowed.
    """

    device: Batching
    calls_per_week: int
    speed: float
    """Of the replay: the hour takes 3600 / ``speed`` seconds."""
    loose: Objective
    """One such device meets it, by far."""
    strict: Objective
    """One such device does not, by far."""

    @property
    def engine(self) -> Engine:
        return Engine(self.device.step_time(), self.device.limits())


SHORT = Planted(
    Batching(
        slots=16, step_ms=40, step_ms_per_running=0.5, prefill_tokens_per_s=12_000, chunk_tokens=512, kv_tokens=10_000
    ),
    calls_per_week=6_000,
    speed=120,
    loose=Objective(2.0, 0.15),
    strict=Objective(0.5, 0.15),
)
"""130 calls in 30 s."""
LONG = Planted(
    Batching(
        slots=16, step_ms=25, step_ms_per_running=0.5, prefill_tokens_per_s=24_000, chunk_tokens=512, kv_tokens=10_000
    ),
    calls_per_week=20_000,
    speed=60,
    loose=Objective(6.0, 0.1),
    strict=Objective(1.5, 0.1),
)
"""More than 400 calls in 60 s."""


class Times(NamedTuple):
    """Seconds of the streamed calls, in order of arrival."""

    ttft_s: Floats
    tpot_s: Floats
    """NaN for a single token."""

    def meet(self, objective: Objective) -> bool:
        late, slow = quantile(self.ttft_s, 0.95), quantile(self.tpot_s, 0.95)
        return late <= objective.ttft_p95_s and slow <= objective.tpot_p95_s


class Figure(NamedTuple):
    """One percentile (s)."""

    name: str
    measured: float
    simulated: float
    foreseen: float
    """Simulated from the recorded hour alone: known before the replay began."""

    @property
    def ratio(self) -> float:
        return self.simulated / self.measured


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One hour of a week, and what the unit's ledger says of its replay."""

    planted: Planted
    recorded: Trace
    """The hour's calls that a fleet would have had to serve."""
    measured: Trace
    """The same calls, served by the device."""
    ran: Ran

    @property
    def offered(self) -> Demand:
        """As they came. However late the generator was, the ledger has when each call reached the relay."""
        return _demand(self.measured, 1.0)

    @property
    def recorded_demand(self) -> Demand:
        """As they should have come, by the recorded hour, the replay's speed and the provider's tokenizer."""
        recorded = _demand(self.recorded, self.planted.speed)
        return scaled(recorded, TOKENIZER_RATIO, 1 / TOKENIZER_RATIO)  # answers are as long as was asked

    @property
    def utilisation(self) -> float:
        return saturated_s(self.planted.engine, self.offered) / float(self.offered.arrival_s[-1])

    @property
    def times(self) -> Times:
        streamed = self.measured.where(self.measured.streamed)
        steps = np.where(streamed.output_tokens > 1, streamed.output_tokens - 1, np.nan)
        return Times(streamed.ttft_ns / NS_PER_S, (streamed.e2e_ns - streamed.ttft_ns) / steps / NS_PER_S)

    @property
    def simulated(self) -> Times:
        return _simulated(self.offered, self.planted.engine, self.measured.streamed)

    @property
    def foreseen(self) -> Times:
        return _simulated(self.recorded_demand, self.planted.engine, self.recorded.streamed)

    def figures(self) -> Iterator[Figure]:
        """p50 and p95 of both times."""
        for name, *times in zip(("TTFT", "TPOT"), self.times, self.simulated, self.foreseen, strict=True):
            for percent in (50, 95):
                yield Figure(f"{name} p{percent}", *(quantile(each, percent / 100) for each in times))

    def replicas(self, objective: Objective) -> int | None:
        """How many such devices these calls need, by the search that plans a fleet."""
        lost = give_up(objective, self.offered)

        def passes(replicas: int) -> bool:
            return not simulate(*self.offered[:3], self.planted.engine, replicas, give_up=lost).gave_up

        return least(passes, 1, MOST_REPLICAS)


def replay_busiest_hour(directory: Path, planted: Planted) -> Replayed:
    """Takes the hour at the replay's speed and some ten seconds more."""
    data_dir = directory / "data"
    data_dir.mkdir()
    week = Week.of_ns(time.time_ns()).previous()  # the replay's own calls are in the week after
    from_ns = _record(data_dir / "ledger.sqlite3", week, planted.calls_per_week)
    script = {"output_tokens": ENDLESS, "batching": msgspec.to_builtins(planted.device)}
    with running(directory, **script) as (_, unit):
        unit.wait_ops()
        scenario, flags = _scenario(from_ns, planted.speed), ("--data-dir", str(data_dir), "--seed", "1")
        ran = loadtest(scenario, unit.base_url, directory / "out", *flags, model=MODEL)
        unit.rows()  # returns when every call is in the ledger
    with Ledger.open(str(data_dir / "ledger.sqlite3")) as ledger:
        recorded, measured = (trace.from_ledger(ledger, each) for each in (week, Week.of_ns(time.time_ns())))
    since_ns = recorded.started_at_ns - from_ns
    hour = recorded.where((since_ns >= 0) & (since_ns < HOUR_NS))
    return Replayed(
        planted=planted, recorded=hour.where(hour.answered), measured=measured.where(measured.answered), ran=ran
    )


def _record(path: Path, week: Week, calls_per_week: int) -> int:
    """Write a week into a ledger; when its busiest hour began (Unix ns)."""
    book, kinds = load_book((), path.parent), (CHATBOT, ROUTER)
    rows = list(synthetic.generate((week,), book, calls_per_week=calls_per_week, seed=SEED, kinds=kinds))
    hours, calls = np.unique([row.started_at_ns // HOUR_NS for row in rows], return_counts=True)
    busiest = int(hours[calls.argmax()])
    with Ledger.open(str(path)) as ledger:
        ledger.migrate()
        synthetic.write_ledger(ledger, rows)
    return busiest * HOUR_NS


def _scenario(from_ns: int, speed: float) -> str:
    return f"""
description = "the week's busiest hour"
users = 400  # more than are ever in flight, so that no call waits for one
warm_up = 0
[replay]
since = "{rfc3339(from_ns)}"
until = "{rfc3339(from_ns + HOUR_NS)}"
speed = {float(speed)}
most_calls = 100_000
"""


def _demand(calls: Trace, speed: float) -> Demand:
    arrival_s = (calls.started_at_ns - calls.started_at_ns[0]) / NS_PER_S / speed
    uncached = calls.input_tokens - calls.cached_input_tokens
    return Demand(arrival_s, uncached, calls.output_tokens, np.zeros(len(calls), np.int32))


def _simulated(demand: Demand, engine: Engine, streamed: Flags) -> Times:
    """All are served; of those that are not streamed the ledger has no first token to compare."""
    served = simulate(demand.arrival_s, demand.input_tokens, demand.output_tokens, engine, 1)
    return Times(served.ttft_s[streamed], served.tpot_s[streamed])


def quantile(values: Floats, share: float) -> float:
    return float(np.nanquantile(values, share))
