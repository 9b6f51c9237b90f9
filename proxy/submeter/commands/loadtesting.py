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

from submeter.commands import loadtest_progress, reading
from submeter.config import Settings, load_settings
from submeter.config.nearest import known_or_nearest
from submeter.config.settings import most_specific
from submeter.core.pricebook import Origin, PriceEntry
from submeter.errors import UsageError
from submeter.loadtest import compare as comparing
from submeter.loadtest import run as running
from submeter.loadtest import samples as files
from submeter.loadtest import scenario as scenarios
from submeter.loadtest.order import Order
from submeter.loadtest.replay import replayed
from submeter.loadtest.result import result
from submeter.loadtest.scenario import Call, Replay, Scenario
from submeter.loadtest.spend import BookSpend, LedgerSpend, Spend, worst_cases
from submeter.prices.load import load_book
from submeter.store import queries

UPSTREAM = "openai"
"""Whose prices a target has of which nobody says more: those of the configuration's upstream of that name."""
RESULT, SAMPLES, LOCUST = "result.json", "samples.csv", "locust"
SEEDS = 2**31


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The command line."""

    scenario: str
    target: str
    model: str
    out: Path
    max_usd: Decimal | None
    provider: str | None
    seed: int | None
    web: bool


def run(asked: Asked, config: Path | None, data_dir: Path | None, ledger: str | None) -> dict[str, Any]:
    """Run it and write DIR. Returns what is in ``result.json``. Raises ``UsageError``."""
    if importlib.util.find_spec("locust") is None:
        raise UsageError("load tests need Locust: pip install 'submeter[loadtest]'")
    settings = load_settings(config, data_dir=data_dir, ledger=ledger)
    scenario = scenarios.load(asked.scenario)
    seed = SystemRandom().randrange(SEEDS) if asked.seed is None else asked.seed
    scenario, calls = _plan(settings, scenario, seed)
    by_model = prices(settings, asked, scenario)
    entry = by_model.get(asked.model, next(iter(by_model.values()), None))
    worst = [] if entry is None else worst_cases(scenario, entry, by_model)
    order = _order(asked, scenario, calls, seed, worst)
    started_at_ns = time.time_ns()
    book = BookSpend(entry, worst, by_model)
    with _spend(settings, book, worst, from_ledger=data_dir is not None or ledger is not None) as spend:
        outcome = _with_progress(order, asked.out, spend)
        document = result(order, asked.scenario, asked.target, started_at_ns, outcome, spend)
    write(asked.out, document, outcome.samples)
    return document


def _plan(settings: Settings, scenario: Scenario, seed: int) -> tuple[Scenario, list[Call]]:
    if scenario.replay is None:
        return scenario, scenarios.plan(scenario, seed)
    since_ns, until_ns = _stretch(scenario.replay)
    with reading.open_ledger(settings.data_dir, settings.ledger) as ledger:
        rows = queries.calls(ledger, scenario.replay.most_calls, since_ns, until_ns)
        return replayed(scenario, scenario.replay, rows)


def _stretch(trace: Replay) -> tuple[int | None, int | None]:
    """From and until when (Unix ns); ``None``: without end. Raises ``UsageError``."""
    until_ns = None if trace.until is None else reading.parse_since("replay.until", trace.until)
    return reading.parse_since("replay.since", trace.since), until_ns


def _order(asked: Asked, scenario: Scenario, calls: list[Call], seed: int, worst_nano_usd: list[int]) -> Order:
    limit = None if asked.max_usd is None else int((asked.max_usd * 10**9).to_integral_value(ROUND_FLOOR))
    return Order(
        scenario=scenario,
        calls=calls,
        seed=seed,
        base_url=base_url(asked.target),
        model=asked.model,
        limit_nano_usd=limit,
        worst_nano_usd=worst_nano_usd,
        parent_pid=os.getpid(),
        web=asked.web,
    )


def base_url(target: str) -> str:
    """Without its last slash, and with ``/v1`` where there is no path at all."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--target {target} is no URL: give one such as http://127.0.0.1:4100/v1")
    if parts.username is not None or parts.password is not None:
        raise UsageError("--target must not hold a credential: put the key into OPENAI_API_KEY")
    if parts.query or parts.fragment:
        raise UsageError("--target ends with its path, such as /v1")
    return target.rstrip("/") if parts.path.strip("/") else f"{target.rstrip('/')}/v1"


def _price(settings: Settings, model: str, target: str | None = None, provider: str | None = None) -> PriceEntry | None:
    """At the provider that is named, else at that of the upstream which the target is, or which the target sends to."""
    book = load_book(settings.prices, settings.data_dir)
    if provider is None:
        origin = settings.origins.get(_upstream(settings, model, target), Origin(None))
    else:
        known = sorted({entry.provider for entry in book.snapshot if entry.provider is not None})
        origin = Origin(known_or_nearest(provider, known, f"--provider {provider} has no list of prices"))
    return book.find(model, origin.provider, time.time_ns(), origin.region)


def _upstream(settings: Settings, model: str, target: str | None) -> str:
    """The upstream at the target's host and port; else the target is a Submeter, which goes by the model."""
    if target is not None:
        place = urlsplit(target).netloc
        for upstream in settings.upstreams.values():
            if urlsplit(upstream.base_url).netloc == place:
                return upstream.name
    mapped = most_specific(settings.models, model)
    return UPSTREAM if mapped is None else mapped


def prices(settings: Settings, asked: Asked, scenario: Scenario) -> dict[str, PriceEntry]:
    """Of all models that are asked; empty where one has none, and with it the run. Raises ``UsageError``."""
    found = {}
    for model in sorted(scenario.models(asked.model)):
        entry = _price(settings, model, asked.target, asked.provider)
        if entry is None:
            _require_no_budget(asked, model)
            return {}
        found[model] = entry
    return found


def _require_no_budget(asked: Asked, model: str) -> None:
    if asked.max_usd is not None:
        at = "" if asked.provider is None else f" at {asked.provider}"
        raise UsageError(
            f"--max-usd needs a price, and {model} has none{at}: name its --provider, or write it under prices: in "
            "submeter.yaml"
        )


@contextmanager
def _spend(settings: Settings, book: BookSpend, worst: list[int], *, from_ledger: bool) -> Iterator[Spend]:
    if not from_ledger:
        yield book
        return
    with reading.open_ledger(settings.data_dir, settings.ledger) as ledger:
        yield LedgerSpend(ledger, worst)


def _with_progress(order: Order, out: Path, spend: Spend) -> running.Outcome:
    with loadtest_progress.bar(len(order.calls)) as progress:
        return running.run(order, out / LOCUST, spend, progress)


def write(out: Path, document: dict[str, Any], samples: list[files.Sample]) -> None:
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
