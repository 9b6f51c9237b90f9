"""What Prometheus reads. Money and tokens are integers in here and become numbers only when they are written out, so
that nothing drifts; figures come from settled calls only, so that a call is counted once and whole.

Series are bounded whatever clients send: labels come from ``LabelSets``, and each family has a fixed number of label
combinations, beyond which further ones are counted under ``other``. A series is one sample line.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from submeter.core.latency import tpot_ns
from submeter.core.record import TOKEN_CLASSES, CallRow, Tally
from submeter.meter.labels import OTHER, LabelSets

NANO = 1_000_000_000
TTFT_BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TPOT_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
DURATION_BUCKETS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
OVERHEAD_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)

Labels = tuple[str, ...]


class Family(NamedTuple):
    """A metric: its name without the suffixes of its kind, what it tells, its labels, how many combinations of them
    (the last one is for all others)."""

    name: str
    help: str
    labels: Labels
    most: int
    buckets_s: tuple[float, ...] = ()
    per_unit: int = 1
    """What one unit of the exposed number is in the integers that are kept."""


CALLS = Family(
    "submeter_calls", "Settled calls, cache hits among them.", ("model", "endpoint", "outcome", "cache"), 250
)
TOKENS = Family("submeter_tokens", "Tokens of calls that went upstream, each in one class.", ("model", "class"), 250)
COST = Family(
    "submeter_cost_usd",
    "Cost of settled calls whose price is known; state: exact or estimated.",
    ("model", "team", "app", "state"),
    150,
    per_unit=NANO,
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
)
UNPRICED = Family("submeter_unpriced_calls", "Calls whose model or tier has no price: cost unknown.", ("upstream",), 20)
UNMETERED = Family(
    "submeter_unmetered_calls", "Calls that were served but not metered; reason: path or journal.", ("reason",), 3
)
REFUSED = Family("submeter_refused_calls", "Requests that the relay answered itself, by error code.", ("code",), 40)
PASSED = Family("submeter_passed_requests", "Requests passed through without a row, by path.", ("path",), 30)
CACHE = Family("submeter_cache_events", "What became of the relays' questions to the cache, by event.", ("event",), 8)
DAMAGE = Family("submeter_journal_damage", "Damaged stretches found in the journal.", (), 1)
QUARANTINED = Family("submeter_quarantined_rows", "Rows that the database refused; kept in quarantine.", (), 1)

BY_CALL = ("model", "endpoint", "stream")
TTFT = Family(
    "gen_ai_server_time_to_first_token_seconds", "First token of a streamed answer.", BY_CALL, 12, TTFT_BUCKETS_S, NANO
)
TPOT = Family(
    "gen_ai_server_time_per_output_token_seconds",
    "(end to end - TTFT) / (output tokens - 1) of streamed answers.",
    BY_CALL,
    12,
    TPOT_BUCKETS_S,
    NANO,
)
DURATION = Family(
    "gen_ai_client_inference_duration_seconds",
    "End to end: request body complete to the last upstream byte.",
    BY_CALL,
    14,
    DURATION_BUCKETS_S,
    NANO,
)
OVERHEAD = Family(
    "submeter_overhead_seconds", "What the relay itself added to a call.", BY_CALL, 14, OVERHEAD_BUCKETS_S, NANO
)

COUNTERS = (
    CALLS,
    TOKENS,
    COST,
    PROMPT_COST,
    SAVED,
    INDETERMINATE,
    UNPRICED,
    UNMETERED,
    REFUSED,
    PASSED,
    CACHE,
    DAMAGE,
    QUARANTINED,
)
HISTOGRAMS = (TTFT, TPOT, DURATION, OVERHEAD)


class State(NamedTuple):
    """Gauges: how things are now."""

    in_flight: int = 0
    lag_s: float = 0.0
    lag_bytes: int = 0
    relays: int = 0
    database_up: bool = True
    price_snapshot_age_s: float | None = None


class _Histogram:
    """Counts per bucket, not cumulative, and the sum, in integers."""

    def __init__(self, buckets_s: Sequence[float]) -> None:
        self.bounds_ns = [round(bound * NANO) for bound in buckets_s]
        self.counts = [0] * (len(buckets_s) + 1)
        self.sum_ns = 0

    def observe(self, value_ns: int) -> None:
        at = next((at for at, bound in enumerate(self.bounds_ns) if value_ns <= bound), len(self.bounds_ns))
        self.counts[at] += 1
        self.sum_ns += value_ns


class Metrics(Collector):
    """Fed by the shipping thread, read by Prometheus from another."""

    def __init__(self, labels: LabelSets) -> None:
        self.labels = labels
        self.state = State()
        self._lock = threading.Lock()
        self._counters: dict[str, dict[Labels, int]] = {family.name: {} for family in COUNTERS}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {family.name: {} for family in HISTOGRAMS}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    # -- in --------------------------------------------------------------------------------------------------

    def settled(self, row: CallRow) -> None:
        """Count one row. Hits count as calls and savings; tokens, money and durations are those of upstream calls."""
        with self._lock:
            model = OTHER if row.price_model is None else self.labels.value("model", row.price_model, ours=True)
            endpoint = row.endpoint if row.cost_state != "unmetered" else "unmetered"
            self._add(CALLS, (model, endpoint, row.outcome, row.cache))
            if row.saved_nano_usd is not None:
                self._add(SAVED, (model,), row.saved_nano_usd)
            if row.cost_state == "unmetered":
                self._add(UNMETERED, ("path",))
            elif row.cache in ("miss", "bypass"):
                self._count_upstream_call(row, model)

    def tally(self, tally: Tally) -> None:
        """Counts that relays keep of what leaves no row."""
        with self._lock:
            if tally.kind == "refused":
                self._add(REFUSED, (tally.label,), tally.count)
            elif tally.kind == "passed":
                self._add(PASSED, (tally.label,), tally.count)
            elif tally.kind == "unmetered":
                self._add(UNMETERED, ("journal",), tally.count)
            elif tally.kind == "cache":
                self._add(CACHE, (tally.label,), tally.count)

    def damaged(self, count: int) -> None:
        with self._lock:
            self._add(DAMAGE, (), count)

    def quarantined(self, count: int) -> None:
        with self._lock:
            self._add(QUARANTINED, (), count)

    def _count_upstream_call(self, row: CallRow, model: str) -> None:
        if row.tokens is not None:
            for name in TOKEN_CLASSES:
                count = getattr(row.tokens, name)
                if count:
                    self._add(TOKENS, (model, name), count)
        if row.cost_nano_usd is not None:
            team, app = self.labels.value("team", row.team), self.labels.value("app", row.app)
            self._add(COST, (model, team, app, row.cost_state), row.cost_nano_usd)
            prompt = self.labels.value("prompt", row.prompt)
            version = self.labels.value("prompt_version", row.prompt_version)
            self._add(PROMPT_COST, (prompt, version), row.cost_nano_usd)
        elif row.cost_state == "indeterminate":
            self._add(INDETERMINATE, ("low",), row.cost_low_nano_usd or 0)
            self._add(INDETERMINATE, ("high",), row.cost_high_nano_usd or 0)
        elif row.cost_state == "unpriced":
            self._add(UNPRICED, (row.upstream,))
        self._observe_durations(row, model)

    def _observe_durations(self, row: CallRow, model: str) -> None:
        labels = (model, row.endpoint, "true" if row.stream else "false")
        for family, value_ns in (
            (TTFT, row.ttft_ns),
            (DURATION, row.e2e_ns),
            (OVERHEAD, row.overhead_ns),
            (TPOT, tpot_ns(row.e2e_ns, row.ttft_ns, row.output_tokens, stream=row.stream)),
        ):
            if value_ns is not None:
                self._observe(family, labels, value_ns)

    def _add(self, family: Family, labels: Labels, count: int = 1) -> None:
        samples = self._counters[family.name]
        labels = _bounded(family, labels, samples)
        samples[labels] = samples.get(labels, 0) + count

    def _observe(self, family: Family, labels: Labels, value_ns: int) -> None:
        samples = self._histograms[family.name]
        labels = _bounded(family, labels, samples)
        histogram = samples.get(labels)
        if histogram is None:
            histogram = samples[labels] = _Histogram(family.buckets_s)
        histogram.observe(value_ns)

    # -- out -------------------------------------------------------------------------------------------------

    def exposition(self) -> tuple[bytes, str]:
        """(body, content type) of /metrics. Takes milliseconds: not for an event loop."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            metrics = [*self._collect_counters(), *self._collect_histograms(), *self._collect_gauges()]
        yield from metrics

    def _collect_counters(self) -> Iterator[Metric]:
        for family in COUNTERS:
            metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
            for labels, count in self._counters[family.name].items():
                metric.add_metric(labels, count / family.per_unit)
            yield metric

    def _collect_histograms(self) -> Iterator[Metric]:
        for family in HISTOGRAMS:
            metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            bounds = [*map(repr, family.buckets_s), "+Inf"]
            for labels, histogram in self._histograms[family.name].items():
                running = 0
                buckets = []
                for bound, count in zip(bounds, histogram.counts, strict=True):
                    running += count
                    buckets.append((bound, running))
                metric.add_metric(labels, buckets, histogram.sum_ns / NANO)
            yield metric

    def _collect_gauges(self) -> Iterator[Metric]:
        state = self.state
        gauges: list[tuple[str, str, float | None]] = [
            ("submeter_calls_in_flight", "Calls that have begun and not ended.", state.in_flight),
            ("submeter_journal_lag_seconds", "Age of the oldest record that is not in the ledger.", state.lag_s),
            ("submeter_journal_lag_bytes", "Journal bytes that have not been read.", state.lag_bytes),
            ("submeter_relays", "Relays whose journal is being written.", state.relays),
            ("submeter_database_up", "1 while the ledger can be written.", float(state.database_up)),
            ("submeter_price_snapshot_age_seconds", "Age of the price snapshot.", state.price_snapshot_age_s),
            ("submeter_labels_capped", "Labels that show some values as `other`.", len(self.labels.capped)),
        ]
        for name, help_text, value in gauges:
            if value is not None:
                yield GaugeMetricFamily(name, help_text, value=value)


def _bounded(family: Family, labels: Labels, samples: dict[Labels, int] | dict[Labels, _Histogram]) -> Labels:
    """A combination that may be shown: a known one, a new one while there is room, else the one for all others."""
    if labels in samples or len(samples) < family.most - 1:
        return labels
    return (OTHER,) * len(labels)
