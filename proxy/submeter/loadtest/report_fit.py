"""Pictures of the model of latency: its line, the calls around it, and the band that holds most of them."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import attrgetter
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from submeter.loadtest import report_calls, report_words
from submeter.loadtest.report_calls import Call
from submeter.loadtest.report_charts import Axis, Chart, Series, absent, levels, rounded, thinned
from submeter.loadtest.report_result import Latency

BAND = 0.95
BAND_LEVELS, BAND_CALLS = 8, 20
"""The band is as wide as the calls of similar length spread: so many groups, so many calls in each."""


class Length(msgspec.Struct, frozen=True):
    """What a picture runs over."""

    name: str
    title: str
    noun: str
    of: Callable[[Call], int | None]
    predicted_ms: Callable[[Latency, float, float], float]
    """(fit, this length, the other)."""


OUTPUT = Length(
    "fit-output",
    "End to end over output length",
    "output token",
    attrgetter("output_tokens"),
    lambda fit, over, other: fit.predicted_ms(other, over),
)
INPUT = Length(
    "fit-input",
    "End to end over input length",
    "uncached input token",
    attrgetter("uncached_input_tokens"),
    lambda fit, over, other: fit.predicted_ms(over, other),
)


class Spread(NamedTuple):
    """Between which ratios to the fit most of the calls of about this length lie."""

    over: float
    low: float
    high: float


def fit_charts(fit: Latency | None, calls: Sequence[Call]) -> list[Chart]:
    """The model against output and against input length, each at the median of the other length."""
    return [_fit_chart(fit, calls, OUTPUT, INPUT), _fit_chart(fit, calls, INPUT, OUTPUT)]


def _fit_chart(fit: Latency | None, calls: Sequence[Call], length: Length, other: Length) -> Chart:
    if fit is None:
        return absent(length.name, length.title, "There is no fit to draw.")
    found = [
        (over, beside, call.e2e_ms)
        for call in calls
        if (over := length.of(call)) is not None and (beside := other.of(call)) is not None and call.e2e_ms is not None
    ]
    if not found:
        return absent(length.name, length.title, "No answered call has both lengths and an end.")
    if len({over for over, _, _ in found}) == 1:
        return absent(length.name, length.title, f"Every call had {report_words.plural(found[0][0], length.noun)}.")
    still = median(beside for _, beside, _ in found)
    expected = [length.predicted_ms(fit, over, beside) for over, beside, _ in found]
    ratios = sorted((over, e2e / ms) for (over, _, e2e), ms in zip(found, expected, strict=True) if ms > 0)
    if not ratios:
        return absent(length.name, length.title, "The fit gives no call a time above 0.")
    where = f"At {report_words.plural(round(still), other.noun)}, the median."
    return _drawn(length, where, ratios, lambda over: length.predicted_ms(fit, over, still))


def _drawn(length: Length, where: str, ratios: Sequence[tuple[float, float]], line: Callable[[float], float]) -> Chart:
    """Each call keeps its ratio to the fit when it is moved to the median of the other length."""
    band = _band(ratios)
    shown = thinned(ratios)
    spreads = [_at(over, band) for over, _ in shown]
    lines = [line(over) for over, _ in shown]
    share = f"{100 * BAND:.0f} % of the calls"
    return Chart(
        length.name,
        length.title,
        f"{where} The band holds {share}"
        + (f"; {len(shown):,} of {len(ratios):,} are drawn." if len(shown) < len(ratios) else "."),
        x=Axis(f"{length.noun}s", "tokens"),
        y=Axis("end to end", "ms"),
        columns=[
            [over for over, _ in shown],
            rounded(at * spread.high for at, spread in zip(lines, spreads, strict=True)),
            rounded(at * spread.low for at, spread in zip(lines, spreads, strict=True)),
            rounded(at * ratio for at, (_, ratio) in zip(lines, shown, strict=True)),
            rounded(lines),
        ],
        series=[
            Series(f"{share}, to", "edge"),
            Series(f"{share}, from", "edge"),
            Series("call", "points", colour=1),
            Series("fit", "line", colour=0),
        ],
    )


def _band(ratios: Sequence[tuple[float, float]]) -> list[Spread]:
    apart = (ratios[-1][0] - ratios[0][0]) / (2 * BAND_LEVELS)
    groups = levels(ratios, BAND_LEVELS, BAND_CALLS, apart)
    if len(groups) > 1 and len(groups[-1]) < BAND_CALLS:
        groups[-2:] = [groups[-2] + groups[-1]]
    return [_spread(group) for group in groups]


def _spread(group: Sequence[tuple[float, float]]) -> Spread:
    ordered = sorted(ratio for _, ratio in group)
    low, high = (report_calls.quantile(ordered, share) for share in ((1 - BAND) / 2, (1 + BAND) / 2))
    return Spread(fmean(over for over, _ in group), low, high)


def _at(over: float, band: Sequence[Spread]) -> Spread:
    """The band at a length: straight between the groups, level outside of them."""
    right = bisect_left(band, over, key=attrgetter("over"))
    if right == 0 or right == len(band):
        return band[min(right, len(band) - 1)]
    before, after = band[right - 1], band[right]
    share = (over - before.over) / (after.over - before.over)
    low, high = (a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True))
    return Spread(over, low, high)
