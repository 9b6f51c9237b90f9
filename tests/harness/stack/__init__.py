"""A production-like stack on loopback: real Redis, Postgres and Prometheus from packages, Submeter with two relays in
front of the scripted provider, and traffic. For people (``make stack``) and for tests.

The past that Prometheus has in it is synthetic (``history``); everything since it started is measured.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import yaml
from redis import Redis

from harness.postgres import Postgres
from harness.processes import Provider, Unit, wait_for
from harness.prometheus import Prometheus
from harness.raw import ask
from harness.redis_server import RedisServer
from harness.stack.history import Window, openmetrics, windows
from harness.stack.traffic import Traffic
from report.report_stub import make_report
from submeter.core.week import last_complete
from submeter.report import history
from submeter.store.cache.names import ANSWERS

REPOSITORY = Path(__file__).parents[3]
BOARDS = REPOSITORY / "dashboards" / "grafana"
RULES = REPOSITORY / "dashboards" / "prometheus"
SCRAPE = "1s"
WARM_UP_S = 12.0
CONFIG = """
ops_note: "make stack: these calls are synthetic, and so is what they cost"
workers: 2
labels: {team: [support, search, legal, planning]}
"""


class Part(Protocol):
    def close(self) -> object: ...


T = TypeVar("T", bound=Part)


class Stack:
    """Use with ``with``: nothing of it is left afterwards. It comes up with a little traffic behind it, of which the
    past is made."""

    boards = BOARDS

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._closing: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def drive(self, seconds: float, tick: Callable[[], None] = lambda: None) -> int:
        """Traffic for so long; how many calls that was. Halfway some kept answers are forged."""
        traffic = Traffic(self.unit.url)
        asyncio.run(traffic.run(seconds / 2, tick))
        self._forge()
        asyncio.run(traffic.run(seconds / 2, tick))
        return traffic.calls

    def settle(self) -> None:
        """Until every call is a row and Prometheus has seen it."""
        self.unit.rows("--ledger", self.ledger_url)
        seen_s = time.time()
        wait_for(lambda: self.prometheus.number("min(timestamp(submeter_relays))") > seen_s + 1, "one more scrape")

    # -- inside ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.redis = self._keep(RedisServer(self.directory, maxmemory="64mb", maxmemory_policy="allkeys-lru"))
        self.postgres = self._keep(Postgres())
        self.ledger_url = self.postgres.url(self.postgres.create())
        self.provider = self._keep(Provider(self.directory))
        flags = ("--redis", self.redis.url, "--ledger", self.ledger_url)
        self.unit = self._keep(Unit(self.directory, self.provider, *flags, config=CONFIG))
        self.unit.wait_ops()
        self._report()
        self.drive(WARM_UP_S)
        self.prometheus = self._keep(Prometheus(self.directory, self._prometheus_config()))
        self._remember(windows(int(time.time())))
        self.prometheus.start()
        wait_for(self.prometheus.targets_up, "the first scrape")

    def _report(self) -> None:
        """Of last week, in which there was no traffic yet: as made up as Prometheus' past is. It does not say so itself
        (``synthetic``), since the meter would not show it."""
        week = last_complete(time.time_ns())
        made_up = make_report(week=week.text, starts=str(week.monday), ends=str(week.end_day), synthetic=False)
        history.store(self.unit.data_dir, made_up)

    def _forge(self) -> None:
        with Redis(port=self.redis.port) as server:
            for key in server.keys(ANSWERS)[:5]:
                value = server.get(key)
                if value is not None:
                    server.set(key, value[:-1] + b"!", keepttl=True)

    def _remember(self, past: list[Window]) -> None:
        """Give Prometheus its synthetic past, and the recording rules over it."""
        scrape = ask(self.unit.ops_port, "GET", "/metrics").body.decode()
        path = self.directory / "past.txt"
        for number, window in enumerate(past):
            # Each week has a little more traffic than the one before, and a hundred times this run's warm-up.
            with path.open("w") as file:
                file.writelines(openmetrics(scrape, self._labels, window, share=100.0 + 5 * number))
            self.prometheus.import_samples(path)
        path.unlink()
        rules = RULES / "recording.yml"
        if rules.exists():
            self.prometheus.start()
            self.prometheus.import_rules(rules, [(window.begin_s, window.end_s) for window in past])
            self.prometheus.stop()

    @property
    def _labels(self) -> dict[str, str]:
        return {"job": "submeter", "instance": f"127.0.0.1:{self.unit.ops_port}"}

    def _prometheus_config(self) -> str:
        return yaml.safe_dump(
            {
                "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
                "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
                "scrape_configs": [
                    {"job_name": "submeter", "static_configs": [{"targets": [self._labels["instance"]]}]}
                ],
            }
        )

    def _keep(self, part: T) -> T:
        self._closing.append(part.close)
        return part

    def _close(self) -> None:
        for close in reversed(self._closing):
            close()
        self._closing.clear()
