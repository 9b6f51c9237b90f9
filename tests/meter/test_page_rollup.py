"""Merged from the finest groups: the same sums and percentiles as asking the ledger for each grouping."""

import random
from pathlib import Path

import pytest

from meter.ops_app import make_settings, record
from store.ledger_rows import START_NS, make_random_call
from submeter.meter.rollup import KEYS, Rollup
from submeter.store import queries
from submeter.store.ledger import Ledger

GROUPINGS = ((), ("model",), ("team",), ("prompt",), ("prompt", "prompt_version"), KEYS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("since_ns", [0, START_NS + 2 * 86_400 * 10**9])
def test_merging_is_the_same_as_asking(tmp_path: Path, seed: int, since_ns: int) -> None:
    dice = random.Random(seed)
    settings = make_settings(tmp_path)
    record(settings, [make_random_call(number, dice) for number in range(300)])
    with Ledger.open(settings.ledger_url, read_only=True) as ledger:
        rollup = Rollup(ledger, since_ns)
        assert rollup.total() == queries.summary(ledger, since_ns)
        for keys in GROUPINGS:
            asked = {tuple(line.group.values()): line for line in queries.cost_by(ledger, keys, since_ns)}
            assert {tuple(line.group.values()): line for line in rollup.costs(*keys)} == asked
            lines = queries.latency_by(ledger, keys, since_ns)
            measured = {tuple(line.group.values()): (line.ttft, line.e2e) for line in lines}
            assert rollup.latencies(*keys) == measured


def test_the_dearest_come_first(tmp_path: Path) -> None:
    dice = random.Random(1)
    settings = make_settings(tmp_path)
    record(settings, [make_random_call(number, dice) for number in range(200)])
    with Ledger.open(settings.ledger_url, read_only=True) as ledger:
        costs = [line.cost_nano_usd for line in Rollup(ledger, 0).costs(*KEYS)]
    assert costs == sorted(costs, reverse=True)


def test_of_nothing(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    record(settings, [])
    with Ledger.open(settings.ledger_url, read_only=True) as ledger:
        rollup = Rollup(ledger, 0)
        assert (rollup.total().calls, rollup.costs("team"), rollup.latencies()) == (0, [], {})
