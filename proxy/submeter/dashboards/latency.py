"""The board *Latency*: how soon answers begin and end, by model and by length; what the relay adds; how providers do.

Percentiles and heat maps are of the histograms, whose buckets bound their precision; those by length class are the
ledger's, and exact.
"""

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from submeter.dashboards.boards import Row, assemble, label_variable
from submeter.dashboards.marks import model_changes, new_versions
from submeter.dashboards.panels import (
    PERCENTILE_COLORS,
    STATUS_COLORS,
    Column,
    heat,
    ledger_table,
    stat,
    table,
    trend,
)
from submeter.dashboards.targets import (
    count,
    gain,
    percentile_s,
    prom,
    quantile,
    rate,
    share,
)

TTFT = "gen_ai_server_time_to_first_token_seconds"
TPOT = "gen_ai_server_time_per_output_token_seconds"
E2E = "gen_ai_client_inference_duration_seconds"
OVERHEAD = "submeter_overhead_seconds"
UPSTREAM = "submeter_upstream_calls_total"

MODEL = 'model=~"$model"'
CHOSEN = f'{MODEL}, endpoint=~"$endpoint"'
FROM = 'upstream=~"$upstream"'
ENDED = f'{FROM}, outcome=~"ok|upstream_.*|timeout"'
"""Calls that a caller left, or that lost their relay, say nothing of the provider."""
FAILED = f'{FROM}, outcome=~"upstream_.*|timeout", status!="4xx"'
"""As the alert ErrorRate has it: no answer, half an answer, 5xx or 429, but no 4xx, which callers cause."""

CHOSEN_ROWS = "model ~ '^(${model:regex})$'"

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
LENGTH_CLASSES = (1_000, 4_000, 16_000, 64_000)
OUTPUT_CLASSES = (50, 200, 800, 3_200)


def board() -> Dashboard:
    return assemble(
        "submeter-latency",
        "How soon answers begin, how fast they flow and when they end: by model and by length, beside what Submeter "
        "itself adds and how often providers fail.",
        [_now(), _over_time(), _by_model(), _by_length(), _providers()],
        since="now-6h",
        variables=[
            label_variable("model", "Model", f"{E2E}_count", "The price-book entry that priced the call, else other."),
            label_variable("endpoint", "Endpoint", f"{E2E}_count", "The path after /v1/, as chat/completions."),
            label_variable("upstream", "Upstream", UPSTREAM, "The provider as configured: for the row Providers only."),
        ],
        annotations=[model_changes(), new_versions()],
    )


def _now() -> Row:
    return Row(
        "In this range",
        [
            _percentile(
                "TTFT, median",
                "Half of all streamed answers began sooner than this.",
                0.5,
                TTFT,
            ),
            _percentile("TTFT, p95", "One streamed answer in twenty began later than this.", 0.95, TTFT),
            stat(
                "Output speed, median",
                "Tokens a second within a streamed answer after its first: 1 / median time per output token.",
                prom(f"1 / {quantile(0.5, TPOT, CHOSEN, over='$__range')}", "tokens/s", instant=True),
                unit="short",
                width=4,
                decimals=0,
            ),
            _percentile("End to end, p95", "One call in twenty, streamed or not, took longer than this.", 0.95, E2E),
            stat(
                "Overhead, p95",
                "What the relay itself adds: until the first write upstream, and from each byte received to the "
                "caller's socket. Red from 10 ms.",
                prom(quantile(0.95, OVERHEAD, CHOSEN, over="$__range"), "p95", instant=True),
                unit="s",
                width=4,
                steps={0.005: "orange", 0.01: "red"},
            ),
            stat(
                "Provider errors",
                "Share of calls that the chosen upstreams failed: no answer, half an answer, 5xx or 429. Neither "
                "callers that left nor 4xx, which callers cause.",
                prom(share(gain(UPSTREAM, FAILED), gain(UPSTREAM, ENDED)), "failed", instant=True),
                unit="percentunit",
                width=4,
                steps={0.01: "orange", 0.05: "red"},
            ),
        ],
    )


def _percentile(title: str, description: str, q: float, metric: str) -> Panel:
    expr = quantile(q, metric, CHOSEN, over="$__range")
    return stat(title, description, prom(expr, title, instant=True), unit="s", width=4)


def _over_time() -> Row:
    figures = (
        ("Time to first token", "streamed answers, from the request's last byte to the first token", TTFT),
        ("Time per output token", "streamed answers, between two tokens after the first", TPOT),
        ("End to end", "all calls, from the request's last byte to the answer's last byte", E2E),
    )
    lines = [
        trend(
            title,
            f"Percentiles of {what}. Dots are single calls with their call id, if Prometheus stores exemplars.",
            *(prom(quantile(q, metric, CHOSEN), name, exemplars=True) for name, q in PERCENTILES.items()),
            unit="s",
            width=8,
            colors=PERCENTILE_COLORS,
        )
        for title, what, metric in figures
    ]
    maps = [
        heat(
            f"{title}: how calls spread",
            f"How many calls fell into each bucket: {what}. Two bands are two kinds of calls, as no percentile shows.",
            metric,
            CHOSEN,
        )
        for title, what, metric in figures
    ]
    return Row("Over time", [*lines, *maps])


