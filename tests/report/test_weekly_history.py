"""A second week over a ledger: what is pending, scored, restated and explained; and the independent recomputation."""

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.weeks import WEEK, Calls, Row, planted, report, workload, write_ledger

LAST = WEEK.previous()
CHEAP = Calls(a_week=700, model="gpt-4o-mini", usd_per_million=("0.15", "0.075", "0.60"))
DEAR = Calls(a_week=700, model="o1-pro", input_tokens=8000, output_tokens=800, usd_per_million=("150", "150", "600"))
RECOMPUTE = Path(__file__).parents[2] / "bench/recompute_report.py"
CONFIGURATION = """
objective: {ttft_p95_ms: 4000, tpot_p95_ms: 100}
engineer_usd_per_week: 10
gpu_usd_per_hour: {h100_sxm: {usd: "0.50"}}
workloads:
  - name: support
    match: {app: support}
    equivalents:
      - model: llama-3.1-8b
        tokenizer_ratio: "1.04"
        length_ratio: "0.9"
        quality: {evidence: "evals/support.md", date: 2026-11-02, holds: true}
        rent:
          - {host: mine, usd_per_million: {input: "300", cached_input: "200", output: "900"}}
          - {host: together_ai, model: meta-llama/Llama-3.3-70B-Instruct-Turbo}
        build: [{gpu: h100_sxm}]
"""
WITHOUT_HOST = CONFIGURATION.replace(
    "          - {host: together_ai, model: meta-llama/Llama-3.3-70B-Instruct-Turbo}\n", ""
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBMETER_CONFIG", "")
    Path("alternatives.yaml").write_text(WITHOUT_HOST)


def recorded(*rows: Row) -> None:
    write_ledger(Path("ledger.sqlite3"), rows)


def over_ledger(week: object = WEEK) -> dict[str, Any]:
    return report("--data-dir", ".", week=week)  # type: ignore[arg-type]


def support(week: object = WEEK) -> dict[str, Any]:
    return workload(over_ledger(week), "support")


def test_a_changed_verdict_waits_for_a_second_week() -> None:
    before = LAST.previous()
    cheap = planted(CHEAP, weeks=[before.previous(2), before.previous(), before])
    dear = planted(DEAR, weeks=[LAST, WEEK], seed=2)
    recorded(*cheap, *dear)
    first, changed, again = support(before), support(LAST), support(WEEK)
    assert (first["verdict"], first["pending"], first["standing"]) == ("BUY", False, None)
    assert (changed["verdict"], changed["pending"], changed["standing"]) == ("BUILD", True, "BUY")
    assert (again["verdict"], again["pending"], again["standing"]) == ("BUILD", False, None)


def test_last_week_s_forecast_is_scored() -> None:
    recorded(*planted(CHEAP, weeks=[LAST.previous(), LAST]), *planted(DEAR, weeks=[WEEK], seed=2))
    forecast = support(LAST)["forecast"]
    assert forecast["kind"] == "buy"
    assert forecast["low"] <= CHEAP.week_usd.quantize(Decimal("0.01")) <= forecast["high"]
    found = support(WEEK)
    regret = found["regret"]
    assert (regret["forecast_low_usd"], regret["forecast_high_usd"]) == (forecast["low"], forecast["high"])
    assert regret["actual_usd"] == DEAR.week_usd
    assert regret["within"] is False
    assert regret["regret_usd"] == DEAR.week_usd - found["build_usd"]
    assert (regret["weeks_scored"], regret["weeks_within"]) == (1, 0)


def test_late_rows_restate_a_week_and_a_rerun_says_the_same() -> None:
    rows = planted(CHEAP)
    recorded(*rows[:-7])
    before = over_ledger()
    assert before["restated"] == []
    recorded(*rows[-7:])
    after = over_ledger()
    late = 7 * Decimal(CHEAP.nano_usd).scaleb(-9)
    assert after["buy_usd"] == before["buy_usd"] + late == CHEAP.week_usd
    changes = {each["field"]: (each["before"], each["after"]) for each in after["restated"]}
    assert changes["buy_usd"] == (str(before["buy_usd"]), str(after["buy_usd"]))
    assert changes["workloads.support.calls"] == ("693", "700")
    assert over_ledger() == after


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ({"a_week": 1400}, "volume"),
        ({"usd_per_million": ("1.25", "1.25", "5")}, "api price"),
        ({"output_tokens": 1600}, "lengths"),
        ({"cached_input_tokens": 4000}, "cache"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_planted_change_is_the_explanation_and_the_parts_sum_exactly(change: dict[str, Any], factor: str) -> None:
    """The bill of both weeks alone: nothing is configured but a host."""
    Path("alternatives.yaml").write_text(WITHOUT_HOST.replace("        build: [{gpu: h100_sxm}]\n", ""))
    base = msgspec.structs.replace(DEAR, model="gpt-4o", usd_per_million=("2.50", "1.25", "10"))
    changed = msgspec.structs.replace(base, **change)
    recorded(*planted(base, weeks=[LAST]), *planted(changed, weeks=[WEEK], seed=2))
    over_ledger(LAST)
    found = support()["explained"]
    difference = found["after_usd"] - found["before_usd"]
    assert (found["before_usd"], found["after_usd"]) == (base.week_usd, changed.week_usd)
    parts = {part["factor"]: part["usd"] for part in found["parts"]}
    assert sum(parts.values()) == difference != 0
    assert abs(parts[factor] / difference - 1) <= Decimal("0.01")


def test_everything_changed_at_once_still_sums_exactly() -> None:
    other = Calls(a_week=333, input_tokens=777, output_tokens=77, model="gpt-4")
    changed = msgspec.structs.replace(DEAR, a_week=911, output_tokens=901, cached_input_tokens=123)
    recorded(*planted(DEAR, weeks=[LAST.previous(), LAST]), *planted(changed, other, weeks=[WEEK], seed=2))
    over_ledger(LAST)
    found = support()["explained"]
    assert found["figure"] == "BUILD less the recorded bill"
    assert sum(part["usd"] for part in found["parts"]) == found["after_usd"] - found["before_usd"]


# ---- recomputed ------------------------------------------------------------------------------------------------------


def _mixed(count: int, seed: int = 3) -> list[Row]:
    """Calls of all lengths of several applications, some from a cache, some without usage, some late or early."""
    drawn, rows = random.Random(seed), []
    model = {"gpt-4o": ("2.5", "1.25", "10"), "gpt-4o-mini": ("0.15", "0.075", "0.60")}
    for number in range(count):
        name = drawn.choice(list(model))
        kind = Calls(
            a_week=1,
            app=drawn.choice(["support", "Müller & Söhne", None]),
            prompt=drawn.choice(["greet", None]),
            model=name,
            input_tokens=drawn.randrange(3000, 9000),
            cached_input_tokens=drawn.randrange(3000),
            output_tokens=drawn.randrange(900),
            usd_per_million=model[name],
        )
        (row,) = planted(kind, weeks=[drawn.choice([LAST, WEEK])], seed=number)
        rows.append({**row, "call_id": f"c{number}", **drawn.choice(_ODD)})
    return rows


_UNKNOWN = {"input_tokens": None, "output_tokens": None, "cached_input_tokens": None, "part_output_text_tokens": None}
_ODD: list[Row] = [
    *[{}] * 8,
    {"cache": "hit"},
    {"cache": "coalesced"},
    {"service_tier": "default"},
    {**_UNKNOWN, "cost_nano_usd": None, "cost_state": "indeterminate", "outcome": "indeterminate"},
    {**_UNKNOWN, "cost_nano_usd": 0, "cost_state": "estimated", "refused": True, "outcome": "upstream_error"},
]


@pytest.mark.parametrize("config", [CONFIGURATION, WITHOUT_HOST], ids=["price book", "own prices"])
def test_sql_and_arithmetic_find_the_real_report_s_totals(config: str) -> None:
    Path("alternatives.yaml").write_text(config)
    recorded(*_mixed(900))
    found = over_ledger()
    assert workload(found, "support")["rent_open_usd"] > Decimal("0.5")
    kept = Path("reports/2026-W47.json")
    ended = recomputed(kept)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    assert ended.stdout == f"2026-W47: {len(found['workloads'])} workloads, 0 differences\n"
    wrong = json.loads(kept.read_text())
    wrong["workloads"][0]["buy_usd"] += 0.01
    Path("wrong.json").write_text(json.dumps(wrong))
    assert recomputed(Path("wrong.json")).returncode == 1


def recomputed(of: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECOMPUTE), "ledger.sqlite3", str(of), "--config", "alternatives.yaml"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_ledger_of_these_tests_is_a_ledger() -> None:
    """What is planted by SQL adds up in SQL."""
    recorded(*planted(CHEAP, DEAR))
    with closing(sqlite3.connect("ledger.sqlite3")) as ledger:
        query = "SELECT sum(cost_nano_usd), sum(part_input_uncached_nano_usd + part_output_text_nano_usd) FROM calls"
        assert ledger.execute(query).fetchone() == (2 * 700 * (CHEAP.nano_usd + DEAR.nano_usd),) * 2
