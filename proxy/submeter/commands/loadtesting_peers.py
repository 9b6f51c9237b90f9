"""A test of peers from its options to its files."""

import importlib.util
import re
import time
from collections.abc import Iterator, Sequence
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from random import SystemRandom
from typing import Any

import msgspec

from submeter.commands import loadtest_progress, loadtesting
from submeter.config import Settings, load_settings
from submeter.errors import UsageError
from submeter.loadtest import peers_result, peers_run
from submeter.loadtest import scenario as scenarios
from submeter.loadtest.peers_run import Answers, Target
from submeter.loadtest.result import result
from submeter.loadtest.spend import BookSpend, worst_cases

JSON, CSV = "peers.json", "peers.csv"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,40}")
"""Of a directory too."""
NANO = 10**9


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The command line."""

    scenario: str
    targets: Sequence[str]
    """``NAME=URL``."""
    model: str
    out: Path
    rounds: int
    max_usd: Decimal | None
    provider: str | None
    seed: int | None


def run(asked: Asked, config: Path | None) -> dict[str, Any]:
    """Run it and write DIR. Returns what is in ``peers.json``. Raises ``UsageError``."""
    if importlib.util.find_spec("locust") is None:
        raise UsageError("load tests need Locust: pip install 'submeter[loadtest]'")
    test = _test(asked, load_settings(config))
    started_at_ns = time.time_ns()
    calls = asked.rounds * len(test.targets) * len(scenarios.plan(test.scenario, test.seed))
    with loadtest_progress.bar(calls) as progress:
        answers = peers_run.run(test, asked.out / loadtesting.LOCUST, progress)
    each = [
        result(found.order, asked.scenario, target.base_url, started_at_ns, found.outcome, target.spend)
        for target, found in zip(test.targets, answers, strict=True)
    ]
    document = peers_result.result(test, answers, each, started_at_ns)
    _write(asked.out, document)
    for target, found, own in zip(test.targets, answers, each, strict=True):
        _write_target(asked.out / target.name, own, found)
    return document


def _test(asked: Asked, settings: Settings) -> peers_run.Asked:
    scenario = scenarios.load(asked.scenario)
    peers_run.check(scenario)
    targets = list(_targets(asked.targets))
    prices = loadtesting.prices(settings, _alone(asked, targets[0][1]), scenario)  # one provider is behind all targets
    entry = prices.get(asked.model, next(iter(prices.values()), None))
    worst = [] if entry is None else worst_cases(scenario, entry, prices)
    return peers_run.Asked(
        scenario=scenario,
        targets=[Target(name, url, BookSpend(entry, worst, prices)) for name, url in targets],
        rounds=asked.rounds,
        seed=SystemRandom().randrange(peers_run.SEEDS) if asked.seed is None else asked.seed,
        model=asked.model,
        limit_nano_usd=None if asked.max_usd is None else int((asked.max_usd * NANO).to_integral_value(ROUND_FLOOR)),
        worst_nano_usd=worst,
    )


def _alone(asked: Asked, base_url: str) -> loadtesting.Asked:
    """As if one target were all."""
    return loadtesting.Asked(
        scenario=asked.scenario,
        target=base_url,
        model=asked.model,
        out=asked.out,
        max_usd=asked.max_usd,
        provider=asked.provider,
        seed=asked.seed,
        web=False,
    )


def _targets(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, base URL). Raises ``UsageError``."""
    names = set()
    for text in texts:
        name, equals, url = text.partition("=")
        if not equals or not NAME.fullmatch(name) or name == loadtesting.LOCUST:
            raise UsageError(f"--target {text} has no name of its own: write it as direct=http://127.0.0.1:9000/v1")
        if name in names:
            raise UsageError(f"two targets are called {name}: give each a name of its own")
        names.add(name)
        yield name, loadtesting.base_url(url)
    if len(names) < 2:
        raise UsageError("one target has no peers: give --target twice or more, the direct one first")


def _write(out: Path, document: dict[str, Any]) -> None:
    try:
        (out / JSON).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        (out / CSV).write_text(peers_result.as_csv(document), encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot write into {out}: {error.strerror}") from None


def _write_target(out: Path, document: dict[str, Any], found: Answers) -> None:
    """As of a run of its own, so that `loadtest compare` can take it too."""
    out.mkdir(exist_ok=True)
    loadtesting.write(out, document, found.outcome.samples)
