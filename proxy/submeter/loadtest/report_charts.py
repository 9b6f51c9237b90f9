"""The charts that uPlot draws, as data: columns, series, axes. What cannot be drawn says why."""

from collections.abc import Callable, Iterable, Sequence
from math import nan
from statistics import fmean
from typing import Literal, TypeVar

import msgspec

from submeter.loadtest import knee, report_calls, report_words
from submeter.loadtest.knee import Knee, NoKnee
from submeter.loadtest.report_calls import Call
from submeter.loadtest.report_result import Result, Step

_T = TypeVar("_T")

MOST_POINTS = 3000
COLOURS, DASHES = 8, 4
"""What ``report.css`` and ``report.js`` can tell apart."""
MOST_CURVES = 24
CURVE_STEPS = 400
MOST_LEVELS = 24
LOG_FROM = 20
"""A scale is logarithmic where its ends are further apart than this ratio."""


class Axis(msgspec.Struct, frozen=True):
    label: str
    unit: Literal["tokens", "ms", "share", "calls", "per_s"]
    log: bool = False


class Series(msgspec.Struct, frozen=True):
    """``path`` joins its points in the order of ``Chart.order``; ``edge`` bounds the band of its neighbour."""

    label: str
    draw: Literal["points", "line", "step", "edge", "path"]
    colour: int = 0
    dash: int = 0


class Mark(msgspec.Struct, frozen=True):
    """A vertical line at ``x``."""

    x: float
    label: str


class Chart(msgspec.Struct, frozen=True):
    """``columns`` is x, ascending, then one per series; ``None`` is no point."""

    name: str
    title: str
    description: str
    missing: str | None = None
    x: Axis | None = None
    y: Axis | None = None
    columns: Sequence[Sequence[float | None]] = ()
    series: Sequence[Series] = ()
    order: Sequence[int] = ()
    mark: Mark | None = None


def absent(name: str, title: str, why: str) -> Chart:
    return Chart(name, title, why, why)