def _by_model() -> Row:
    return Row(
        "By model",
        [
            trend(
                "TTFT p95, by model",
                "Which model became slow to begin. A mark says that another model answered under the same name.",
                prom(quantile(0.95, TTFT, CHOSEN, by="model"), "{{model}}"),
                unit="s",
                width=6,
            ),
            trend(
                "TTFT p95 against its usual",
                "The last hour's p95 over the median hour's of the past week, by model: 1 is as ever. The line is "
                "where the alert TtftRegression begins. Needs the recording rules (docs/guide/alerts.md).",
                prom(
                    f"submeter:ttft_seconds:p95_1h{{{MODEL}}} / submeter:ttft_seconds:p95_median1w{{{MODEL}}}",
                    "{{model}}",
                ),
                unit="none",
                width=6,
                no_data="no recording rules, or no week behind it",
                limit=1.5,
            ),
            trend(
                "Output speed, by model",
                "Median tokens a second within a streamed answer, after its first token.",
                prom(f"1 / {quantile(0.5, TPOT, CHOSEN, by='model')}", "{{model}}"),
                unit="short",
                width=6,
            ),
            trend(
                "What Submeter adds",
                "Percentiles of the relay's own part of a call. A caller that reads slowly is not counted.",
                *(prom(quantile(q, OVERHEAD, CHOSEN), name, exemplars=True) for name, q in PERCENTILES.items()),
                unit="s",
                width=6,
                colors=PERCENTILE_COLORS,
            ),
        ],
    )


def _by_length() -> Row:
    why = (
        "Reads the ledger, which must be Postgres: lengths in labels would be too many series. With SQLite nothing "
        "shows: use submeter latency --fit."
    )
    return Row(
        "By length, from the ledger",
        [
            ledger_table(
                "How soon answers begin, by input length",
                f"Longer inputs begin later: exact percentiles of streamed calls that ended well. {why}",
                {"Input tokens": _class("input_tokens", LENGTH_CLASSES)},
                [
                    Column("Calls", "short", count("upstream AND ended_well")),
                    Column("TTFT p50", "s", percentile_s(50, "ttft_ns")),
                    Column("TTFT p95", "s", percentile_s(95, "ttft_ns")),
                    Column("End to end p95", "s", percentile_s(95, "e2e_ns")),
                ],
                where=[CHOSEN_ROWS, "input_tokens IS NOT NULL"],
                order_by="min(input_tokens)",
                width=12,
                height=7,
            ),
            ledger_table(
                "How long answers take, by output length",
                f"Longer answers end later: exact percentiles of calls that ended well. {why}",
                {"Output tokens": _class("output_tokens", OUTPUT_CLASSES)},
                [
                    Column("Calls", "short", count("upstream AND ended_well")),
                    Column("End to end p50", "s", percentile_s(50, "e2e_ns")),
                    Column("End to end p95", "s", percentile_s(95, "e2e_ns")),
                    Column("Per token p50", "s", percentile_s(50, "tpot_ns")),
                ],
                where=[CHOSEN_ROWS, "output_tokens IS NOT NULL"],
                order_by="min(output_tokens)",
                width=12,
                height=7,
            ),
        ],
    )


def _class(column: str, bounds: tuple[int, ...]) -> str:
    """SQL: the name of the class that a count of tokens is in."""
    below = [f"WHEN {column} < {bound} THEN 'below {bound:,}'" for bound in bounds]
    return f"CASE {' '.join(below)} ELSE 'from {bounds[-1]:,}' END"


def _providers() -> Row:
    failed, asked = gain(UPSTREAM, FAILED, by="upstream"), gain(UPSTREAM, ENDED, by="upstream")
    limited = gain(UPSTREAM, f'{FROM}, status="429"', by="upstream")
    return Row(
        "Providers",
        [
            trend(
                "What upstreams answered",
                "Calls a second by status: 2xx, 4xx (429 apart), 5xx, and none where no answer began.",
                prom(rate(UPSTREAM, FROM, by="status"), "{{status}}"),
                unit="reqps",
                stacked=True,
                colors=STATUS_COLORS,
            ),
            trend(
                "Errors, by upstream",
                "Share of an upstream's calls that it failed: no answer, half an answer, 5xx or 429. The line is where "
                "the alert ErrorRate begins.",
                prom(_share_by_upstream(), "{{upstream}}"),
                unit="percentunit",
                limit=0.05,
            ),
            table(
                "Health of providers",
                "Each upstream in this range: how much it was asked, how often it failed, and said to slow down.",
                {"upstream": "Upstream"},
                [
                    Column("Calls", "short", asked),
                    Column("Failed", "short", failed),
                    Column("Share failed", "percentunit", f"{failed} / ({asked} > 0)"),
                    Column("429s", "short", limited),
                    Column("Share 429", "percentunit", f"{limited} / ({asked} > 0)"),
                ],
                width=24,
                height=6,
            ),
        ],
    )


def _share_by_upstream() -> str:
    """0, not nothing, where an upstream has not failed yet."""
    every = rate(UPSTREAM, ENDED, by="upstream")
    return f"({rate(UPSTREAM, FAILED, by='upstream')} or 0 * {every}) / ({every} > 0)"
