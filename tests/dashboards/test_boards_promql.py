"""What the expressions that are more than a sum say of series made by hand: evaluated by Prometheus' own engine.

Series grow evenly from the first minute of two hours; figures are of the hour at 2 h: no edge to extrapolate to.
"""

import subprocess
from typing import NamedTuple

import pytest
import yaml

from dashboards.boards import promql
from submeter.dashboards.build import queries

MINUTES = 120
QUERIES = {(query.board, query.panel, query.ref_id): query.text for query in queries()}


class Case(NamedTuple):
    about: str
    query: tuple[str, str, str]
    grows: dict[str, str]
    """Series, and by how much a minute each grows, or all its values in promtool's notation."""
    says: dict[str, float]
    """Labels and value."""
    minute: int = MINUTES


CALLS = 'submeter_calls_total{{model="m", endpoint="chat/completions", outcome="ok", cache="{}"}}'
UPSTREAM = 'submeter_upstream_calls_total{{upstream="{}", outcome="{}", status="{}"}}'
COST = 'submeter_cost_usd_total{{model="m", team="t", app="a", state="{}"}}'
INPUT = 'gen_ai_client_inference_usage_input_tokens_total{model="m"}'
OUTPUT = 'gen_ai_client_inference_usage_output_tokens_total{model="m"}'
TPOT = 'gen_ai_server_time_per_output_token_seconds_bucket{{model="m", endpoint="e", stream="true", le="{}"}}'
UNPRICED = 'submeter_unpriced_calls_total{upstream="own"}'
CHANGES = 'submeter_model_changes_total{model="gpt"}'
MIXED = {
    CALLS.format("hit"): "1",
    CALLS.format("coalesced"): "1",
    CALLS.format("miss"): "2",
    CALLS.format("bypass"): "4",
}
KNOWN_PRICES = "Cost per 1,000 calls, beside known prices"

CASES = [
    Case("hits of cacheable", ("cost", "Cache hit rate", "A"), MIXED, {"": 2 / 4}),
    Case("hits of all", ("cost", "Cache hit rate", "B"), MIXED, {"": 2 / 8}),
    Case("no hit yet is 0", ("cost", "Cache hit rate", "A"), {CALLS.format("miss"): "2"}, {"": 0}),
    Case("no call, no rate", ("cost", "Cache hit rate", "A"), {}, {}),
    Case(
        "per 1,000 calls, hits among them",
        ("cost", "Cost per 1,000 calls", "A"),
        MIXED | {COST.format("exact"): "0.004"},
        {"": 1000 * 0.004 / 8},
    ),
    Case(
        "paths that are not metered are no calls",
        ("cost", "Cost per 1,000 calls", "A"),
        MIXED
        | {
            COST.format("exact"): "0.004",
            'submeter_calls_total{model="other", endpoint="unmetered", outcome="ok", cache="bypass"}': "9",
        },
        {"": 1000 * 0.004 / 8},
    ),
    Case(
        "DoorDash's day",
        ("cost", "At 10 billion calls a day", "A"),
        {COST.format("exact"): "0.032", CALLS.format("miss"): "8"},
        {"": 40_000_000},
    ),
    Case(
        "the same tokens at another price",
        ("cost", KNOWN_PRICES, "B"),
        {INPUT: "800", OUTPUT: "80", CALLS.format("miss"): "8"},
        {"": 1000 * (0.15 * 100 + 0.60 * 10) / 1e6},
    ),
    Case("GPT-4 in 2023", ("cost", KNOWN_PRICES, "E"), {}, {"": 624}),
    Case(
        "exact of all",
        ("cost", "Cost known exactly", "A"),
        {COST.format("exact"): "3", COST.format("estimated"): "1"},
        {"": 0.75},
    ),
    Case("nothing unpriced is 0", ("cost", "Calls without a price", "A"), {}, {"": 0}),
    Case("the first unpriced one counts", ("cost", "Calls without a price", "A"), {UNPRICED: "_x100 2x20"}, {"": 2}),
    Case("those before the range do not", ("cost", "Calls without a price", "A"), {UNPRICED: "5x90 8x30"}, {"": 3}),
    Case(
        "a month of this week", ("cost", "30 days at this pace", "A"), {COST.format("exact"): "7"}, {"": 30 * MINUTES}
    ),
    Case(
        "an upstream without errors has 0",
        ("latency", "Errors, by upstream", "A"),
        {
            UPSTREAM.format("openai", "ok", "2xx"): "9",
            UPSTREAM.format("openai", "timeout", "none"): "1",
            UPSTREAM.format("own", "ok", "2xx"): "5",
        },
        {'{upstream="openai"}': 0.1, '{upstream="own"}': 0},
    ),
    Case(
        "callers that leave or ask wrongly are no error",
        ("latency", "Provider errors", "A"),
        {
            UPSTREAM.format("openai", "ok", "2xx"): "3",
            UPSTREAM.format("openai", "client_gone", "2xx"): "9",
            UPSTREAM.format("openai", "upstream_error", "4xx"): "1",
        },
        {"": 0},
    ),
    Case(
        "rate limits and cut answers are errors",
        ("latency", "Provider errors", "A"),
        {
            UPSTREAM.format("openai", "ok", "2xx"): "3",
            UPSTREAM.format("openai", "upstream_error", "429"): "1",
            UPSTREAM.format("openai", "upstream_incomplete", "2xx"): "1",
        },
        {"": 2 / 5},
    ),
    Case(
        "tokens a second",
        ("latency", "Output speed, median", "A"),
        {TPOT.format("0.01"): "0", TPOT.format("0.03"): "10", TPOT.format("+Inf"): "10"},
        {"": 1 / 0.02},
    ),
    Case(
        "units, each with its version",
        ("operations", "Units", "B"),
        {
            'submeter_relays{instance="a"}': "2x0",
            'submeter_relays{instance="b"}': "1x0",
            'submeter_build_info{instance="a", version="1"}': "1x0",
            'submeter_build_info{instance="b", version="2"}': "1x0",
        },
        {'{instance="a", version="1"}': 2, '{instance="b", version="2"}': 1},
        minute=0,
    ),
    Case(
        "fullest unit",
        ("operations", "Series of the limit", "A"),
        {
            'submeter_series{instance="a"}': "500x0",
            'submeter_series{instance="b"}': "1500x0",
            'submeter_series_limit{instance="a"}': "2000x0",
            'submeter_series_limit{instance="b"}': "2000x0",
        },
        {"": 0.75},
        minute=0,
    ),
    Case(
        "a relay is missing",
        ("operations", "annotation relays missing", "-"),
        {'submeter_relays{instance="a"}': "1x0", 'submeter_workers{instance="a"}': "2x0"},
        {"": 1},
        minute=0,
    ),
    Case(
        "all relays are there",
        ("operations", "annotation relays missing", "-"),
        {'submeter_relays{instance="a"}': "2x0", 'submeter_workers{instance="a"}': "2x0"},
        {"": 0},
        minute=0,
    ),
    *(
        Case(
            f"a first change is marked, minute {minute}",
            ("cost", "annotation served model changed", "-"),
            {CHANGES: "_x9 1x20 2x20"},
            says,
            minute,
        )
        for minute, says in ((8, {}), (10, {'{model="gpt"}': 1}), (20, {}))
    ),
    Case(
        "a later change is marked",
        ("latency", "annotation served model changed", "-"),
        {CHANGES: "1x20 2x20"},
        {'{model="gpt"}': 1},
        minute=21,
    ),
]

