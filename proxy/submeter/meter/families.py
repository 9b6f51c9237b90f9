"""The families of /metrics: what there is, how it is labelled, and how many sample lines it may take at most.

A series is one sample line. ``most_lines`` over all families, and the gauges, stay within ``SERIES_LIMIT`` whatever
clients send; a test adds them up. Names follow OpenTelemetry's GenAI conventions where there is one.
"""

from typing import NamedTuple
from zlib import crc32

from submeter.core.verdicts import VERDICTS

NANO = 1_000_000_000
SERIES_LIMIT = 2000
TTFT_BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TPOT_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
DURATION_BUCKETS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
OVERHEAD_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))

Labels = tuple[str, ...]


class Family(NamedTuple):
    """A metric: its name without the suffixes of its kind, what it tells, its labels, how many combinations of them
    (the last one is for all others)."""

    name: str
    help: str
    labels: Labels
    most: int
    buckets: tuple[float, ...] = ()
    per_unit: int = 1
    """What one unit of the exposed number is in the integers that are kept."""
    begins: tuple[Labels, ...] = ()
    """Combinations that are there from the start, at 0: PromQL's ``increase`` does not see the event that a series
    begins with."""
    exemplars: bool = False
    """The latest call is named: of each bucket, or of a counter's sample."""

    @property
    def shown(self) -> str:
        """Its name as queries write it."""
        return self.name if self.buckets else f"{self.name}_total"

    @property
    def kept_as(self) -> str:
        """What it is called in the ledger. A histogram with other buckets is another one, and begins at 0."""
        return f"{self.name}:{crc32(repr(self.buckets).encode()):08x}" if self.buckets else self.name

    @property
    def most_lines(self) -> int:
        """A histogram has one for each bucket, the infinite one among them, ``_sum`` and ``_count``."""
        return self.most * (len(self.buckets) + 3 if self.buckets else 1)


def _each(*values: str) -> tuple[Labels, ...]:
    return tuple((value,) for value in values)


CALLS = Family(
    "submeter_calls", "Settled calls, cache hits among them.", ("model", "endpoint", "outcome", "cache"), 220
)
UPSTREAM_CALLS = Family(
    "submeter_upstream_calls",
    "Settled calls that went upstream; status: 2xx, 4xx, 429, 5xx, or none where no answer came.",
    ("upstream", "outcome", "status"),
    40,
)
TOKENS = Family("submeter_tokens", "Tokens of calls that went upstream, each in one class.", ("model", "class"), 200)
USAGE_INPUT = Family(
    "gen_ai_client_inference_usage_input_tokens", "Input tokens, cached and cache-write ones included.", ("model",), 20
)
USAGE_OUTPUT = Family(
    "gen_ai_client_inference_usage_output_tokens", "Output tokens, reasoning included.", ("model",), 20
)
USAGE_CACHE_READ = Family(
    "gen_ai_client_inference_usage_cache_read_input_tokens",
    "Of the input tokens, those read from the provider's cache.",
    ("model",),
    20,
)
USAGE_CACHE_WRITE = Family(
    "gen_ai_client_inference_usage_cache_write_input_tokens",
    "Of the input tokens, those written to the provider's cache.",
    ("model",),
    20,
)
USAGE_REASONING = Family(
    "gen_ai_client_inference_usage_reasoning_output_tokens",
    "Of the output tokens, those of reasoning.",
    ("model",),
    20,
)
COST = Family(
    "submeter_cost_usd",
    "Cost of settled calls whose price is known; state: exact or estimated.",
    ("model", "team", "app", "state"),
    140,
    per_unit=NANO,
    exemplars=True,
)
PROMPT_COST = Family(
    "submeter_prompt_cost_usd",
    "The same cost by prompt and prompt version.",
    ("prompt", "prompt_version"),
    100,
    per_unit=NANO,
)
SAVED = Family("submeter_saved_usd", "What cache hits would have cost.", ("model",), 40, per_unit=NANO)
INDETERMINATE = Family(
    "submeter_indeterminate_usd",
    "Bounds of what calls without a known end may have cost; bound: low or high.",
    ("bound",),
    3,
    per_unit=NANO,
    begins=_each("low", "high"),
)
INDETERMINATE_CALLS = Family(
    "submeter_indeterminate_calls", "Calls without a known end: their cost has bounds only.", ("upstream",), 20
)
UNPRICED = Family("submeter_unpriced_calls", "Calls whose model or tier has no price: cost unknown.", ("upstream",), 20)
UNMETERED = Family(
    "submeter_unmetered_calls",
    "Calls that were served but not metered; reason: path or journal.",
    ("reason",),
    3,
    begins=_each("path", "journal"),
)
REFUSED = Family("submeter_refused_calls", "Requests that the relay answered itself, by error code.", ("code",), 40)
PASSED = Family("submeter_passed_requests", "Requests passed through without a row, by path.", ("path",), 30)
CACHE = Family(
    "submeter_cache_events",
    "What became of the relays' questions to the cache, by event.",
    ("event",),
    8,
    begins=_each("hits", "misses", "rejected", "errors", "breaker_open"),
)
MODEL_CHANGES = Family(
    "submeter_model_changes",
    "Served model names not met before under a requested one, after its first.",
    ("model",),
    20,
)
LEDGER_ROWS = Family("submeter_ledger_rows", "Rows shipped to the ledger.", (), 1, begins=((),))
LEDGER_FAILURES = Family(
    "submeter_ledger_failures", "Batches that the database could not take; they are tried again.", (), 1, begins=((),)
)
DAMAGE = Family("submeter_journal_damage", "Damaged stretches found in the journal.", (), 1, begins=((),))
QUARANTINED = Family(
    "submeter_quarantined_rows", "Rows that the database refused; kept in quarantine.", (), 1, begins=((),)
)

