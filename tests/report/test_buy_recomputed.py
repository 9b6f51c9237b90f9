"""A ledger of settled calls: its bill is the repriced one, and the independent script finds the report's totals."""

import json
import random
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from report.tiny_traces import WEEK
from submeter.core.pricebook import Origin
from submeter.core.record import CallRow, Counted, Finish, Start, TokenClasses
from submeter.core.settle import settle
from submeter.prices import load_book
from submeter.report import alternatives
from submeter.report.assumptions import Assumptions
from submeter.report.buy import Market, best, reconcile, recorded_bill
from submeter.report.rent import rent_options
from submeter.report.trace import from_ledger
from submeter.report.workloads import workloads
from submeter.store.ledger import Ledger

ORIGINS = {"openai": Origin("openai"), "anthropic": Origin("anthropic")}
SCRIPT = Path(__file__).parents[2] / "bench/recompute_report.py"
CONFIG = """
workloads:
  - name: support
    match: {app: "sup*", model: "gpt-4o*"}
    equivalents:
      - model: llama-3.3-70b
        tokenizer_ratio: "1.04"
        length_ratio: "0.9"
        rent:
          - {host: together_ai, model: meta-llama/Llama-3.3-70B-Instruct-Turbo}
          - {host: mine, usd_per_million: {input: "0.6003", cached_input: "0.30", output: "0.80"}}
  - name: unused
    match: {app: nobody}
    equivalents: [{model: llama-3.1-8b, rent: [{host: mine, usd_per_million: {input: "1", output: "1"}}]}]
"""


def _calls(count: int, seed: int = 7) -> list[CallRow]:
    rng = random.Random(seed)
    book = load_book((), Path("/nonexistent"))
    return [settle(*_records(rng, number), book, ORIGINS) for number in range(count)]


def _records(rng: random.Random, number: int) -> tuple[Start, Finish]:
    """Mostly reported; some counted, refused, cut off without a word, from the cache, or of an unknown model."""
    kind = rng.choices(["reported", "counted", "refused", "gone", "hit"], [80, 6, 5, 4, 5])[0]
    model = rng.choice(["gpt-4o", "gpt-4o-mini-2024-07-18", "claude-sonnet-4-5", "unheard-of"])
    tokens = TokenClasses(rng.randrange(9000), rng.randrange(3000), output_text=rng.randrange(900))
    tokens = msgspec.structs.replace(tokens, reasoning=rng.choice([0, 77]))
    call = f"c{number:05}"
    start = Start(
        call_id=call,
        attempt=1,
        operation_id=call,
        endpoint="chat/completions",
        upstream="anthropic" if model.startswith("claude") else "openai",
        started_at_ns=rng.randrange(WEEK.start_ns - 10**13, WEEK.end_ns + 10**13),
        app=rng.choice(["support", "web", None]),
        prompt=rng.choice(["greet", None]),
        model_requested=model,
        bytes_in=4000,
        cache="hit" if kind == "hit" else "miss",
    )
    finish = Finish(
        call_id=call,
        attempt=1,
        outcome="indeterminate" if kind == "gone" else "upstream_error" if kind == "refused" else "ok",
        status=500 if kind == "refused" else 200,
        cache=start.cache,
        model_served=model,
        service_tier=rng.choice([None, "default"]),
        usage=tokens if kind in ("reported", "hit") else None,
        counted=Counted("o200k_base", True, 900, 80) if kind == "counted" else None,
        output_bytes=320 if kind == "counted" else 0,
        refused=kind == "refused",
        ttfb_ns=None if kind == "gone" else 10**8,
    )
    return start, finish


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite3"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        ledger.migrate()
        ledger.ship(_calls(600), {})
    return path


def test_the_bill_of_a_ledger_is_its_calls_at_the_prices_in_force_to_the_nano_usd(ledger_file: Path) -> None:
    with Ledger.open(f"sqlite:///{ledger_file}", read_only=True) as ledger:
        trace = from_ledger(ledger, WEEK)
    found = reconcile(trace, load_book((), Path("/nonexistent")), ORIGINS)
    assert found.recorded_usd == found.repriced_usd == recorded_bill(trace, WEEK).week_usd > 1
    assert {(each.reason.split(":")[0], each.recorded_usd, each.repriced_usd) for each in found.differences} == {
        ("usage not known", Decimal("0e-9"), Decimal("0e-9")),
        ("no price, now as then", Decimal("0e-9"), Decimal("0e-9")),
    }


def _report(ledger_file: Path, config: Path) -> dict[str, object]:
    with Ledger.open(f"sqlite:///{ledger_file}", read_only=True) as ledger:
        trace = from_ledger(ledger, WEEK)
    market = Market(load_book((), Path("/nonexistent")), ORIGINS, Assumptions(date(2026, 11, 23)))
    found = workloads(trace, alternatives.load(config), alone=5)
    rents = [best(rent_options(each.trace, WEEK, each.choice, market)) for each in found]
    return {
        "week": WEEK.text,
        "buy_usd": recorded_bill(trace, WEEK).week_usd,
        "workloads": [
            {
                "name": each.name,
                "buy_usd": recorded_bill(each.trace, WEEK).week_usd,
                "rent_open_usd": None if rent is None else rent.weekly_usd,
            }
            for each, rent in zip(found, rents, strict=True)
        ],
    }


def _recompute(ledger_file: Path, config: Path, report: dict[str, object]) -> subprocess.CompletedProcess[str]:
    path = ledger_file.with_name("report.json")
    path.write_bytes(msgspec.json.Encoder(decimal_format="number").encode(report))
    command = [sys.executable, SCRIPT, ledger_file, path, "--config", config]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_independent_script_finds_the_totals_and_every_wrong_cent(ledger_file: Path, tmp_path: Path) -> None:
    config = tmp_path / "alternatives.yaml"
    config.write_text(CONFIG)
    report = _report(ledger_file, config)
    names = {str(each["name"]): each for each in report["workloads"]}  # type: ignore[attr-defined]
    assert len(names) == 8
    assert names["support"]["rent_open_usd"] > 0
    assert names["unused"] == {"name": "unused", "buy_usd": 0, "rent_open_usd": 0}
    found = _recompute(ledger_file, config, report)
    assert (found.returncode, found.stdout, found.stderr) == (0, "2026-W47: 8 workloads, 0 differences\n", "")
    names["support"]["rent_open_usd"] += Decimal("0.01")
    names["everything else"]["buy_usd"] -= Decimal("0.01")
    found = _recompute(ledger_file, config, report)
    assert found.returncode == 1
    assert [line.split(":")[0:2] for line in found.stdout.splitlines()[:-1]] == [
        [name, f" {field}"]
        for name in names
        for field in ("buy_usd", "rent_open_usd")
        if (name, field) in {("support", "rent_open_usd"), ("everything else", "buy_usd")}
    ]


def test_the_script_shares_no_code_with_what_it_checks() -> None:
    assert "submeter." not in SCRIPT.read_text().replace("submeter.yaml", "")
    assert json.loads(SCRIPT.parent.parent.joinpath("proxy/submeter/prices/snapshot.json").read_text())["entries"]
