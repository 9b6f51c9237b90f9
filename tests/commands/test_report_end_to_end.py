"""``submeter report`` as a process, over a ledger of synthetic weeks: its figures are SQL's, and the same each time."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.processes import submeter
from submeter.core.week import Week
from submeter.prices.load import load_book
from submeter.report.synthetic import generate, write_csv, write_ledger
from submeter.store.ledger import Ledger

WEEKS = [Week.parse(f"2026-W{number}") for number in (45, 46, 47)]
WEEK = WEEKS[-1]
CONFIGURATION = """
objective: {ttft_p95_ms: 4000, tpot_p95_ms: 100}
engineer_usd_per_week: 500
workloads:
  - name: support
    match: {app: chatbot}
    buy: [{model: gpt-4o-mini, provider: openai}]
    equivalents:
      - model: llama-3.3-70b
        quality: {evidence: "evals/2026-11-support.md", date: 2026-11-02, holds: true}
        rent: [{host: mine, usd_per_million: {input: "0.06", cached_input: "0.03", output: "0.08"}}]
        build: [{gpu: h100_sxm, tensor_parallel: 2}]
"""
NEEDED = (
    *("name", "verdict", "pending", "buy_usd", "buy_best_usd", "rent_open_usd", "build_usd", "p_build_cheaper"),
    *("replicas", "calls"),
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recorded")
    rows = list(generate(WEEKS, load_book((), Path("nowhere")), calls_per_week=600, seed=11))
    with Ledger.open(str(directory / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        write_ledger(ledger, rows)
    write_csv(directory / "trace.csv", rows)
    (directory / "alternatives.yaml").write_text(CONFIGURATION)
    return directory


def report(recorded: Path, *arguments: object) -> bytes:
    """Its JSON; that of the ledger is kept in a data directory of the test's own."""
    ended = submeter("report", "--week", str(WEEK), "--json", "-", *map(str, arguments), SUBMETER_CONFIG="")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.encode()


def of_ledger(recorded: Path, data_dir: Path, *arguments: object) -> bytes:
    ledger = f"sqlite:///{recorded / 'ledger.sqlite3'}"
    return report(recorded, "--data-dir", data_dir, "--ledger", ledger, *arguments)


def of_file(recorded: Path, *arguments: object) -> bytes:
    return report(recorded, "--trace", recorded / "trace.csv", *arguments)


def decoded(document: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document, parse_float=Decimal)
    return found


def sums(recorded: Path, summed: str = "cost_nano_usd") -> dict[str | None, tuple[Decimal, int]]:
    """USD and calls of the week by app, by SQL; hits cost nothing and are no calls."""
    query = f"""
        SELECT app, sum({summed}), count(*) FROM calls
        WHERE started_at_ns >= ? AND started_at_ns < ? AND cache IN ('miss', 'bypass') GROUP BY app
    """  # noqa: S608 - two expressions of this file
    with closing(sqlite3.connect(recorded / "ledger.sqlite3")) as connection:
        rows = connection.execute(query, (WEEK.start_ns, WEEK.end_ns)).fetchall()
    return {app: (Decimal(nano_usd).scaleb(-9), calls) for app, nano_usd, calls in rows}


def test_without_configuration_the_figures_are_sql_s(recorded: Path, tmp_path: Path) -> None:
    found = decoded(of_ledger(recorded, tmp_path))
    expected = sums(recorded)
    assert found["week"] == "2026-W47"
    assert found["synthetic"] is True
    assert found["assumptions"]
    assert found["unexplained"] == []
    assert Decimal(found["buy_usd"]) == sum(usd for usd, _ in expected.values())
    by_app = {each["app"]: (Decimal(each["buy_usd"]), each["calls"]) for each in found["workloads"]}
    assert by_app == expected
    for each in found["workloads"]:
        assert set(NEEDED) <= set(each)
        assert each["verdict"] == "NOT COMPARABLE"
        assert each["build_usd"] is None
        assert each["p_build_cheaper"] is None
    assert json.loads((tmp_path / "reports" / "2026-W47.json").read_bytes())["week"] == "2026-W47"


def test_a_fleet_that_is_planned_and_priced(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    found = decoded(of_file(recorded, "--config", recorded / "alternatives.yaml", "--html", page))
    support = next(each for each in found["workloads"] if each["name"] == "support")
    usd, calls = sums(recorded)["chatbot"]
    assert (Decimal(support["buy_usd"]), support["calls"]) == (usd, calls)
    assert support["replicas"] == 1
    gpu_hours = (support["replicas"] + 1) * 2 * 168  # of two GPUs each, one replica to spare
    rent = next(each for each in found["assumptions"] if each["id"] == "gpu.h100_sxm.usd_per_hour")
    assert Decimal(support["build_usd"]) == gpu_hours * Decimal(rent["value"].split()[0]) + 500
    at_host = "60 * (input_tokens - cached_input_tokens) + 30 * cached_input_tokens + 80 * output_tokens"
    assert Decimal(support["rent_open_usd"]) == sums(recorded, at_host)["chatbot"][0]
    assert support["verdict"] == "RENT-OPEN"
    assert support["p_build_cheaper"] == 0
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "Synthetic data: this traffic is made up." in text
    assert support["why"][0].partition(" costs ")[0] in text


def test_the_same_seed_gives_the_same_bytes(recorded: Path, tmp_path: Path) -> None:
    configured = ("--config", recorded / "alternatives.yaml", "--seed", 7)
    one, other = (of_file(recorded, *configured, "--html", tmp_path / name) for name in ("one", "other"))
    assert one == other
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_file_of_the_same_calls_gives_the_same_figures(recorded: Path, tmp_path: Path) -> None:
    configured = ("--config", recorded / "alternatives.yaml")
    assert decoded(of_file(recorded, *configured)) == decoded(of_ledger(recorded, tmp_path, *configured))


def test_a_second_report_of_an_unchanged_week_is_the_same(recorded: Path, tmp_path: Path) -> None:
    assert of_ledger(recorded, tmp_path) == of_ledger(recorded, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "none.yaml"), "there is no file none.yaml: "),
        (("--week", "2026-W12"), "no calls in week 2026-W12"),
        (("--week", "W47"), "a week is written as in 2026-W47"),
        (("--html", "no/such/directory.html"), "--html: there is no directory no/such"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(recorded: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = submeter("report", "--trace", str(recorded / "trace.csv"), *arguments, SUBMETER_CONFIG="")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith(f"submeter: {said}")