BY_CALL = ("model", "endpoint", "stream")
TTFT = Family(
    "gen_ai_server_time_to_first_token_seconds",
    "First token of a streamed answer.",
    BY_CALL,
    12,
    TTFT_BUCKETS_S,
    NANO,
    exemplars=True,
)
TPOT = Family(
    "gen_ai_server_time_per_output_token_seconds",
    "(end to end - TTFT) / (output tokens - 1) of streamed answers.",
    BY_CALL,
    12,
    TPOT_BUCKETS_S,
    NANO,
    exemplars=True,
)
DURATION = Family(
    "gen_ai_client_inference_duration_seconds",
    "End to end: request body complete to the last upstream byte.",
    BY_CALL,
    14,
    DURATION_BUCKETS_S,
    NANO,
    exemplars=True,
)
OVERHEAD = Family(
    "submeter_overhead_seconds",
    "What the relay itself added to a call.",
    BY_CALL,
    14,
    OVERHEAD_BUCKETS_S,
    NANO,
    exemplars=True,
)
INPUT_SIZE = Family(
    "gen_ai_client_inference_operation_input_tokens", "Input tokens of a call.", ("endpoint",), 3, TOKEN_BUCKETS
)
OUTPUT_SIZE = Family(
    "gen_ai_client_inference_operation_output_tokens", "Output tokens of a call.", ("endpoint",), 3, TOKEN_BUCKETS
)

BOUNDED = ("model", "model_requested", "team", "app", "prompt", "prompt_version")
"""Labels whose values may be shown as ``other``."""
OTHER_VALUES = Family(
    "submeter_other_values",
    "Values of a bounded label that were shown as `other`, by label.",
    ("label",),
    len(BOUNDED) + 1,
    begins=_each(*BOUNDED),
)

HISTOGRAMS = (TTFT, TPOT, DURATION, OVERHEAD, INPUT_SIZE, OUTPUT_SIZE)
_LABELLED = (
    *(CALLS, UPSTREAM_CALLS, TOKENS, USAGE_INPUT, USAGE_OUTPUT, USAGE_CACHE_READ, USAGE_CACHE_WRITE, USAGE_REASONING),
    *(COST, PROMPT_COST, SAVED, INDETERMINATE, INDETERMINATE_CALLS, UNPRICED, UNMETERED, REFUSED, PASSED, CACHE),
    *(MODEL_CHANGES, OTHER_VALUES),
)
_OPEN = tuple(family for family in (*_LABELLED, *HISTOGRAMS) if not family.begins)
OTHER_SERIES = Family(
    "submeter_other_series",
    "Samples that were counted under `other` because the combinations of their metric are used up.",
    ("metric",),
    len(_OPEN) + 1,
    begins=_each(*(family.shown for family in _OPEN)),
)
COUNTERS = (*_LABELLED, OTHER_SERIES, LEDGER_ROWS, LEDGER_FAILURES, DAMAGE, QUARANTINED)