OPTION = 'submeter_report_option_usd{{workload="{}", option="{}"}}'
REPORTED = {
    'submeter_report_verdict{workload="support"}': "4x0",
    'submeter_report_verdict{workload="drafts"}': "2x0",
    OPTION.format("support", "buy"): "2400x0",
    OPTION.format("support", "rent"): "1700x0",
    OPTION.format("support", "build"): "1300x0",
    OPTION.format("drafts", "buy"): "12x0",
    "submeter_report_week_timestamp_seconds": f"{-9 * 86_400}x0",
}
CASES += [
    Case("workloads to move", ("buy_vs_build", "Workloads to move", "A"), REPORTED, {"": 1}, minute=0),
    Case("no report, none to move", ("buy_vs_build", "Workloads to move", "A"), {}, {}, minute=0),
    Case("all at the API", ("buy_vs_build", "The costliest workloads together", "A"), REPORTED, {"": 2412}, minute=0),
    Case("each at its best", ("buy_vs_build", "The costliest workloads together", "B"), REPORTED, {"": 1312}, minute=0),
    Case("two days over", ("buy_vs_build", "Time since that week", "A"), REPORTED, {"": 2 * 86_400}, minute=0),
    Case("a Monday in ms", ("buy_vs_build", "Week of the report", "A"), REPORTED, {"": -9 * 86_400_000}, minute=0),
    Case(
        "two units say the same",
        ("buy_vs_build", "Options and verdict, by workload", "D"),
        {f'submeter_report_verdict{{workload="w", instance="{unit}"}}': "5x0" for unit in "ab"},
        {'{workload="w"}': 5},
        minute=0,
    ),
]


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What promtool says of all cases at once: its start takes longer than they do."""
    path = tmp_path_factory.mktemp("promql") / "cases.yml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [_test(case) for case in CASES]}))
    ended = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=30)
    return ended.stdout + ended.stderr


def _test(case: Case) -> dict[str, object]:
    """Rounded to a millionth, and with the case's name in each sample, so that promtool says which one fails."""
    expr = promql(QUERIES[case.query])
    asked = {
        "expr": f'label_replace(round({expr}, 1e-6), "case", "{case.about}", "", "")',
        "eval_time": f"{case.minute}m",
        "exp_samples": [
            {"labels": _named(labels, case.about), "value": round(value, 6)} for labels, value in case.says.items()
        ],
    }
    series = [{"series": name, "values": _values(values)} for name, values in case.grows.items()]
    return {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}


def _named(labels: str, about: str) -> str:
    others = f", {labels[1:-1]}" if labels else ""
    return f'{{case="{about}"{others}}}'


def _values(grows: str) -> str:
    return grows if "x" in grows else f"0+{grows}x{MINUTES}"


def test_promtool_ran_all_cases(verdict: str) -> None:
    """What is no failure of a case is one of the file, as a series that it cannot read."""
    failed = [case.about for case in CASES if f'\\"{case.about}\\"' in verdict]
    assert "SUCCESS" in verdict or failed, verdict
    assert len({case.about for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_an_expression_says(case: Case, verdict: str) -> None:
    told = verdict.partition(f'\\"{case.about}\\"')
    assert not told[1], told[2][:600]
