"""Shipping as the meter does it, on a journal and a ledger in a directory."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from submeter.core.pricebook import Origin
from submeter.core.record import Finish, Start, TokenClasses
from submeter.journal.writer import JournalWriter
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import Metrics
from submeter.meter.ship import Shipper
from submeter.prices.load import load_book
from submeter.store.ledger import Ledger
from submeter.store.queries import summary

ORIGINS: Mapping[str, Origin] = {"openai": Origin("openai")}
UNIT = "0" * 32
NOW_NS = 1_795_000_000_000_000_000


class Ship:
    """One meter's shipping, on a directory of its own; ``ledger`` is one that another has opened."""

    def __init__(self, directory: Path, unit: str = UNIT, ledger: Ledger | None = None) -> None:
        self.directory = directory
        self.unit = unit
        self.journal_dir = directory / "journal"
        self.ledger = Ledger.open(str(directory / "ledger.sqlite3")) if ledger is None else ledger
        self.ledger.migrate()
        self.shipper: Shipper | None = None

    def make(self) -> tuple[Metrics, Shipper]:
        metrics = Metrics(LabelSets({}, self.ledger.label_values()), kept=self.ledger.counters(self.unit))
        book = load_book((), self.directory)
        return metrics, Shipper(self.journal_dir, self.ledger, book, ORIGINS, metrics, unit=self.unit)

    def start(self) -> Metrics:
        metrics, self.shipper = self.make()
        self.shipper.start()
        return metrics

    def restart(self) -> Metrics:
        """A meter that reads all there is, and ends."""
        metrics = self.start()
        self.stop()
        return metrics

    def stop(self) -> None:
        if self.shipper is not None:
            assert self.shipper.stop(20.0)
            self.shipper = None

    def writer(self, name: str = "relay-0", **more: int) -> JournalWriter:
        return JournalWriter(self.journal_dir / name, **more)  # type: ignore[arg-type]


def start_of(number: int, **more: object) -> Start:
    call_id = f"01a20bc7-6a64-7260-97af-{number:012d}"
    return Start(
        call_id, 1, call_id, "chat/completions", "openai", NOW_NS + number, model_requested="gpt-4o-mini", **more
    )  # type: ignore[arg-type]


def finish_of(number: int) -> Finish:
    usage = TokenClasses(input_uncached=1000, cached_read=500, output_text=100)
    call_id = f"01a20bc7-6a64-7260-97af-{number:012d}"
    return Finish(call_id, 1, "ok", 200, model_served="gpt-4o-mini", usage=usage, e2e_ns=5_000_000)


COST_NANO = 1000 * 150 + 500 * 75 + 100 * 600


def value(metrics: Metrics, name: str, **labels: str) -> float:
    exposed = metrics.exposition()[0].decode()
    found = [
        sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


def counted(metrics: Metrics) -> tuple[float, float, float]:
    """(calls, USD, rows shipped)."""
    names = ("submeter_calls_total", "submeter_cost_usd_total", "submeter_ledger_rows_total")
    calls, cost, rows = (value(metrics, name) for name in names)
    return calls, cost, rows


def in_ledger(ledger: Ledger) -> tuple[float, float, float]:
    """The same by the ledger."""
    total = summary(ledger)
    return total.calls, pytest.approx(total.confirmed_nano_usd / 1e9, abs=1e-12), total.calls  # type: ignore[return-value]


def write(writer: JournalWriter, begin: int, end: int) -> None:
    for number in range(begin, end):
        writer.start(start_of(number, team="search"))
        writer.finish(finish_of(number))
