"""Files that somebody else has written, through ``submeter report``: odd, partial, at the edge, and by hand."""

import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.weeks import WEEK, Calls, Row, planted, report, run, sums, workload, write_csv
from submeter.report.document import Report
from submeter.store.queries import CALL_KEYS

MINI = Calls(a_week=210, model="gpt-4o-mini", usd_per_million=("0.15", "0.075", "0.60"))
ROWS = planted(MINI)
CONFIGURATION = """
engineer_usd_per_week: 500
workloads:
  - name: support
    match: {app: support}
    equivalents:
      - model: llama-3.1-8b
        quality: {evidence: "evals/support.md", date: 2026-11-02, holds: true}
        rent: [{host: mine, usd_per_million: {input: "0.10", cached_input: "0.10", output: "0.20"}}]
        build: [{gpu: h100_sxm}]
"""
RENT_USD = Decimal("0.000140")
"""Of one call: 1,000 tokens in and 200 out."""
WITHOUT_TOKENS = {"input_tokens": None, "cached_input_tokens": None, "output_tokens": None}
NEEDED = {
    **dict.fromkeys(("name", "verdict"), str),
    "pending": bool,
    "buy_usd": Decimal,
    "calls": int,
    **dict.fromkeys(("buy_best_usd", "rent_open_usd", "build_usd", "p_build_cheaper"), Decimal | None),
    "replicas": int | None,
}
VERDICTS = {"BUY", "RENT-OPEN", "BUILD", "BUILD IF QUALITY HOLDS", "TOO CLOSE", "NOT COMPARABLE"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBMETER_CONFIG", "")


def over(rows: Sequence[Row], *arguments: object, columns: Sequence[str] = CALL_KEYS) -> dict[str, Any]:
    """Its JSON has the contract's keys, and its page can be written."""
    Path("alternatives.yaml").write_text(CONFIGURATION)
    trace = write_csv(Path("trace.csv"), rows, columns)
    found = report("--trace", trace, *arguments)
    check(found)
    assert run("--trace", trace, "--week", WEEK, "--html", "report.html").exit_code == 0
    return found


def check(found: dict[str, Any]) -> None:
    assert isinstance(found["week"], str)
    assert {"id", "name", "value", "source", "as_of", "stale"} <= set(found["assumptions"][0])
    for each in found["workloads"]:
        for name, kind in NEEDED.items():
            assert isinstance(each[name], kind), name
        assert each["verdict"] in VERDICTS
        assert each["p_build_cheaper"] is None or 0 <= each["p_build_cheaper"] <= 1


def support(rows: Sequence[Row], *arguments: object, columns: Sequence[str] = CALL_KEYS) -> dict[str, Any]:
    return workload(over(rows, *arguments, columns=columns), "support")


def test_the_document_is_what_its_structs_say() -> None:
    Path("alternatives.yaml").write_text(CONFIGURATION)
    ended = run("--trace", write_csv(Path("trace.csv"), ROWS), "--week", WEEK, "--json", "-")
    found = msgspec.json.decode(ended.stdout, type=Report)
    assert found.week == "2026-W47"
    assert found.workloads[0].buy_usd == MINI.week_usd


# ---- columns ---------------------------------------------------------------------------------------------------------


def test_columns_in_any_order() -> None:
    shuffled = list(CALL_KEYS)
    random.Random(1).shuffle(shuffled)
    rows = random.Random(2).sample(ROWS, len(ROWS))
    assert over(rows, columns=shuffled) == over(ROWS)


def test_only_what_has_to_be_there() -> None:
    found = over(ROWS, columns=("output_tokens", "started_at", "input_tokens", "app"))
    each = workload(found, "support")
    assert (each["calls"], each["buy_usd"], each["verdict"]) == (MINI.a_week, 0, "NOT COMPARABLE")
    assert each["why"][0] == "The week's bill is not known: calls without a price, or without tokens."
    assert each["missing"]


def test_costs_without_the_rest_are_costs() -> None:
    each = support(ROWS, columns=("app", "cost_nano_usd", "output_tokens", "started_at", "input_tokens"))
    assert each["buy_usd"] == MINI.week_usd
    assert each["rent_open_usd"] == MINI.a_week * RENT_USD
    assert each["verdict"] == "RENT-OPEN"


# ---- calls that are not like the others ------------------------------------------------------------------------------


def test_calls_without_usage_are_counted_and_not_priced() -> None:
    rows = [
        {**row, **WITHOUT_TOKENS, "cost_nano_usd": None, "cost_state": "indeterminate"} if place % 3 == 0 else row
        for place, row in enumerate(ROWS)
    ]
    found = over(rows)
    each = workload(found, "support")
    assert each["calls"] == MINI.a_week
    assert each["buy_usd"] == Decimal(sum(sums(rows))).scaleb(-9) == MINI.week_usd * 2 / 3
    assert each["rent_open_usd"] == MINI.a_week * RENT_USD * 2 / 3
    assert [text.partition(" (")[0] for text in found["unexplained"]] == [
        "gpt-4o-mini, 70 calls: usage not known: the cost lies between bounds"
    ]


def test_none_of_them_has_usage() -> None:
    rows = [{**row, **WITHOUT_TOKENS, "cost_nano_usd": None, "cost_state": "unpriced"} for row in ROWS]
    each = support(rows)
    assert (each["verdict"], each["buy_usd"], each["replicas"]) == ("NOT COMPARABLE", 0, None)
    assert each["rent_open_usd"] is None


def test_what_a_cache_answered_costs_nothing_and_asks_nothing() -> None:
    rows = [{**row, "cache": "hit"} if place % 2 else row for place, row in enumerate(ROWS)]
    each = support(rows)
    assert each["calls"] == MINI.a_week // 2
    assert each["buy_usd"] == MINI.week_usd / 2
    assert each["rent_open_usd"] == MINI.a_week // 2 * RENT_USD
    everything = support([{**row, "cache": "hit"} for row in ROWS])
    assert (everything["calls"], everything["verdict"], everything["build_usd"]) == (0, "NOT COMPARABLE", None)


def test_refused_attempts_cost_nothing_and_their_retries_do() -> None:
    refused = {"outcome": "upstream_error", "status": 500, "refused": True, "cost_nano_usd": 0, "ttft_ns": None}
    rows = [
        each
        for row in ROWS
        for each in (
            {**row, **refused, **WITHOUT_TOKENS, "started_at_ns": row["started_at_ns"] - 1},
            {**row, "attempt": 2},
        )
    ]
    found = over(rows)
    each = workload(found, "support")
    assert each["calls"] == 2 * MINI.a_week
    assert each["buy_usd"] == MINI.week_usd
    assert each["rent_open_usd"] == MINI.a_week * RENT_USD
    assert found["unexplained"] == []


def test_the_week_begins_on_monday_at_0_utc() -> None:
    times = (WEEK.start_ns - 1, WEEK.start_ns, WEEK.end_ns - 1, WEEK.end_ns)
    rows = [{**ROWS[0], "call_id": str(at_ns), "started_at_ns": at_ns} for at_ns in times]
    for week, calls in ((WEEK.previous(), 1), (WEEK, 2), (WEEK.next(), 1)):
        trace = write_csv(Path("trace.csv"), rows)
        assert [each["calls"] for each in report("--trace", trace, week=week)["workloads"]] == [calls]


def test_a_file_of_several_weeks_is_a_report_of_one() -> None:
    weeks = [WEEK.previous(2), WEEK.previous(), WEEK, WEEK.next()]
    found = over(planted(MINI, weeks=weeks))
    assert found["buy_usd"] == MINI.week_usd
    assert [point["week"] for point in found["trend"]] == [str(week) for week in weeks[:-1]]
    assert {point["buy_usd"] for point in found["trend"]} == {MINI.week_usd}
    assert found["days_of_data"] == 21


@pytest.mark.parametrize("calls", [1, 2])
def test_a_call_or_two(calls: int) -> None:
    each = support(ROWS[-calls:])
    assert (each["verdict"], each["calls"]) == ("NOT COMPARABLE", calls)
    assert each["buy_usd"] == calls * Decimal("0.00027")
    assert each["build_usd"] == 2 * 168 * Decimal("2.95") + 500


def test_a_week_that_cost_nothing() -> None:
    each = support([{**row, "cost_nano_usd": 0} for row in ROWS])
    assert (each["verdict"], each["buy_usd"]) == ("BUY", 0)


def test_embeddings_alone() -> None:
    model = {"model_served": "text-embedding-3-small", "model_requested": "text-embedding-3-small"}
    rows = [
        {**row, **model, "endpoint": "embeddings", "output_tokens": 0, "stream": False, "ttft_ns": None}
        | {"cost_nano_usd": 20_000, "price_model": "text-embedding-3-small"}
        for row in ROWS
    ]
    found = over(rows)
    each = workload(found, "support")
    assert (each["buy_usd"], each["output_tokens"]) == (MINI.a_week * Decimal("0.00002"), 0)
    assert each["fleet"]["proof"]["simulated"]["tpot_ms"] is None
    assert found["unexplained"] == []


# ---- names -----------------------------------------------------------------------------------------------------------


def test_names_from_anywhere() -> None:
    name = "Kundendienst – Ärger 🙂 <b>&amp;</b>"
    rows = [{**row, "app": name, "prompt": "答え"} for row in ROWS]
    found = over(rows)
    assert f"{name} / 答え / gpt-4o-mini" in [each["name"] for each in found["workloads"]]
    page = Path("report.html").read_text(encoding="utf-8")
    assert "答え" in page
    assert "<b>&amp;</b>" not in page


def test_no_names_at_all() -> None:
    rows = [{**row, "app": None, "prompt": None, "model_served": None, "model_requested": None} for row in ROWS]
    each = workload(over(rows), "(no app) / (no prompt) / (no model)")
    assert (each["app"], each["model"], each["buy_usd"]) == (None, None, MINI.week_usd)


def test_more_workloads_than_a_page_shows() -> None:
    rows = [{**row, "app": f"app{place % 27}"} for place, row in enumerate(planted(MINI, MINI, MINI))]
    Path("alternatives.yaml").write_text("")
    found = report("--trace", write_csv(Path("trace.csv"), rows))
    check(found)
    assert found["workloads"][-1]["name"] == "everything else"
    assert len(found["workloads"]) == 21
    assert sum(each["buy_usd"] for each in found["workloads"]) == found["buy_usd"] == 3 * MINI.week_usd
    assert sum(each["calls"] for each in found["workloads"]) == 3 * MINI.a_week


def test_a_configured_workload_without_calls() -> None:
    found = over([{**row, "app": "other"} for row in ROWS])
    each = workload(found, "support")
    assert (each["calls"], each["buy_usd"], each["build_usd"], each["verdict"]) == (0, 0, None, "NOT COMPARABLE")
    assert workload(found, "other / answer / gpt-4o-mini")["buy_usd"] == MINI.week_usd
