"""What the report says in words: what to beware of, the run in five figures, how far to trust it."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from submeter.loadtest import report_calls, report_result, report_words
from submeter.loadtest.fit import Residuals
from submeter.loadtest.report_calls import Call
from submeter.loadtest.report_result import Latency, Result, Setting

if TYPE_CHECKING:
    from submeter.loadtest.samples import Sample

MOST_ERRORS = 3
GENERATOR_LIMITED = (
    "The load generator itself was at its limit, so that times include its own delays. "
    "Lower the rate or the users, or run it on a machine of its own"
)


TERMS = {
    "a": "fixed",
    "b": "per uncached input token",
    "cached": "per cached input token",
    "at_1": "for a call alone",
    "per_concurrency": "per further call in flight",
    "per_output_token": "per output token more than their mean",
}
"""What the coefficients of the parts' models mean."""


class Notice(NamedTuple):
    level: str
    title: str
    text: str


class Tile(NamedTuple):
    label: str
    figure: str
    note: str


class Check(NamedTuple):
    title: str
    text: str


class TpotRow(NamedTuple):
    """Percent are of the scale that all rows share."""

    setting: str
    p50: float
    p95: float | None
    p50_percent: float
    p95_percent: float


def notices(result: Result) -> list[Notice]:
    """The worst first."""
    found = [] if result.note is None else [Notice("note", "", result.note)]
    if result.generator_limited:
        found.append(Notice("problem", "Generator limited", f"{GENERATOR_LIMITED}."))
    found += [Notice("warning", "Warning", text) for text in result.warnings]
    told = [] if result.fit is None else [text for text in result.fit.warnings if text not in result.warnings]
    if told:
        found.append(Notice("warning", "Fit", f"{'; '.join(told)}."))
    return found


def why_no_fit(result: Result, calls: Sequence[Call]) -> str:
    """One line, with the remedy."""
    if result.fit_missing is not None:
        return f"No model of latency: {result.fit_missing}"
    if not calls:
        return "No model of latency: no call was answered."
    inputs = {call.uncached_input_tokens for call in calls} - {None}
    outputs = {call.output_tokens for call in calls} - {None}
    if not inputs or not outputs:
        return "No model of latency: the answers did not tell their token counts."
    if len(inputs) == 1 or len(outputs) == 1:
        return "No model of latency: input and output length must both vary. The scenario matrix varies both."
    return "No model of latency: the calls do not determine one. The scenario matrix crosses the lengths."


def tiles(result: Result, samples: Sequence["Sample"], calls: Sequence[Call]) -> list[Tile]:
    errors = sum(not report_calls.ended_well(sample) for sample in samples)
    tokens = sum((sample.input_tokens or 0) + (sample.output_tokens or 0) for sample in samples)
    return [
        Tile("Calls", report_words.count(len(samples)), report_words.plural(len(calls), "answer")),
        Tile("Errors", report_words.count(errors), f"{report_words.share(errors, len(samples))} of calls"),
        _percentiles("First token, median", report_calls.present(calls, lambda call: call.ttft_ms)),
        _percentiles("End to end, median", report_calls.present(calls, lambda call: call.e2e_ms)),
        Tile("Cost of the test", report_words.usd(result.cost_usd), f"{tokens:,} tokens"),
    ]


def _percentiles(label: str, ordered: Sequence[float]) -> Tile:
    if not ordered:
        return Tile(label, report_words.MISSING, "not measured")
    p50, p95 = (report_words.duration(report_calls.quantile(ordered, share)) for share in (0.5, 0.95))
    return Tile(label, p50, f"p95 {p95}")


def tpot_rows(settings: Sequence[Setting]) -> list[TpotRow]:
    """One for each setting whose time per token is known."""
    known = [
        (setting.setting, setting.tpot_ms.p50, setting.tpot_ms.p95)
        for setting in settings
        if setting.tpot_ms is not None and setting.tpot_ms.p50 is not None
    ]
    highest = max((max(p50, p95 or 0.0) for _, p50, p95 in known), default=0.0)
    return [
        TpotRow(setting, p50, p95, _percent(p50, highest), _percent(p50 if p95 is None else p95, highest))
        for setting, p50, p95 in known
    ]


def _percent(value: float, highest: float) -> float:
    return 0.0 if highest <= 0 else round(97 * value / highest, 2)


def checks(result: Result, samples: Sequence["Sample"]) -> list[Check]:
    """What a reader asks before believing the figures above."""
    found = [
        Check("Coordinated omission", result.coordinated_omission or _omission(samples)),
        Check(
            "Load generator", "It was the limit: see above." if result.generator_limited else "It was not the limit."
        ),
    ]
    found += [] if result.fit is None else _fit_checks(result.fit)
    found.append(Check("Cost", _cost(result)))
    errors = _errors(samples)
    return [*found, Check("Errors", errors)] if errors else found


def _omission(samples: Sequence["Sample"]) -> str:
    """Ref.: G. Tene, "How NOT to Measure Latency", on load that waits for the system that it measures."""
    delays_ms = [
        (sample.started_ns - sample.scheduled_ns) / 1e6 for sample in samples if sample.scheduled_ns is not None
    ]
    if delays_ms:
        late = report_words.duration(median(delays_ms))
        return f"Open loop: calls had times of their own to start at, and started {late} after them (median)."
    if samples:
        return "Closed loop: a call waits for an earlier one to end, so that a slow server is asked less often."
    return "Not known: there was no call."


def _fit_checks(fit: Latency) -> list[Check]:
    """The models of the parts of latency, and what the residuals of the whole look like."""
    texts = {"TTFT": _terms(fit.ttft), "TPOT": _terms(fit.tpot), "Residuals": _residuals(fit.residuals)}
    return [Check(title, text) for title, text in texts.items() if text]


def _terms(model: object) -> str:
    """``351 ms (343 to 360) fixed + 0.0203 ms (0.0185 to 0.0221) per uncached input token``."""
    return " + ".join(
        f"{report_words.central(interval)} ms ({report_words.between(interval)}) {TERMS.get(name, name)}"
        for name, interval in report_result.intervals(model).items()
    )


def _residuals(left: Residuals | None) -> str:
    if left is None:
        return ""
    return (
        f"Standard deviation {report_words.duration(left.sd_ms)}, {100 * left.outliers:.1f} % of calls far out. "
        f"Rank correlation with the time of the call {left.drift:+.2f} (drift), of their size with the prediction "
        f"{left.spread_by_length:+.2f} (long answers scatter more)."
    ).replace("-", "−")


def _cost(result: Result) -> str:
    if result.cost_usd is None:
        return "Not known."
    return f"${result.cost_usd}" + (f", from {result.cost_source}." if result.cost_source else ".")


def _errors(samples: Sequence["Sample"]) -> str:
    failed = Counter(
        sample.error or f"status {sample.status}" for sample in samples if not report_calls.ended_well(sample)
    )
    worst = [f"{number:,} × {text[:200]}" for text, number in failed.most_common(MOST_ERRORS)]
    more = len(failed) - len(worst)
    return "; ".join(worst) + (f"; and {report_words.plural(more, 'other kind')}" if more > 0 else "")
