"""Our cost of every model of the price map, held against litellm's calculator and against genai-prices.

``pytest -v`` prints each explanation with the number of disagreements that it covers.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oracles.comparison import RESULTS, Allowed, Compared, Result, judge, read_allowed, summary
from oracles.grid import cases, is_priced
from oracles.ours import Map, against_genai, against_litellm, read_map
from submeter.prices.sources import read_source

CHILD = Path(__file__).with_name("litellm_child.py")


@pytest.fixture(scope="module")
def prices() -> Map:
    return read_map(read_source(None)[0])


def keep(config: pytest.Config, result: Result) -> Result:
    config.stash.setdefault(RESULTS, []).append(result)
    return result


def test_litellm_agrees_or_the_reason_is_written_down(prices: Map, pytestconfig: pytest.Config) -> None:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    child = subprocess.run([sys.executable, str(CHILD)], capture_output=True, env=environment, check=False)
    assert child.returncode == 0, child.stderr[-2000:].decode(errors="replace")
    found = against_litellm(prices, json.loads(child.stdout))
    result = keep(pytestconfig, judge(found, read_allowed("litellm")))
    assert result.unexplained == [], "\n".join(summary(result))
    assert result.dead == []
    assert result.compared["litellm"] > 29_000  # of some 3,650 models
    assert result.equal["litellm"] > 0.9 * result.compared["litellm"]


def test_genai_prices_agrees_or_the_reason_is_written_down(prices: Map, pytestconfig: pytest.Config) -> None:
    result = keep(pytestconfig, judge(against_genai(prices), read_allowed("genai")))
    assert result.unexplained == [], "\n".join(summary(result))
    assert result.dead == []
    assert result.compared["genai"] > 4_000
    assert result.equal["genai"] > 0.85 * result.compared["genai"]


def test_every_allowed_disagreement_says_who_is_right_and_where_to_read_it() -> None:
    for entry in read_allowed("litellm", "genai"):
        assert entry.right in ("ours", "oracle", "unknown")
        assert entry.ours in ("priced", "unpriced")
        assert len(entry.reason) > 20
        assert len(entry.source) > 6
        # A disagreement between two prices is excused for named providers, never for all.
        assert entry.ours == "unpriced" or entry.models != "*"


def compared(ours: int | None, theirs: float | None, classes: int = 2) -> Compared:
    return Compared(
        "litellm", "p m", "standard plain", classes, ours, theirs, () if ours is not None else ("input_audio",)
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "equal"),
    [
        (100, 101.0, True),  # two classes, half a nano-dollar each
        (100, 101.1, False),
        (10**12, 10**12 + 1000.0, True),  # a part in a thousand million
        (10**12, 10**12 + 1100.0, False),
        (None, None, True),
        (None, 0.0, False),  # no price is not a price of zero
        (0, None, False),
        (0, 0.0, True),
    ],
)
def test_when_two_costs_are_equal(ours: int | None, theirs: float | None, equal: bool) -> None:
    assert compared(ours, theirs).equal is equal


def test_an_allowed_entry_covers_only_what_it_names() -> None:
    def allow(**changes: str | None) -> Allowed:
        usual = {"oracle": "litellm", "models": "p *", "kinds": "standard *", "ours": "priced"}
        return Allowed(**{**usual, "right": "ours", "reason": "", "source": "", **changes})  # type: ignore[arg-type]

    odd, unpriced = compared(1, 5.0), compared(None, 5.0)
    for entry, covered in (
        (allow(), [odd]),
        (allow(ours="unpriced"), [unpriced]),
        (allow(ours="unpriced", lacks="input_audio"), [unpriced]),
        (allow(ours="unpriced", lacks="reasoning"), []),
        (allow(models="q *"), []),
        (allow(kinds="batch *"), []),
        (allow(oracle="genai"), []),
    ):
        result = judge([odd, unpriced, compared(3, 3.0)], (entry,))
        assert result.equal == {"litellm": 1}
        assert result.unexplained == [one for one in (odd, unpriced) if one not in covered]
        assert bool(result.dead) is (not covered)


def test_the_grid_asks_for_every_tier_and_context_that_the_map_names() -> None:
    fields = {
        "mode": "chat",
        "input_cost_per_token": 1,
        "input_cost_per_token_above_200k_tokens_flex": 1,
        "input_cost_per_token_batches": 1,
        "provider_specific_entry": {"fast": 2, "us": 1.1},
    }
    found = {case.kind: case for case in cases("m", fields)}
    assert {kind.split()[0] for kind in found} == {"standard", "flex", "batch", "fast"}
    assert sum(found["flex cached >200000"].tokens.values()) == 200_001 + 503
    assert sum(found["batch plain =200000"].tokens.values()) == 200_000 + 503
    assert found["standard mixed in geo us"].region == "geo us"
    assert not is_priced("sample_spec", fields)