def thinned(items: Sequence[_T], most: int = MOST_POINTS) -> Sequence[_T]:
    """One of every so many, so that the file stays small."""
    return items[:: -(-len(items) // most)] if items else items


def rounded(values: Iterable[float | None], places: int = 3) -> list[float | None]:
    return [None if value is None else round(value, places) for value in values]


def levels(
    measured: Sequence[tuple[float, float]], most: int, least: int = 1, apart: float = 0.0
) -> list[list[tuple[float, float]]]:
    """Pairs, ascending, in groups of neighbours: equal ones together, at least so many in each but the last.

    Groups begin more than ``apart`` from each other.
    """
    enough = max(least, len(measured) / most)
    groups: list[list[tuple[float, float]]] = []
    for one in measured:
        if not groups or (
            len(groups[-1]) >= enough and one[0] > groups[-1][-1][0] and one[0] - groups[-1][0][0] > apart
        ):
            groups.append([])
        groups[-1].append(one)
    return groups


# -- time per output token ------------------------------------------------------------------------------------------


def tpot_chart(calls: Sequence[Call]) -> Chart:
    """Median and p95 of TPOT against the calls that were in flight."""
    name, title = "tpot-concurrency", "TPOT over concurrency"
    measured = sorted((call.concurrency, call.tpot_ms) for call in calls if call.tpot_ms is not None)
    if not measured:
        return absent(name, title, "No call streamed two output tokens or more: there is no time per token.")
    if measured[0][0] == measured[-1][0]:
        return absent(name, title, f"Every call had {measured[0][0]:,} in flight: only one concurrency was tried.")
    groups = levels(measured, MOST_LEVELS)
    columns: list[list[float | None]] = [
        rounded(fmean(concurrency for concurrency, _ in level) for level in groups),
        *(
            rounded(report_calls.quantile(sorted(tpot for _, tpot in level), share) for level in groups)
            for share in (0.5, 0.95)
        ),
    ]
    return Chart(
        name,
        title,
        f"Over {len(groups)} levels of calls in flight, at the start of each call, itself included.",
        x=Axis("calls in flight", "calls"),
        y=Axis("TPOT", "ms"),
        columns=columns,
        series=[Series("p50", "line", colour=0), Series("p95", "line", colour=1)],
    )


# -- throughput -----------------------------------------------------------------------------------------------------


def find_knee(steps: Sequence[Step]) -> Knee | NoKnee:
    """Latency has no say in where the knee is."""
    return knee.knee([knee.Step(step.rate_per_s, step.throughput_per_s, nan, nan, nan) for step in steps])


def throughput_chart(result: Result) -> Chart | None:
    """Latency against the calls that were answered each second, step by step; ``None`` where the load had no steps."""
    name, title = "throughput", "Latency over throughput"
    if not result.steps:
        return None
    known = [step for step in result.steps if step.p50_ms is not None and step.p95_ms is not None]
    if len(known) < 2:
        return absent(name, title, "Fewer than two steps of the load had answers: there is no curve to draw.")
    ascending = sorted(range(len(known)), key=lambda at: known[at].throughput_per_s)
    ordered = [known[at] for at in ascending]
    found = find_knee(result.steps)
    words = found.reason if isinstance(found, NoKnee) else f"Knee at {report_words.rate(found.rate_per_s)}"
    return Chart(
        name,
        title,
        f"{len(known)} steps of load, joined in their order. {words[:1].upper()}{words[1:]}.",
        x=Axis("calls answered per second", "per_s"),
        y=Axis("end to end", "ms"),
        columns=[
            rounded(step.throughput_per_s for step in ordered),
            rounded(step.p50_ms for step in ordered),
            rounded(step.p95_ms for step in ordered),
        ],
        series=[Series("p50", "path", colour=0), Series("p95", "path", colour=1)],
        order=sorted(range(len(ascending)), key=lambda at: ascending[at]),
        mark=None if isinstance(found, NoKnee) else Mark(found.rate_per_s, words.lower()),
    )


# -- distributions --------------------------------------------------------------------------------------------------


def cdf(
    name: str,
    title: str,
    calls: Sequence[Call],
    value: Callable[[Call], float | None],
    *,
    colour_by: Literal["input", "output"],
) -> Chart:
    """The share of a setting's answered calls that took at most so long, a curve per setting."""
    groups = {
        setting: found
        for setting, group in report_calls.by_setting(calls).items()
        if (found := report_calls.present(group, value))
    }
    if not groups:
        return absent(name, title, "No answered call has this figure.")
    kept = sorted(groups, key=lambda setting: -len(groups[setting]))[:MOST_CURVES]
    curves = _curves(kept, 0 if colour_by == "input" else 1)
    steps = _steps([groups[curve.label] for curve in curves])
    number = sum(len(groups[setting]) for setting in kept)
    return Chart(
        name,
        title,
        f"{report_words.plural(number, 'call')} of {report_words.plural(len(kept), 'setting')}"
        + (f"; the other {len(groups) - len(kept)} settings had fewer calls." if len(kept) < len(groups) else "."),
        x=Axis("time", "ms", log=steps[0] > 0 and steps[-1] > LOG_FROM * steps[0]),
        y=Axis("share of calls", "share"),
        columns=[rounded(steps), *(rounded(_shares(groups[curve.label], steps), 5) for curve in curves)],
        series=[msgspec.structs.replace(curve, label=report_words.visible(curve.label)) for curve in curves],
    )


def _curves(settings: Sequence[str], axis: Literal[0, 1]) -> list[Series]:
    """A colour per length on one axis and a dash per length on the other, where names tell lengths and both suffice."""
    lengths = {setting: found for setting in settings if (found := report_calls.lengths(setting)) is not None}
    coloured, dashed = (sorted({found[at] for found in lengths.values()}) for at in (axis, 1 - axis))
    pairs = set(lengths.values())
    if len(pairs) < len(settings) or len(coloured) > COLOURS or len(dashed) > DASHES:
        return [
            Series(setting, "step", at % COLOURS, at // COLOURS % DASHES) for at, setting in enumerate(sorted(settings))
        ]
    ordered = sorted(settings, key=lambda setting: (lengths[setting][axis], lengths[setting][1 - axis]))
    return [
        Series(setting, "step", coloured.index(lengths[setting][axis]), dashed.index(lengths[setting][1 - axis]))
        for setting in ordered
    ]


def _steps(groups: Sequence[Sequence[float]]) -> list[float]:
    """Where the curves are told: every value that was measured, or quantiles of them all."""
    values = sorted({value for group in groups for value in group})
    if len(values) <= CURVE_STEPS:
        return values
    pooled = sorted(value for group in groups for value in group)
    return sorted({report_calls.quantile(pooled, at / CURVE_STEPS) for at in range(CURVE_STEPS + 1)})


def _shares(ordered: Sequence[float], steps: Sequence[float]) -> list[float | None]:
    """``None`` before a curve's first step and after its last, so that it starts and ends where its calls do."""
    shares: list[float | None] = []
    at = 0
    for step in steps:
        before = at
        while at < len(ordered) and ordered[at] <= step:
            at += 1
        over = before == len(ordered)
        shares.append(None if at == 0 or over else at / len(ordered))
    return shares