LATENCY_MODELS = 5
LATENCY_MEASURES = ("ttft", "tpot")


class GaugeFamily(NamedTuple):
    """A gauge with labels: as many lines as there are values now, at most ``most``."""

    name: str
    help: str
    labels: Labels
    most: int


LATENCY_CHANGE = GaugeFamily(
    "submeter_latency_change_ratio",
    "Median latency of this week's calls / last week's of like lengths; measure: ttft or tpot.",
    ("model", "measure"),
    LATENCY_MODELS * len(LATENCY_MEASURES),
)
LATENCY_REGRESSED = GaugeFamily(
    "submeter_latency_regressed",
    "1 where that is a regression: over 5 %, with a 95 % interval above 1.",
    ("model", "measure"),
    LATENCY_MODELS * len(LATENCY_MEASURES),
)

REPORT_WORKLOADS = 3
REPORT_OPTIONS = ("buy", "rent", "build")
BY_WORKLOAD = ("workload",)
REPORT_WEEK = GaugeFamily(
    "submeter_report_week_timestamp_seconds", "When the week of the newest weekly report began, Unix time.", (), 1
)
REPORT_RECORDED = GaugeFamily("submeter_report_recorded_usd", "What that week cost, as recorded.", (), 1)
REPORT_OPTION = GaugeFamily(
    "submeter_report_option_usd",
    "That week's cost of the costliest workloads by option: buy (the cheapest at an API), rent or build.",
    ("workload", "option"),
    REPORT_WORKLOADS * len(REPORT_OPTIONS),
)
REPORT_VERDICT = GaugeFamily(
    "submeter_report_verdict",
    f"The verdict that stands: {', '.join(f'{at} {name}' for at, name in enumerate(VERDICTS))}.",
    BY_WORKLOAD,
    REPORT_WORKLOADS,
)
REPORT_P_BUILD = GaugeFamily(
    "submeter_report_build_cheaper_probability", "That building costs less.", BY_WORKLOAD, REPORT_WORKLOADS
)
REPORT_BREAK_EVEN = GaugeFamily(
    "submeter_report_break_even_volume_ratio",
    "The nearest multiple of that week's volume at which building and the cheapest other option cost the same.",
    BY_WORKLOAD,
    REPORT_WORKLOADS,
)
REPORT_GAUGES = (
    *(REPORT_WEEK, REPORT_RECORDED, REPORT_OPTION),
    *(REPORT_VERDICT, REPORT_P_BUILD, REPORT_BREAK_EVEN),
)
LABELLED_GAUGES = (LATENCY_CHANGE, LATENCY_REGRESSED, *REPORT_GAUGES)

SERVED_NAMES = Family("served_names", "", ("pair", "served"), 4000)
"""Not shown, but kept as the counters are: which names of models were met (``served``)."""
KEPT = (*COUNTERS, *HISTOGRAMS, SERVED_NAMES)


class State(NamedTuple):
    """How things are now."""

    in_flight: int = 0
    lag_s: float = 0.0
    lag_bytes: int = 0
    relays: int = 0
    database_up: bool = True
    price_snapshot_age_s: float | None = None


class Gauge(NamedTuple):
    name: str
    help: str
    value: float | None
    labels: tuple[tuple[str, str], ...] = ()


def gauges(state: State, labels_capped: int, workers: int, version: str) -> list[Gauge]:
    """All but those that count the lines of this very scrape."""
    return [
        Gauge("submeter_calls_in_flight", "Calls that have begun and not ended.", state.in_flight),
        Gauge("submeter_journal_lag_seconds", "Age of the oldest record that is not in the ledger.", state.lag_s),
        Gauge("submeter_journal_lag_bytes", "Journal bytes that have not been read.", state.lag_bytes),
        Gauge("submeter_relays", "Relays whose journal is being written.", state.relays),
        Gauge("submeter_workers", "Relays that there should be.", workers),
        Gauge("submeter_database_up", "1 while the ledger can be written.", float(state.database_up)),
        Gauge("submeter_price_snapshot_age_seconds", "Age of the price snapshot.", state.price_snapshot_age_s),
        Gauge("submeter_labels_capped", "Labels that show some values as `other`.", labels_capped),
        Gauge("submeter_series_limit", "The most sample lines that there can be.", SERIES_LIMIT),
        Gauge("submeter_build_info", "The version that runs.", 1, (("version", version),)),
    ]
