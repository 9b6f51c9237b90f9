"""What calls count for on /metrics. Money and tokens are integers in here and become numbers only when they are written
out, so that nothing drifts; figures come from settled calls only, so that a call is counted once and whole.

families   what there is, how it is labelled, how much of it there may be
labels     bounded sets of label values            served       the names that models were served under
weekly     the newest report, buy or build         regressions  this week's latency against last week's
series     the integers, and what is kept of them  exposition   what Prometheus reads
"""

import threading
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import astuple
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from submeter import __version__
from submeter.core.latency import tpot_ns
from submeter.core.record import TOKEN_CLASSES, CallRow, Tally, TokenClasses
from submeter.meter import exposition, weekly
from submeter.meter.families import (
    CACHE,
    CALLS,
    COST,
    COUNTERS,
    DAMAGE,
    DURATION,
    HISTOGRAMS,
    INDETERMINATE,
    INDETERMINATE_CALLS,
    INPUT_SIZE,
    LATENCY_CHANGE,
    LATENCY_REGRESSED,
    LEDGER_FAILURES,
    LEDGER_ROWS,
    MODEL_CHANGES,
    OTHER_VALUES,
    OUTPUT_SIZE,
    OVERHEAD,
    PASSED,
    PROMPT_COST,
    QUARANTINED,
    REFUSED,
    SAVED,
    SERVED_NAMES,
    TOKENS,
    TPOT,
    TTFT,
    UNMETERED,
    UNPRICED,
    UPSTREAM_CALLS,
    USAGE_CACHE_READ,
    USAGE_CACHE_WRITE,
    USAGE_INPUT,
    USAGE_OUTPUT,
    USAGE_REASONING,
    Family,
    State,
    gauges,
)
from submeter.meter.labels import OTHER, LabelSets
from submeter.meter.regressions import ModelChange
from submeter.meter.series import Exemplar, SeriesTable
from submeter.meter.served import ServedNames, hashed
from submeter.meter.weekly import WeeklyReport
from submeter.store.ledger import CounterKey

__all__ = ["COUNTERS", "HISTOGRAMS", "Family", "Metrics", "State"]

TALLIES = {"refused": REFUSED, "passed": PASSED, "cache": CACHE}


