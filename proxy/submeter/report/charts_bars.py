"""The plots made of rows: options with their bands, the tornado of factors, the waterfall of a difference."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate

from submeter.report import render_words as say
from submeter.report.charts import (
    WIDTH,
    Drawing,
    Mark,
    Scale,
    absent,
    bar,
    dot,
    grid_down,
    linear,
    rule,
    shortened,
    ticks_across,
    words,
)
from submeter.report.document import Band, Choice, Explained, Swing, WorkloadReport

ROW = 29.0
"""Of an interval: its words over its band."""
THIN_ROW = 22.0
NAMES, FIGURES = 140.0, 80.0
"""Room for the names on the left of bars and for the figures on their right."""
BOTTOM = 22.0
MOST_SWINGS = 8
LETTERS = 20
"""Of a name that has ``NAMES`` of room."""
WORDS = 52
"""Of a name that has a row of its own."""


# -- intervals ------------------------------------------------------------------------------------------------------


def best_choices(workload: WorkloadReport) -> list[Choice]:
    """Of each kind the one whose figure the workload carries; none of a kind that has no figure."""
    best = {"buy": workload.buy_best_usd, "rent": workload.rent_open_usd, "build": workload.build_usd}
    found = []
    for kind, usd in best.items():
        priced = [choice for choice in workload.choices if choice.kind == kind and choice.week_usd is not None]
        if usd is not None and priced:
            found.append(min(priced, key=lambda choice: abs((choice.week_usd or 0) - usd)))
    return found


def intervals(name: str, workload: WorkloadReport) -> Drawing:
    """USD a week of what was paid and of the best of each kind, each with its 95 % band."""
    rows: list[tuple[str, str, Decimal, Band | None]] = [
        ("buy", "as recorded", workload.buy_usd, workload.buy_band),
        *(
            (choice.kind, choice.name, choice.week_usd, choice.band)
            for choice in best_choices(workload)
            if choice.week_usd is not None
        ),
    ]
    ends = [float(end) for _, _, usd, band in rows for end in (usd, *(() if band is None else (band.low, band.high)))]
    right, bottom = WIDTH - 24.0, 4 + ROW * len(rows)
    scale = linear(ends, 8, right)
    marks = [*grid_down(scale, 4, bottom), *ticks_across(scale, [say.usd_tick(tick) for tick in scale.ticks], bottom)]
    for at, (kind, label, usd, band) in enumerate(rows):
        marks += _interval(4 + ROW * at, kind, label, usd, band, scale)
    return Drawing(
        name,
        f"USD a week: {workload.name}",
        "; ".join(f"{kind}, {label}: {say.usd_short(usd)}, 95 % {say.band(band)}" for kind, label, usd, band in rows),
        height=bottom + BOTTOM,
        marks=tuple(marks),
        head=("Option", "", "USD a week", "95 % band"),
        rows=tuple((kind, label, say.usd_short(usd), say.band(band)) for kind, label, usd, band in rows),
    )


def _interval(top: float, kind: str, label: str, usd: Decimal, band: Band | None, scale: Scale) -> list[Mark]:
    told = f"{label}: {say.usd_short(usd)}, 95 % {say.band(band)}"
    middle = top + 21
    marks = [
        words(8, top + 13, shortened(f"{kind.upper()} {label}", WORDS), "name"),
        words(WIDTH - 24, top + 13, say.usd_short(usd), "value end"),
    ]
    if band is not None:
        marks.append(bar(scale(float(band.low)), scale(float(band.high)), middle - 3.5, 7, f"band {kind}", told))
    return [*marks, dot(scale(float(usd)), middle, kind, told, 4.5)]


# -- tornado --------------------------------------------------------------------------------------------------------


def tornado(name: str, swings: Sequence[Swing], now_usd: Decimal | None) -> Drawing:
    """Build less the cheapest other, in USD a week, as each factor goes from its low to its high; widest first."""
    title = "Sensitivity"
    ordered = sorted(swings, key=lambda swing: (-abs(swing.at_high - swing.at_low), swing.factor))
    if not ordered:
        return absent(name, title, "Without a figure for BUILD there is nothing to vary.")
    drawn = ordered[:MOST_SWINGS]
    now = [] if now_usd is None else [float(now_usd)]
    left, right, bottom = NAMES, WIDTH - 12.0, 6 + THIN_ROW * len(drawn)
    scale = linear([*now, *(float(end) for swing in drawn for end in (swing.at_low, swing.at_high))], left, right, 4)
    marks = [*grid_down(scale, 2, bottom), *ticks_across(scale, [say.usd_tick(tick) for tick in scale.ticks], bottom)]
    middle = scale(now[0]) if now else None
    for at, swing in enumerate(drawn):
        marks += _swing(4 + THIN_ROW * at, swing, scale, middle)
    marks.append(rule(scale(0), 2, scale(0), bottom, "zero", "the same cost"))
    return Drawing(
        name,
        title,
        "Build less the cheapest other, USD a week, as one factor goes from its low to its high: left of 0 build is "
        f"cheaper. The widest is {ordered[0].factor}"
        + (f"; {len(ordered) - len(drawn)} more in the table." if len(ordered) > len(drawn) else "."),
        height=bottom + BOTTOM,
        marks=tuple(marks),
        legend=(("low", "at its low"), ("high", "at its high")),
        head=("Factor", "Low", "High", "At low", "At high"),
        rows=tuple(
            (swing.factor, swing.low, swing.high, say.usd_signed(swing.at_low), say.usd_signed(swing.at_high))
            for swing in ordered
        ),
    )


def _swing(top: float, swing: Swing, scale: Scale, middle: float | None) -> list[Mark]:
    """From the figure as it is to both ends; without it, from end to end."""
    low, high = scale(float(swing.at_low)), scale(float(swing.at_high))
    low_from, high_from = (high, high) if middle is None else (middle, middle)
    told = [f"{swing.factor} {value}: {say.usd_signed(usd)} a week"
            for value, usd in ((swing.low, swing.at_low), (swing.high, swing.at_high))]  # fmt: skip
    height = THIN_ROW - 8
    return [
        words(NAMES - 8, top + 12, shortened(swing.factor, LETTERS), "name end", swing.factor),
        bar(low_from, low, top, height, "bar low", told[0]),
        bar(high_from, high, top, height, "bar high", told[1]),
    ]


# -- waterfall ------------------------------------------------------------------------------------------------------


def waterfall(name: str, explained: Explained | None) -> Drawing:
    """From last week's figure to this week's, by the part of each factor; their sum is the difference."""
    title = "What changed"
    if explained is None:
        return absent(name, title, "No report of the week before: there is no difference to explain.")
    parts = [part for part in explained.parts if part.usd]
    levels = list(accumulate((part.usd for part in parts), initial=explained.before_usd))
    right, bottom = WIDTH - FIGURES, 6 + THIN_ROW * (len(parts) + 2)
    scale = linear([float(level) for level in (*levels, explained.after_usd)], NAMES, right, 4)
    marks = [*grid_down(scale, 2, bottom), *ticks_across(scale, [say.usd_tick(tick) for tick in scale.ticks], bottom)]
    rows = [("before", explained.before_usd, Decimal(0), explained.before_usd, "whole")]
    rows += [(part.factor, part.usd, level, level + part.usd, "up" if part.usd > 0 else "down")
             for part, level in zip(parts, levels, strict=False)]  # fmt: skip
    rows.append(("this week", explained.after_usd, Decimal(0), explained.after_usd, "whole"))
    for at, (label, usd, start, end, kind) in enumerate(rows):
        marks += _fall(4 + THIN_ROW * at, label, usd, scale(float(start)), scale(float(end)), kind)
    difference = explained.after_usd - explained.before_usd
    return Drawing(
        name,
        title,
        f"{explained.figure}: {say.usd_short(explained.before_usd)} to {say.usd_short(explained.after_usd)}, "
        f"{say.usd_signed(difference)}, which is the sum of the parts.",
        height=bottom + BOTTOM,
        marks=tuple(marks),
        head=("Factor", "USD a week"),
        rows=(
            ("before", say.usd(explained.before_usd)),
            *((part.factor, say.usd(part.usd)) for part in explained.parts),
            ("this week", say.usd(explained.after_usd)),
        ),
    )


def _fall(top: float, label: str, usd: Decimal, start: float, end: float, kind: str) -> list[Mark]:
    text = say.usd_short(usd) if kind == "whole" else say.usd_signed(usd)
    return [
        words(NAMES - 8, top + 12, shortened(label, LETTERS), f"name end {kind}"),
        bar(start, end, top, THIN_ROW - 8, f"bar {kind}", f"{label}: {text}"),
        words(WIDTH - 14, top + 12, text, f"value end {kind}"),
    ]
