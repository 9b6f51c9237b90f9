"""Recorded series: what boards and alerts ask again and again, computed once by Prometheus.

All are of the level ``submeter``: summed over all units (hosts, pods), so that a unit more or less is no other series.
A percentile or ratio without calls has no sample, rather than NaN, which would spoil what is computed from it.
"""

import msgspec


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    record: str
    """``level:metric:operation``; labels are those that ``expr`` keeps."""
    expr: str
    why: str


COST = "submeter_cost_usd_total"
CALLS = "submeter_calls_total"
METERED = 'endpoint!="unmetered"'
CACHEABLE = f'{METERED}, cache=~"hit|miss|coalesced"'
SPARED = f'{METERED}, cache=~"hit|coalesced"'
FAILED = 'outcome=~"upstream_.*|timeout"'
ENDED = 'outcome=~"ok|upstream_.*|timeout"'
"""Neither calls whose client left nor those that lost their relay: nobody knows how they would have ended."""
WENT_UPSTREAM = 'cache=~"miss|bypass"'
FAILED_UPSTREAM = f"{WENT_UPSTREAM}, {FAILED}"
ENDED_UPSTREAM = f"{WENT_UPSTREAM}, {ENDED}"
UPSTREAM_CALLS = "submeter_upstream_calls_total"

DURATIONS = {
    "ttft": "gen_ai_server_time_to_first_token_seconds",
    "tpot": "gen_ai_server_time_per_output_token_seconds",
    "e2e": "gen_ai_client_inference_duration_seconds",
}
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WINDOWS = ("5m", "1h")

WEEKS_AGO = ("6d23h", "13d23h", "20d23h", "27d23h")
"""Ends of two hours around this hour of the week, one to four weeks ago."""


def ratio(part: str, whole: str, by: str, over: str) -> str:
    """A share of events: 0 while the part has no series yet, and nothing without any event."""
    all_events = f"sum by ({by}) (rate({whole}[{over}]))"
    return f"(\n  sum by ({by}) (rate({part}[{over}]))\n  or 0 * {all_events}\n)\n/ ({all_events} > 0)"


def _spend_profile() -> str:
    weeks = "\n  or ".join(
        f"label_replace(sum by (team) (max_over_time(submeter:cost_usd:rate1h[2h] offset {ago})), "
        f'"week", "{week}", "", "")'
        for week, ago in enumerate(WEEKS_AGO, 1)
    )
    return f"quantile without (week) (0.5,\n  {weeks}\n)"


def _usual(series: str) -> str:
    return f"quantile_over_time(0.5, {series}[1w:1h] offset 1h)"


def _percentiles() -> tuple[Recorded, ...]:
    return tuple(
        Recorded(
            record=f"submeter:{short}_seconds:{name}_{over}",
            expr=f"histogram_quantile({q:g}, sum by (model, le) (rate({metric}_bucket[{over}]))) >= 0",
            why=f"{name} by model over {over}, interpolated within a bucket; at most the highest bound.",
        )
        for short, metric in DURATIONS.items()
        for over in WINDOWS
        for name, q in PERCENTILES.items()
    )


RECORDED: tuple[Recorded, ...] = (
    *(
        Recorded(
            record=f"submeter:cost_usd:rate{over}",
            expr=f"sum by (model, team) (rate({COST}[{over}]))",
            why=f"USD per second by model and team, over {over}. Money of known price only.",
        )
        for over in WINDOWS
    ),
    Recorded(
        record="submeter:cost_usd:profile1h",
        expr=_spend_profile(),
        why="USD per second that a team is used to spend at this hour of the week: the median of up to four past "
        "weeks, so that one odd week does not count; of each the highest within an hour, so that a job that moves by "
        "an hour (daylight saving) is none. Nothing without history.",
    ),
    Recorded(
        record="submeter:cost_usd_per_1000_calls:ratio_rate1h",
        expr=f"1000 * sum by (model) (rate({COST}[1h]))\n/ (sum by (model) (rate({CALLS}{{{METERED}}}[1h])) > 0)",
        why="What 1,000 calls cost by model, answers from the cache among them.",
    ),
    Recorded(
        record="submeter:tokens:rate5m",
        expr="sum by (model, class) (rate(submeter_tokens_total[5m]))",
        why="Tokens per second by model and class, of calls that went upstream.",
    ),
    Recorded(
        record="submeter:hits:ratio_rate1h",
        expr=ratio(f"{CALLS}{{{SPARED}}}", f"{CALLS}{{{METERED}}}", "model", "1h"),
        why="Share of all metered calls that were answered without the provider (hit or coalesced).",
    ),
    Recorded(
        record="submeter:cacheable_hits:ratio_rate1h",
        expr=ratio(f"{CALLS}{{{SPARED}}}", f"{CALLS}{{{CACHEABLE}}}", "model", "1h"),
        why="The same share of cacheable calls (hit, miss or coalesced): how good the cache is at what it may do.",
    ),
    Recorded(
        record="submeter:cacheable_hits:median1w",
        expr=_usual("submeter:cacheable_hits:ratio_rate1h"),
        why="The usual share: the median hour of the week until an hour ago.",
    ),
    Recorded(
        record="submeter:call_errors:ratio_rate5m",
        expr=ratio(f"{CALLS}{{{FAILED_UPSTREAM}}}", f"{CALLS}{{{ENDED_UPSTREAM}}}", "model", "5m"),
        why="Share of a model's calls that went wrong upstream, 4xx among them. Callers that left are in no part.",
    ),
    Recorded(
        record="submeter:upstream_errors:ratio_rate5m",
        expr=ratio(f'{UPSTREAM_CALLS}{{{FAILED}, status!="4xx"}}', f"{UPSTREAM_CALLS}{{{ENDED}}}", "upstream", "5m"),
        why="Share of an upstream's calls that it failed: no answer, cut, 5xx or 429. Not the 4xx that callers cause.",
    ),
    *_percentiles(),
    Recorded(
        record="submeter:ttft_seconds:p95_median1w",
        expr=_usual("submeter:ttft_seconds:p95_1h"),
        why="The usual p95 of the time to first token: the median hour of the week until an hour ago.",
    ),
)