class Metrics(Collector):
    """Fed by the shipping thread, read by Prometheus from another."""

    def __init__(
        self,
        labels: LabelSets,
        *,
        upstreams: Iterable[str] = (),
        workers: int = 1,
        kept: Mapping[CounterKey, int] | None = None,
    ) -> None:
        """``kept``: the counters as an earlier meter of this unit has committed them."""
        self.labels = labels
        self.state = State()
        self.latency_changes: tuple[ModelChange, ...] = ()
        """Against last week, as the last look has found them."""
        self.weekly_report: WeeklyReport | None = None
        self._workers = workers
        self._lock = threading.Lock()
        names = [(upstream,) for upstream in upstreams]
        self._series = SeriesTable({family.name: names for family in (UNPRICED, INDETERMINATE_CALLS)})
        self._series.restore(kept or {})
        self._served = ServedNames()
        for series in self._series.of(SERVED_NAMES):
            self._served.restore(*series.labels)

    # -- in --------------------------------------------------------------------------------------------------

    def settled(self, row: CallRow) -> None:
        """Count one row. Hits count as calls and savings; tokens, money and durations are those of upstream calls."""
        with self._lock:
            model = self._model(row)
            endpoint = row.endpoint if row.cost_state != "unmetered" else "unmetered"
            self._series.add(CALLS, (model, endpoint, row.outcome, row.cache))
            if row.saved_nano_usd is not None:
                self._series.add(SAVED, (model,), row.saved_nano_usd)
            if row.cache in ("miss", "bypass"):
                self._series.add(UPSTREAM_CALLS, (row.upstream, row.outcome, _status(row)))
            if row.cost_state == "unmetered":
                self._series.add(UNMETERED, ("path",))
            elif row.cache in ("miss", "bypass"):
                self._count_upstream_call(row, model)

    def tally(self, tally: Tally) -> None:
        """Counts that relays keep of what leaves no row."""
        with self._lock:
            if tally.kind == "unmetered":
                self._series.add(UNMETERED, ("journal",), tally.count)
            else:
                self._series.add(TALLIES[tally.kind], (tally.label,), tally.count)

    def damaged(self, count: int) -> None:
        self._count(DAMAGE, count)

    def quarantined(self, count: int) -> None:
        self._count(QUARANTINED, count)

    def shipping_failed(self) -> None:
        self._count(LEDGER_FAILURES, 1)

    def _count(self, family: Family, count: int) -> None:
        with self._lock:
            self._series.add(family, (), count)

    def _model(self, row: CallRow) -> str:
        if row.price_model is not None:
            return self._label("model", row.price_model, ours=True)
        if row.cost_state == "unpriced":  # else nothing was billed, and so there is no price to be named after
            self._series.add(OTHER_VALUES, ("model",))
        return OTHER

    def _label(self, label: str, said: str | None, *, ours: bool = False) -> str:
        shown = self.labels.value(label, said, ours=ours)
        if shown == OTHER and said != OTHER:
            self._series.add(OTHER_VALUES, (label,))
        return shown

    def _count_upstream_call(self, row: CallRow, model: str) -> None:
        if row.tokens is not None:
            self._count_tokens(row, model, row.tokens)
        if row.cost_nano_usd is not None:
            self._count_cost(row, model, row.cost_nano_usd)
        elif row.cost_state == "indeterminate":
            self._series.add(INDETERMINATE_CALLS, (row.upstream,))
            self._series.add(INDETERMINATE, ("low",), row.cost_low_nano_usd or 0)
            self._series.add(INDETERMINATE, ("high",), row.cost_high_nano_usd or 0)
        elif row.cost_state == "unpriced":
            self._series.add(UNPRICED, (row.upstream,))
        if row.model_served is not None and row.model_requested is not None:
            self._meet(row, row.model_requested, row.model_served)
        self._observe_durations(row, model)

    def _count_tokens(self, row: CallRow, model: str, tokens: TokenClasses) -> None:
        for name, count in zip(TOKEN_CLASSES, astuple(tokens), strict=True):
            if count:
                self._series.add(TOKENS, (model, name), count)
        for family, total in (
            (USAGE_INPUT, row.input_tokens),
            (USAGE_OUTPUT, row.output_tokens),
            (USAGE_CACHE_READ, row.cached_input_tokens),
            (USAGE_CACHE_WRITE, row.cache_write_tokens),
            (USAGE_REASONING, row.reasoning_tokens),
        ):
            if total is not None:
                self._series.add(family, (model,), total)
        if row.input_tokens is not None:
            self._series.observe(INPUT_SIZE, (row.endpoint,), row.input_tokens)
        if row.output_tokens is not None:
            self._series.observe(OUTPUT_SIZE, (row.endpoint,), row.output_tokens)

    def _count_cost(self, row: CallRow, model: str, cost_nano_usd: int) -> None:
        team, app = self._label("team", row.team), self._label("app", row.app)
        series = self._series.add(COST, (model, team, app, row.cost_state), cost_nano_usd)
        series.latest[0] = Exemplar(row.call_id, cost_nano_usd, _ended_at_ns(row))
        prompt = self._label("prompt", row.prompt)
        version = self._label("prompt_version", row.prompt_version)
        self._series.add(PROMPT_COST, (prompt, version), cost_nano_usd)

    def _meet(self, row: CallRow, requested: str, served: str) -> None:
        pair, name = hashed(row.upstream, requested), hashed(served)
        remember, change = self._served.meet(pair, name, priced=row.price_model is not None)
        if remember:
            self._series.add(SERVED_NAMES, (pair, name))
        if change:
            self._series.add(MODEL_CHANGES, (self._label("model_requested", requested),))

    def _observe_durations(self, row: CallRow, model: str) -> None:
        labels = (model, row.endpoint, "true" if row.stream else "false")
        ended_at_ns = _ended_at_ns(row)
        for family, value_ns in (
            (TTFT, row.ttft_ns),
            (DURATION, row.e2e_ns),
            (OVERHEAD, row.overhead_ns),
            (TPOT, tpot_ns(row.e2e_ns, row.ttft_ns, row.output_tokens, stream=row.stream)),
        ):
            if value_ns is not None:
                series, bucket = self._series.observe(family, labels, value_ns)
                series.latest[bucket] = Exemplar(row.call_id, value_ns, ended_at_ns)

    # -- kept ------------------------------------------------------------------------------------------------

    @property
    def has_changed(self) -> bool:
        """Something was counted that is not committed."""
        return self._series.has_changed

    def changes(self, shipping: int = 0) -> dict[CounterKey, int]:
        """To be committed together with the rows that were counted, of which so many are shipped."""
        with self._lock:
            changes = self._series.changes()
            if shipping:
                changes[(LEDGER_ROWS.name, ())] = self._series.find(LEDGER_ROWS, ()).cells[0] + shipping
            return changes

    def committed(self, shipped: int = 0) -> None:
        """What ``changes`` gave is in the ledger. Rows are shown as shipped from now on, and not before."""
        with self._lock:
            self._series.add(LEDGER_ROWS, (), shipped)
            self._series.committed()

    # -- out -------------------------------------------------------------------------------------------------

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """(body, content type) of /metrics in the format that the header ``Accept`` asks for. Not for an event loop."""
        return exposition.encode(self, accept)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        shown = gauges(self.state, len(self.labels.capped), self._workers, __version__)
        labelled = {**_of_changes(self.latency_changes), **weekly.gauges(self.weekly_report)}
        with self._lock:
            metrics = exposition.collect(self._series, shown, labelled)
        yield from metrics


def _of_changes(found: Iterable[ModelChange]) -> exposition.LabelledValues:
    changes = {(each.model, change.measure): change for each in found for change in each.measures}
    return {
        LATENCY_CHANGE: {of: change.effect for of, change in changes.items() if change.effect is not None},
        LATENCY_REGRESSED: {of: float(change.verdict == "regressed") for of, change in changes.items()},
    }


def _status(row: CallRow) -> str:
    """Where no byte of an answer came, the status is the relay's own."""
    if row.status is None or (row.ttfb_ns is None and row.outcome != "ok"):
        return "none"
    return "429" if row.status == 429 else f"{row.status // 100}xx"


def _ended_at_ns(row: CallRow) -> int:
    return row.started_at_ns + (row.e2e_ns or 0)
