"""Alerts: what is watched, from where on it is bad, and what to do about it at three in the morning.

A *signal* is a figure that can be looked at whether or not it is bad, which ``op threshold`` says; ``only_while`` holds
the alert back where the figure means little: too few calls, too little money, no history.
Prometheus does not see a counter's step from "no series" to its first value; ``_grown`` does, where a counter is not
there from the start. Alerts about one unit have its ``instance``; all others are of all units together.
"""

from typing import Literal

import msgspec

from submeter.dashboards.recorded import (
    CACHEABLE,
    CALLS,
    COST,
    ENDED,
    ENDED_UPSTREAM,
    FAILED,
    FAILED_UPSTREAM,
    UPSTREAM_CALLS,
)

Op = Literal[">", "<", "=="]
Severity = Literal["page", "ticket", "info"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    signal: str
    op: Op
    threshold: float
    only_while: tuple[str, ...] = ()
    """Further conditions: ``on (labels) comparison``."""
    for_: str = ""
    """How long it has to be bad without a break; empty: not at all."""
    severity: Severity
    """``page``: money, calls or callers are being lost now. ``ticket``: within a day. ``info``: good to know."""
    summary: str
    description: str
    why: str
    """Of this form, for whoever changes it."""

    @property
    def expr(self) -> str:
        return "\nand ".join((f"{self.signal} {self.op} {self.threshold:g}", *self.only_while))

    @property
    def runbook(self) -> str:
        return f"docs/guide/alerts.md#{self.name.lower()}"


def _grown(metric: str, by: str, over: str) -> str:
    """Growth of a counter whose series begin with their first event; a zero where there are none."""
    return f"""(
  (
    sum by ({by}) ({metric})
    unless sum by ({by}) (last_over_time({metric}[1d] offset {over}))
  )
  or sum by ({by}) (increase({metric}[{over}]))
  or vector(0)
)"""


def _upstream_calls(where: str, over: str) -> str:
    return f"sum by (upstream) (increase({UPSTREAM_CALLS}{{{where}}}[{over}]))"


def _model_calls(where: str, over: str) -> str:
    return f"sum by (model) (increase({CALLS}{{{where}}}[{over}]))"


def _spend_over_usual(by: str) -> str:
    """USD per hour above the profile."""
    return f"3600 * (sum{by}(submeter:cost_usd:rate1h) - sum{by}(submeter:cost_usd:profile1h))"


def _a_day_of(series: str) -> str:
    return f"on (model) count_over_time({series}[1w:1h] offset 1h) >= 24"


INDETERMINATE = 'sum(increase(submeter_indeterminate_usd_total{bound="high"}[1h]))'
BROKEN = f'{FAILED}, status!="4xx"'
REFUSED_BY_US = 'submeter_refused_calls_total{code=~"overloaded|ledger_unavailable"}'
NOT_JOURNALLED = 'submeter_unmetered_calls_total{reason="journal"}'
NO_SERVICE = f'{FAILED}, status!~"4xx|429"'

MONEY = (
    Alert(
        name="SpendAboveProfile",
        signal="sum(submeter:cost_usd:rate1h) / sum(submeter:cost_usd:profile1h)",
        op=">",
        threshold=3,
        only_while=(f"on () {_spend_over_usual('')} > 20",),
        for_="15m",
        severity="page",
        summary="LLM spend is {{ $value | humanize }} times what is usual at this hour of the week",
        description="The last hour cost over three times the median of the same hour in past weeks, and at least $20 "
        "more. Board Cost: which team, app and model grew? A loop shows as one of them; Prompts shows its prompt. "
        "Stop that app, or withdraw its key at the provider.",
        why="A ratio alone would call small money odd, an amount alone a big day. No history, no profile: silent.",
    ),
    Alert(
        name="TeamSpendAboveProfile",
        signal="sum by (team) (submeter:cost_usd:rate1h) / on (team) submeter:cost_usd:profile1h",
        op=">",
        threshold=2,
        only_while=(f"on (team) {_spend_over_usual(' by (team) ')} > 5",),
        for_="15m",
        severity="ticket",
        summary="Team {{ $labels.team }} spends {{ $value | humanize }} times what is usual at this hour of the week",
        description="The team's last hour cost over twice the median of the same hour in past weeks, and at least $5 "
        "more. Board Cost, variable team: which app, model or prompt version grew? Ask the team whether it is meant.",
        why="A small team's runaway drowns in everybody's total; a new team has no profile, and is in the total.",
    ),
    Alert(
        name="UnpricedCalls",
        signal="sum by (upstream) (increase(submeter_unpriced_calls_total[6h]))",
        op=">",
        threshold=0,
        severity="ticket",
        summary="{{ $value | humanize }} calls to {{ $labels.upstream }} have no price, and are in no cost",
        description="Within six hours they were for a model or tier that the price book does "
        "not know. submeter cost --by model shows which; submeter prices show MODEL says why. Import newer prices or "
        "write the price under prices:, then submeter reprice puts the cost right afterwards.",
        why="One is enough: a new model begins with one call. Six hours, so that seldom ones are one alert, not many.",
    ),
    Alert(
        name="IndeterminateMoney",
        signal=f"{INDETERMINATE}\n/ (\n  {INDETERMINATE}\n  + (sum(increase({COST}[1h])) or vector(0))\n)",
        op=">",
        threshold=0.02,
        only_while=(f"on () {INDETERMINATE} > 5",),
        severity="ticket",
        summary="What {{ $value | humanizePercentage }} of the last hour's spend may be is not known",
        description="Calls without a known end (a relay died, or the provider never answered) may have cost over $5 "
        "within an hour: the upper bound, in no sum. submeter calls shows them (outcome indeterminate, timeout). Did "
        "relays die: kernel log, out of memory? Compare with the provider's invoice: submeter reconcile.",
        why="Against the spend, as the upper bound of a single killed call may be over a dollar.",
    ),
    Alert(
        name="StalePrices",
        signal="max(submeter_price_snapshot_age_seconds) / 86400",
        op=">",
        threshold=30,
        for_="1h",
        severity="ticket",
        summary="Prices are {{ $value | humanize }} days old",
        description="Providers may have changed theirs since. submeter prices import, look at what changed, restart, "
        "then submeter reprice --since the day of the change.",
        why="submeter prices check and doctor warn from 14 days; 30 is when nobody has looked.",
    ),
)

CALLERS = (
    Alert(
        name="TtftRegression",
        signal="submeter:ttft_seconds:p95_1h / submeter:ttft_seconds:p95_median1w",
        op=">",
        threshold=1.5,
        only_while=(
            "on (model) submeter:ttft_seconds:p95_1h - submeter:ttft_seconds:p95_median1w > 0.25",
            "on (model) sum by (model) (increase(gen_ai_server_time_to_first_token_seconds_count[1h])) >= 50",
            _a_day_of("submeter:ttft_seconds:p95_1h"),
        ),
        for_="15m",
        severity="ticket",
        summary="{{ $labels.model }}: p95 of the time to first token is {{ $value | humanize }} times last week's",
        description="Board Latency: is it one model (the provider, or longer prompts: see input tokens and Prompts) or "
        "all (the network)? If overhead grew too, it is Submeter: CPU of the relays. Else look at the provider's "
        "status page; another model or region may answer sooner.",
        why="The median of hourly p95s, so that last week's bad hour is not the measure; a model of under 24 hours "
        "that had calls has none yet.",
    ),
    Alert(
        name="LatencyRegression",
        signal="(max by (model, measure) (submeter_latency_regressed) or vector(0))",
        op=">",
        threshold=0,
        for_="2h",
        severity="ticket",
        summary="{{ $labels.model }}: {{ $labels.measure }} has regressed against last week",
        description="Calls of like input and output lengths are slower by over 5 %, and by more than chance explains. "
        "submeter latency --fit says by how much, and which lengths. All models at once: the network or the relays; "
        "one model: the provider, or more calls at a time; ttft alone: fewer tokens from the provider's cache.",
        why="TtftRegression sees an hour's jump, this what creeps. All units of a ledger say the same. Two hours: "
        "the meter looks every hour, and a verdict by chance seldom comes thrice.",
    ),
    Alert(
        name="ErrorRate",
        signal=f"{_upstream_calls(BROKEN, '15m')}\n/ {_upstream_calls(ENDED, '15m')}",
        op=">",
        threshold=0.05,
        only_while=(f"on (upstream) {_upstream_calls(BROKEN, '15m')} >= 10",),
        for_="10m",
        severity="ticket",
        summary="{{ $labels.upstream }} fails {{ $value | humanizePercentage }} of its calls",
        description="5xx, 429, cut or late answers; callers that left and 4xx do not count. Board Latency, Providers: "
        "429 is a rate limit (spread the load, ask for more), 5xx the provider's trouble (status page), none the "
        "network or TLS (submeter doctor).",
        why="Ten failures at least, so that one of a quiet night's three calls is no alert.",
    ),
    Alert(
        name="ModelErrorRate",
        signal=f"{_model_calls(FAILED_UPSTREAM, '15m')}\n/ {_model_calls(ENDED_UPSTREAM, '15m')}",
        op=">",
        threshold=0.1,
        only_while=(f"on (model) {_model_calls(FAILED_UPSTREAM, '15m')} >= 10",),
        for_="10m",
        severity="ticket",
        summary="{{ $value | humanizePercentage }} of the calls to {{ $labels.model }} fail",
        description="4xx among them: if ErrorRate is silent, callers ask wrongly (a retired model, a bad parameter, a "
        "withdrawn key). submeter calls shows status, team and app of the last ones. model other: it has no price.",
        why="A model can be broken while its provider is well. Twice ErrorRate's share, as callers' mistakes count.",
    ),
    Alert(
        name="UpstreamDown",
        signal=f"{_upstream_calls(NO_SERVICE, '5m')}\n/ {_upstream_calls(ENDED, '5m')}",
        op=">",
        threshold=0.5,
        only_while=(f"on (upstream) {_upstream_calls(NO_SERVICE, '5m')} >= 5",),
        for_="3m",
        severity="page",
        summary="{{ $labels.upstream }} does not serve: {{ $value | humanizePercentage }} of calls fail",
        description="Most calls get no answer, a broken one or 5xx. Provider's status page; submeter doctor tells name "
        "look-up, connection and TLS apart. If it lasts, map the models to another upstream under models: and restart.",
        why="Five minutes and three: soon there, soon gone. Rate limits (429) are no outage: ErrorRate has them.",
    ),
    Alert(
        name="CallsRefused",
        signal=f"(sum by (code) (increase({REFUSED_BY_US}[5m])) or vector(0))",
        op=">",
        threshold=0,
        for_="10m",
        severity="page",
        summary="Relays refuse calls: {{ $labels.code }}",
        description="Callers get 503 from Submeter itself. overloaded: more --workers, or higher limits: (settings). "
        "ledger_unavailable: the journal's disk is full or failing; submeter doctor says which; when_unmetered: pass "
        "serves callers unmetered meanwhile.",
        why="Over ten minutes: one burst that a retry gets past is none. Refusals that callers cause do not count.",
    ),
    Alert(
        name="ModelChanged",
        signal=_grown("submeter_model_changes_total", "model", "1h"),
        op=">",
        threshold=0,
        severity="info",
        summary="{{ $labels.model }} is answered by another model than before",
        description="The provider named a served model that it had not named before under this requested name. Compare "
        "cost, TTFT and quality before and after (boards mark the moment); pin the dated name if it matters.",
        why="An event: shown for an hour. Whether it is good or bad, only people can say.",
    ),
)

CACHE = (
    Alert(
        name="CacheHitCollapse",
        signal="submeter:cacheable_hits:ratio_rate1h / submeter:cacheable_hits:median1w",
        op="<",
        threshold=0.5,
        only_while=(
            "on (model) submeter:cacheable_hits:median1w >= 0.1",
            f"on (model) {_model_calls(CACHEABLE, '1h')} >= 100",
            _a_day_of("submeter:cacheable_hits:ratio_rate1h"),
        ),
        for_="30m",
        severity="ticket",
        summary="{{ $labels.model }}: the cache answers {{ $value | humanizePercentage }} of what it used to",
        description="Each miss is paid for. Board Operations, cache: errors or breaker_open mean Redis is slow or "
        "away; rejected means foreign values. Else something in the requests changed that should not (a date or an id "
        "in the prompt), or the cache was purged or is too small (evictions).",
        why="Against its own usual share, of cacheable calls only: other traffic coming or going does not move it.",
    ),
    Alert(
        name="CacheValuesRejected",
        signal='sum(increase(submeter_cache_events_total{event="rejected"}[1h]))',
        op=">",
        threshold=0,
        only_while=("on () count(count by (version) (last_over_time(submeter_build_info[1d]))) == 1",),
        severity="ticket",
        summary="{{ $value | humanize }} kept answers in Redis were not ours",
        description="Forged, cut, or sealed with another key; none was given to a caller. Who else can write to this "
        "Redis? Close it (password, network), give all units the same cache.key_env, then submeter cache purge.",
        why="A new version may not read the old one's values: for a day after an upgrade they are no news.",
    ),
)

METERING = (
    Alert(
        name="CallsUnmetered",
        signal=f"sum by (instance) (increase({NOT_JOURNALLED}[30m]))",
        op=">",
        threshold=0,
        severity="page",
        summary="{{ $labels.instance }} serves calls that nobody meters",
        description="The journal could not be written, so these calls will never have a cost. The log and submeter "
        "doctor say what is wrong with the disk: full, read-only, failing, or over journal.quota_bytes as the ledger "
        "is down. It goes on by itself once that is mended.",
        why="What is not journalled is lost for good: one is enough.",
    ),
    Alert(
        name="JournalDamaged",
        signal="sum by (instance) (increase(submeter_journal_damage_total[6h]))",
        op=">",
        threshold=0,
        severity="ticket",
        summary="{{ $labels.instance }}: the journal has damaged stretches",
        description="A disk that lies, a power cut, or somebody else's writing. The bytes are in DATA_DIR/journal/"
        "relay-N/quarantine, and calls in them may be missing: keep them, look at the disk (kernel log, SMART), "
        "compare that hour with the provider's invoice by submeter reconcile.",
        why="An event that nobody causes by traffic: one is enough.",
    ),
    Alert(
        name="RowsQuarantined",
        signal="sum by (instance) (increase(submeter_quarantined_rows_total[6h]))",
        op=">",
        threshold=0,
        severity="ticket",
        summary="{{ $labels.instance }}: the database refused {{ $value | humanize }} rows",
        description="They are kept whole in the ledger's table quarantine, each with the database's reason, and are in "
        "no sum. Most often the schema or a trigger was changed by hand; all other rows go on.",
        why="All other rows go on: it is not urgent, but it does not mend itself.",
    ),
    Alert(
        name="JournalLag",
        signal="max by (instance) (submeter_journal_lag_seconds)",
        op=">",
        threshold=60,
        only_while=("on (instance) min by (instance) (submeter_database_up) == 1",),
        for_="5m",
        severity="ticket",
        summary="{{ $labels.instance }}: the ledger is {{ $value | humanizeDuration }} behind",
        description="Nothing is lost; costs come late. The database is up, so it or the meter is slow: CPU of the "
        "meter, locks and disk of the database. It catches up by itself.",
        why="While the database is down LedgerDown tells of it; five minutes outlast a restart's catching up.",
    ),
    Alert(
        name="LedgerDown",
        signal="min by (instance) (submeter_database_up)",
        op="<",
        threshold=1,
        for_="10m",
        severity="page",
        summary="{{ $labels.instance }} cannot write its ledger",
        description="Calls are served and wait in the journal, up to journal.quota_bytes (4 GiB); then they go "
        "unmetered or are refused. Is the database up, its disk full, its password changed? The meter's log has its "
        "answer. It catches up by itself.",
        why="Ten minutes outlast a failover, and leave hours of journal.",
    ),
    Alert(
        name="RelaysMissing",
        signal="sum by (instance) (submeter_workers) - sum by (instance) (submeter_relays)",
        op=">",
        threshold=0,
        for_="3m",
        severity="page",
        summary="{{ $labels.instance }}: {{ $value | humanize }} relays are missing",
        description="A relay that dies is started again within seconds, so these die again and again: the log of "
        "submeter serve says why (memory, a setting, a port). The others serve on, if there are any.",
        why="Three minutes outlast a restart of the unit.",
    ),
    Alert(
        name="MeterDown",
        signal='(min by (instance) (up{job="submeter"}) or absent(up{job="submeter"}) - 1)',
        op="==",
        threshold=0,
        for_="5m",
        severity="page",
        summary="Prometheus cannot read the meter {{ $labels.instance }}",
        description="No other alert works without it. Calls may well be served: ask /healthz of both planes. Is the "
        "process up, the port reachable, the bearer token right (401)? The journal keeps what the meter misses.",
        why="A target that is gone altogether is absent, not 0. A pod that is replaced is back within five minutes.",
    ),
    Alert(
        name="SeriesCapReached",
        signal="sum by (metric) (increase(submeter_other_series_total[6h]))",
        op=">",
        threshold=0,
        severity="ticket",
        summary="{{ $labels.metric }} has all the series that it may have",
        description="Further combinations of labels count as other: sums stay right, their parts do not. The ledger "
        "has all of them (submeter cost --by). Name those that matter under labels: in the settings.",
        why="Its sums stay right, so nobody sees it on a board.",
    ),
    Alert(
        name="LabelsCapped",
        signal="sum by (label) (increase(submeter_other_values_total[6h]))",
        op=">",
        threshold=0,
        severity="info",
        summary="Some values of {{ $labels.label }} are shown as other",
        description="More than 50 values, values of odd characters, or ones that labels: does not name. Name those "
        "that matter under labels: in the settings; the ledger has them all (submeter cost --by).",
        why="Often meant: a closed list of teams makes every other one other. Hence no more than info.",
    ),
)

ALERTS: tuple[Alert, ...] = (*MONEY, *CALLERS, *CACHE, *METERING)
