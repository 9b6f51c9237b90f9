"""A test of peers end to end, Locust and all: direct, through a real nginx, a real unit, and a slower provider."""

import csv
import json
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.nginx import nginx, nginx_program
from harness.processes import Provider, running, submeter
from submeter.commands.loadtesting_peers import Asked, run
from submeter.loadtest.order import Order
from submeter.loadtest.texts import CHAT_TOKENS
from submeter.scripted.invoice import total_nano_usd

SMALL = """
description = "two lengths"
runs = 3
warm_up = 1
[[settings]]
input_tokens = 50
output_tokens = [1, 20]
"""
SETTINGS = {"in=50,out=1": "1", "in=50,out=20": "20"}
"""And the tokens that each is answered with."""
TARGETS = ("direct", "nginx", "submeter", "slow")
ROUNDS, CALLS = 6, 6
PLANTED_MS = {"ttft_ms": 40.0, "ttfb_ms": 0.0, "e2e_ms": 40.0}
"""The slower provider sends its head as soon as the other does."""
NEAR_MS = 10.0
"""What a busy machine may do to it."""


def peers(
    out: Path, scenario: str, urls: dict[str, str], rounds: int, max_usd: Decimal | None = None
) -> dict[str, Any]:
    path = out.parent / "small.toml"
    path.write_text(scenario)
    targets = [f"{name}={url}" for name, url in urls.items()]
    found = run(
        Asked(
            scenario=str(path),
            targets=targets,
            model="gpt-4o-mini",
            out=out,
            rounds=rounds,
            max_usd=max_usd,
            provider=None,
            seed=5,
        ),
        None,
    )
    assert found == json.loads((out / "peers.json").read_text())
    return found


def samples_of(directory: Path) -> list[dict[str, str]]:
    with (directory / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def answered(directory: Path) -> list[tuple[str, str, str]]:
    return sorted((call["setting"], call["output_tokens"], call["error"]) for call in samples_of(directory))


def asked(block: Path) -> list[tuple[int, int, bool]]:
    """Each call's setting, the tokens of its prompt, and whether it was the warm-up, as Locust had them."""
    order = msgspec.json.decode((block / "order.json").read_bytes(), type=Order)
    return [
        (call.setting, len(order.scenario.prompt(call, order.seed).split()) + CHAT_TOKENS, call.warm_up)
        for call in order.calls
    ]


def provider(directory: Path, ttft_ms: float) -> Provider:
    directory.mkdir()
    return Provider(directory, {"ttft_ms": ttft_ms, "gap_ms": 1, "output_tokens": 60})


@pytest.mark.timeout(300)
def test_nginx_and_submeter_beside_the_direct_way(tmp_path: Path) -> None:
    nginx_program()
    out = tmp_path / "out"
    with ExitStack() as stack:
        direct, unit = stack.enter_context(running(tmp_path, ttft_ms=10, gap_ms=1, output_tokens=60))
        slow = provider(tmp_path / "slow", 10 + PLANTED_MS["ttft_ms"])
        stack.callback(slow.close)
        hop = stack.enter_context(nginx(tmp_path / "nginx", direct.port))
        unit.wait_ops()
        urls = dict(zip(TARGETS, (direct.base_url, hop, unit.base_url, slow.base_url), strict=True))
        found = peers(out, SMALL, urls, ROUNDS)
        invoices = [direct.invoice(), slow.invoice()]
        rows = unit.rows()
    counts = [(target["target"], target["n"], target["errors"]) for target in found["targets"]]
    assert counts == [(name, ROUNDS * CALLS, 0) for name in TARGETS]
    assert (found["base"], found["rounds"], found["seed"], found["stopped"]) == ("direct", ROUNDS, 5, "done")
    # Every call came through, and with the same lengths everywhere.
    each = [(name, tokens, "") for name, tokens in SETTINGS.items() for _ in range(ROUNDS * CALLS // 2)]
    assert [answered(out / name) for name in TARGETS] == [each] * len(TARGETS)
    for number in range(1, ROUNDS + 1):
        blocks = [asked(out / "locust" / f"{number:02}-{name}") for name in TARGETS]
        assert blocks == [blocks[0]] * len(TARGETS)
        assert [tokens for _, tokens, _ in blocks[0]] == [50] * (CALLS + 1)
    assert [len(invoice) for invoice in invoices] == [3 * ROUNDS * (CALLS + 1), ROUNDS * (CALLS + 1)]
    assert len(rows) == ROUNDS * (CALLS + 1)
    assert {call["call_id"] for call in samples_of(out / "submeter")} < {row["call_id"] for row in rows}
    assert Decimal(found["cost_usd"]) == sum(map(total_nano_usd, invoices)) / Decimal(10**9)
    # What was planted is found, and no proxy costs anything like it.
    hops = {hop["target"]: hop for hop in found["added"]}
    for measure, planted_ms in PLANTED_MS.items():
        for line in (hops["slow"], *hops["slow"]["settings"]):
            assert line[measure]["low"] - NEAR_MS <= planted_ms <= line[measure]["high"] + NEAR_MS, (measure, line)
        for name in ("nginx", "submeter"):
            assert hops[name][measure]["low"] <= hops[name][measure]["value"] <= hops[name][measure]["high"]
            assert hops[name][measure]["low"] < NEAR_MS
    assert [line["setting"] for line in hops["nginx"]["settings"]] == list(SETTINGS)
    lines = list(csv.DictReader((out / "peers.csv").read_text().splitlines()))
    assert [line["target"] for line in lines] == [name for name in TARGETS[1:] for _ in range(9)]
    assert float(lines[0]["value"]) == hops["nginx"]["ttft_ms"]["value"]
    # Each target is a run of its own too, which can be held against another.
    assert submeter("loadtest", "compare", str(out / "direct"), str(out / "slow")).returncode == 1
    assert (out / "submeter" / "report.html").stat().st_size > 1000


def test_a_budget_holds_over_all_targets(tmp_path: Path) -> None:
    one, other = provider(tmp_path / "one", 5), provider(tmp_path / "other", 5)
    limit = Decimal("0.0025")
    try:
        urls = {"one": one.base_url, "other": other.base_url}
        found = peers(tmp_path / "out", SMALL.replace("runs = 3", "runs = 30"), urls, 100, limit)
        each = [total_nano_usd(target.invoice()) / Decimal(10**9) for target in (one, other)]
    finally:
        one.close()
        other.close()
    assert found["stopped"] == "budget"
    assert min(each) > 0
    assert limit / 4 < sum(each) <= limit
    assert Decimal(found["cost_usd"]) == sum(each)
    assert any("rounds are whole" in warning for warning in found["warnings"])
