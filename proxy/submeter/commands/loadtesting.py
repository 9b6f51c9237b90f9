"""A load test from its options to its files."""

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from random import SystemRandom
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from submeter.commands import reading, tables
from submeter.config import Settings, load_settings
from submeter.core.pricebook import PriceEntry
from submeter.errors import UsageError
from submeter.loadtest import compare as comparing
from submeter.loadtest import run as running
from submeter.loadtest import samples as files
from submeter.loadtest import scenario as scenarios
from submeter.loadtest.order import Order
from submeter.loadtest.replay import replayed
from submeter.loadtest.result import result
from submeter.loadtest.scenario import Call, Scenario
from submeter.loadtest.spend import BookSpend, LedgerSpend, Spend, worst_cases
from submeter.prices.load import load_book
from submeter.store import queries

UPSTREAM = "openai"
"""Whose prices a target has: those of the configuration's upstream of that name."""
RESULT, SAMPLES, LOCUST = "result.json", "samples.csv", "locust"
SEEDS = 2**31


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The command line."""

    scenario: str
    target: str
    model: str
    out: Path
    max_usd: Decimal | None
    seed: int | None
    web: bool


def run(asked: Asked, config: Path | None, data_dir: Path | None, ledger: str | None) -> dict[str, Any]:
    """Run it and write DIR. Returns what is in ``result.json``. Raises ``UsageError``."""
    if importlib.util.find_spec("locust") is None:
        raise UsageError("load tests need Locust: pip install 'submeter[loadtest]'")
    settings = load_settings(config, data_dir=data_dir, ledger=ledger)
    scenario = scenarios.load(asked.scenario)
    entry = _price(settings, asked.model)
    seed = SystemRandom().randrange(SEEDS) if asked.seed is None else asked.seed
    scenario, calls = _plan(settings, scenario, seed)
    order = _order(asked, scenario, calls, seed, _worst(asked, scenario, entry))
    started_at_ns = time.time_ns()
    with _spend(settings, entry, scenario, from_ledger=data_dir is not None or ledger is not None) as spend:
        outcome = _with_progress(order, asked.out, spend)
        document = result(order, asked.scenario, asked.target, started_at_ns, outcome, spend)
    _write(asked.out, document, outcome.samples)
    return document


def _plan(settings: Settings, scenario: Scenario, seed: int) -> tuple[Scenario, list[Call]]:
    if scenario.replay is None:
        return scenario, scenarios.plan(scenario, seed)
    since_ns = reading.parse_since("replay.since", scenario.replay.since)
    with reading.open_ledger(settings.data_dir, settings.ledger) as ledger:
        rows = queries.calls(ledger, scenario.replay.most_calls, since_ns)
        return replayed(scenario, scenario.replay, rows)


def _order(asked: Asked, scenario: Scenario, calls: list[Call], seed: int, worst_nano_usd: list[int]) -> Order:
    limit = None if asked.max_usd is None else int((asked.max_usd * 10**9).to_integral_value(ROUND_FLOOR))
    return Order(
        scenario=scenario,
        calls=calls,
        seed=seed,
        base_url=_base_url(asked.target),
        model=asked.model,
        limit_nano_usd=limit,
        worst_nano_usd=worst_nano_usd,
        parent_pid=os.getpid(),
        web=asked.web,
    )


def _base_url(target: str) -> str:
    """Without its last slash, and with ``/v1`` where there is no path at all."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--target {target} is no URL: give one such as http://127.0.0.1:4100/v1")
    if parts.username is not None or parts.password is not None:
        raise UsageError("--target must not hold a credential: put the key into OPENAI_API_KEY")
    if parts.query or parts.fragment:
        raise UsageError("--target ends with its path, such as /v1")
    return target.rstrip("/") if parts.path.strip("/") else f"{target.rstrip('/')}/v1"


def _price(settings: Settings, model: str) -> PriceEntry | None:
    origin = settings.origins.get(UPSTREAM)
    provider, region = (None, None) if origin is None else origin
    return load_book(settings.prices, settings.data_dir).find(model, provider, time.time_ns(), region)


def _worst(asked: Asked, scenario: Scenario, entry: PriceEntry | None) -> list[int]:
    if entry is not None:
        return worst_cases(scenario, entry)
    if asked.max_usd is None:
        return []
    raise UsageError(f"--max-usd needs a price, and {asked.model} has none: write it under prices: in submeter.yaml")


@contextmanager
def _spend(settings: Settings, entry: PriceEntry | None, scenario: Scenario, *, from_ledger: bool) -> Iterator[Spend]:
    worst = [] if entry is None else worst_cases(scenario, entry)
    if not from_ledger:
        yield BookSpend(entry, worst)
        return
    with reading.open_ledger(settings.data_dir, settings.ledger) as ledger:
        yield LedgerSpend(ledger, worst)


def _with_progress(order: Order, out: Path, spend: Spend) -> running.Outcome:
    columns = (
        TextColumn("calls"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[usd]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("calls", total=len(order.calls), usd="")

        def show(calls: int, nano_usd: int | None) -> None:
            bar.update(task, completed=calls, usd=tables.usd(nano_usd))

        return running.run(order, out / LOCUST, spend, show)


def _write(out: Path, document: dict[str, Any], samples: list[files.Sample]) -> None:
    """The figures first: they are there whatever becomes of the picture."""
    from submeter.loadtest.report import write_report  # it carries jinja2, which only a run that ends well needs

    try:
        files.write_csv(out / SAMPLES, samples)
        (out / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        write_report(out, document, samples)
    except OSError as error:
        raise UsageError(f"cannot write into {out}: {error.strerror}") from None


def compare(before: Path, after: Path, seed: int) -> dict[str, Any]:
    """``{before, after, regressed, threshold, measures, settings}``, the last two lists of changes. Raises
    ``UsageError``."""
    found = comparing.compare(files.read_csv(before / SAMPLES), files.read_csv(after / SAMPLES), seed=seed)
    changes: dict[str, Any] = msgspec.to_builtins(found)
    return {"before": str(before), "after": str(after), "regressed": found.regressed, **changes}
