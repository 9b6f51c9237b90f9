"""The plots with two axes: cost over volume, demand over the week, the trend of weeks, latencies as shares."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

from submeter.report import render_words as say
from submeter.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    LOG_FROM,
    RIGHT,
    TOP,
    WIDTH,
    Drawing,
    Mark,
    Scale,
    absent,
    area,
    dot,
    fitting,
    grid_down,
    line,
    linear,
    logarithmic,
    rule,
    stepped,
    thinned,
    ticks_across,
    ticks_up,
    words,
)
from submeter.report.document import Curve, Fleet, Proof, Staircase, TrendPoint, VerdictName

PLOT_BOTTOM, PLOT_RIGHT = HEIGHT - BOTTOM, WIDTH - RIGHT
HOURS, DAY = 168, 24
STRAIGHT = 12
"""Pieces of a straight line on a logarithmic scale."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
KINDS: dict[VerdictName, str] = {
    "BUY": "buy",
    "RENT-OPEN": "rent",
    "BUILD": "build",
    "BUILD IF QUALITY HOLDS": "build",
    "TOO CLOSE": "close",
    "NOT COMPARABLE": "close",
}
"""The colour of a verdict is that of its option."""

Points = list[tuple[float, float]]


def points_of(curve: Curve | None) -> Points:
    """Those that are numbers; ``None`` has none."""
    if curve is None:
        return []
    return [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if isfinite(x) and isfinite(y)]


def _placed(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> Points:
    return [(x(at), y(value)) for at, value in points]


def _frame(x: Scale, x_texts: Sequence[str], y: Scale, y_texts: Sequence[str], x_label: str) -> list[Mark]:
    return [*ticks_up(y, y_texts, LEFT, PLOT_RIGHT), *ticks_across(x, x_texts, PLOT_BOTTOM, x_label)]


# -- cost over volume -----------------------------------------------------------------------------------------------


def staircase(name: str, found: Staircase | None, flips_at: Sequence[float] = ()) -> Drawing:
    """USD a week against multiples of the volume, with each multiple at which the verdict turns."""
    title = "Cost over volume"
    curves = [] if found is None else _staircase_curves(found)
    if not any(points for _, _, points in curves):
        return absent(name, title, "No fleet was planned: there is no staircase to draw.")
    x = fitting((at for _, _, points in curves for at, _ in points), LEFT, PLOT_RIGHT)
    y = fitting((value for _, _, points in curves for _, value in points), PLOT_BOTTOM, TOP, 5)
    marks = _frame(x, [f"{tick:g}×" for tick in x.ticks], y, [say.usd_tick(tick) for tick in y.ticks], "volume")
    marks += [_upright(x(1), "now", "now")] if x.low <= 1 <= x.high else []
    marks += [_upright(x(at), "flip", f"flips at {say.multiple(at)}") for at in flips_at if x.low <= at <= x.high]
    for kind, label, points in curves:
        marks += [line(_placed(_straight(points), x, y), kind, label)] if points else []
        marks += [dot(px, py, kind.partition(" ")[0], label, 2.5) for px, py in _placed(points, x, y)]
    turned = say.listed(say.multiple(at) for at in flips_at) if flips_at else "no multiple shown"
    return Drawing(
        name,
        title,
        f"USD a week against multiples of this week's volume; dots are planned. Build and the rest meet at {turned}.",
        marks=tuple(marks),
        legend=tuple((kind, label) for kind, label, points in curves if points),
        head=("Volume", *(label for _, label, points in curves if points)),
        rows=_side_by_side([points for _, _, points in curves if points]),
    )


def _staircase_curves(found: Staircase) -> list[tuple[str, str, Points]]:
    return [
        ("buy", "buy", points_of(found.buy)),
        ("rent", "rent open", points_of(found.rent)),
        ("build", "build, more callers", points_of(found.build_independent)),
        ("build dashed", "build, the same callers more often", points_of(found.build_correlated)),
    ]


def _straight(points: Points) -> Points:
    """With points between, so that what is straight over the volume is drawn so where the scale is logarithmic."""
    parts = [part / STRAIGHT for part in range(STRAIGHT)]
    between = [
        (x1 + (x2 - x1) * part, y1 + (y2 - y1) * part)
        for (x1, y1), (x2, y2) in pairwise(points)
        for part in (part**2 for part in parts)
    ]
    return [*between, *points[-1:]]


def _side_by_side(curves: Sequence[Points]) -> tuple[tuple[str, ...], ...]:
    known = [dict(points) for points in curves]
    rows = [
        (f"{at:g}×", *(say.usd_tick(each[at]) if at in each else say.MISSING for each in known))
        for at in sorted({at for each in known for at in each})
    ]
    return thinned(rows)


def _upright(x: float, kind: str, title: str) -> Mark:
    return rule(x, TOP, x, PLOT_BOTTOM, kind, title)


# -- demand over the week -------------------------------------------------------------------------------------------


def hourly(name: str, fleet: Fleet | None) -> Drawing:
    """Replicas that each hour of the week needs by averages, and those that serve."""
    title = "Hourly demand and capacity"
    demand = [] if fleet is None else points_of(fleet.hourly_demand)
    if fleet is None or not demand:
        return absent(name, title, "No fleet was planned: there is no capacity to hold demand against.")
    capacity = points_of(fleet.hourly_capacity)
    x = Scale(0, HOURS, LEFT, PLOT_RIGHT, tuple(float(day * DAY) for day in range(len(DAYS))))
    y = linear((value for _, value in (*demand, *capacity)), PLOT_BOTTOM, TOP)
    marks = [*ticks_up(y, [f"{tick:g}" for tick in y.ticks], LEFT, PLOT_RIGHT), *grid_down(x, TOP, PLOT_BOTTOM)]
    marks += [words(x(day * DAY + DAY / 2), PLOT_BOTTOM + 14, text) for day, text in enumerate(DAYS)]
    marks.append(words((LEFT + PLOT_RIGHT) / 2, PLOT_BOTTOM + 29, "hour of the week, UTC", "tick label"))
    marks.append(area(stepped(_placed(_to_the_end(demand), x, y)), PLOT_BOTTOM, "demand"))
    marks += [line(stepped(_placed(_to_the_end(capacity), x, y)), "build", "capacity")] if capacity else []
    most_at, most = max(demand, key=lambda point: point[1])
    return Drawing(
        name,
        title,
        f"Replicas over the week. By averages the busiest hour needs {say.figure(most)} "
        f"({DAYS[int(most_at) // DAY % 7]} {int(most_at) % DAY:02d}:00); the fleet serves with {fleet.replicas:,}, "
        f"busy {say.percent(fleet.utilisation)} of the time.",
        marks=tuple(marks),
        legend=(("demand", "demand by averages"), ("build", f"capacity, {fleet.policy}")),
        head=("Hour", "Demand", "Capacity"),
        rows=tuple(
            (f"{DAYS[int(at) // DAY % 7]} {int(at) % DAY:02d}:00", say.figure(value), say.figure(_at(capacity, at)))
            for at, value in demand
        ),
    )


def _to_the_end(points: Points) -> Points:
    """The last value holds until the week is over."""
    return [*points, (float(HOURS), points[-1][1])]


def _at(points: Points, at: float) -> float | None:
    """The value that holds then."""
    return next((value for since, value in reversed(points) if since <= at), None)


# -- the trend ------------------------------------------------------------------------------------------------------

STRIP = 8.0
"""The height of the row of verdicts."""


def trend(name: str, weeks: Sequence[TrendPoint]) -> Drawing:
    """USD a week of the options over the last weeks, with each week's verdict below."""
    title = "The last weeks"
    if len(weeks) < 2:
        return absent(name, title, "One week was reported: a trend needs two.")
    columns = (
        ("buy", "buy", [float(week.buy_usd) for week in weeks]),
        ("rent", "rent open", [None if week.rent_open_usd is None else float(week.rent_open_usd) for week in weeks]),
        ("build", "build", [None if week.build_usd is None else float(week.build_usd) for week in weeks]),
    )
    bottom = PLOT_BOTTOM - STRIP - 4
    x = Scale(0, len(weeks) - 1, LEFT + 10, PLOT_RIGHT - 10, tuple(float(at) for at in range(len(weeks))))
    y = linear((value for _, _, values in columns for value in values if value is not None), bottom, TOP)
    marks = ticks_up(y, [say.usd_tick(tick) for tick in y.ticks], LEFT, PLOT_RIGHT)
    every = 1 if len(weeks) <= 8 else 2
    marks += [
        words(x(at), PLOT_BOTTOM + 14, week.week.partition("-")[2] or week.week)
        for at, week in enumerate(weeks)
        if (len(weeks) - 1 - at) % every == 0
    ]
    marks += [_verdict(x(at), week) for at, week in enumerate(weeks) if week.verdict is not None]
    for kind, label, values in columns:
        for run in _runs(values):
            path = [(x(at), y(value)) for at, value in run]
            marks += [line(path, kind), *(dot(px, py, kind, f"{label}: {weeks[int(at)].week}")
                                          for (px, py), (at, _) in zip(path, run, strict=True))]  # fmt: skip
    return Drawing(
        name,
        title,
        f"USD of each of {len(weeks)} weeks, {weeks[0].week} to {weeks[-1].week}; the row below has their verdicts.",
        marks=tuple(marks),
        legend=tuple((kind, label) for kind, label, values in columns if any(value is not None for value in values)),
        head=("Week", "Calls", "Buy", "Rent open", "Build", "Verdict"),
        rows=tuple(
            (week.week, say.count(week.calls), say.usd(week.buy_usd), say.usd_short(week.rent_open_usd),
             say.usd_short(week.build_usd), week.verdict or say.MISSING)
            for week in weeks
        ),
    )  # fmt: skip


def _verdict(x: float, week: TrendPoint) -> Mark:
    at: dict[str, float | str] = {"x": x - 8, "y": PLOT_BOTTOM - STRIP, "width": 16.0, "height": STRIP, "rx": 2.0}
    kind = "close" if week.verdict is None else KINDS[week.verdict]
    return Mark("rect", f"bar {kind}", at, title=f"{week.week}: {week.verdict}")


def _runs(values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Without a line over the weeks that have no value."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in enumerate(values):
        if value is not None:
            runs[-1].append((float(at), value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


# -- latencies ------------------------------------------------------------------------------------------------------

P95 = 0.95


def cdf(name: str, proof: Proof | None) -> Drawing:
    """Shares of calls whose first token came within a time: simulated, recorded, and the objective."""
    title = "First token, simulated and recorded"
    simulated = [] if proof is None else points_of(proof.ttft_cdf_simulated)
    if proof is None or not simulated:
        return absent(name, title, "No fleet was planned: there are no simulated times.")
    recorded = points_of(proof.ttft_cdf_recorded)
    times = [at for at, _ in (*simulated, *recorded)] + [proof.ttft_p95_ms]
    positive = [at for at in times if at > 0]
    apart = max(times) > LOG_FROM * min(positive, default=1.0)
    x = (logarithmic if apart else linear)(positive, LEFT, PLOT_RIGHT)
    y = Scale(0, 1, PLOT_BOTTOM, TOP, (0.0, 0.25, 0.5, 0.75, 1.0))
    marks = _frame(x, [_time(tick) for tick in x.ticks], y, [say.percent(tick) for tick in y.ticks], "TTFT")
    objective = f"objective: p95 within {say.ms(proof.ttft_p95_ms)}"
    marks += [_upright(x(proof.ttft_p95_ms), "flip", objective), rule(LEFT, y(P95), PLOT_RIGHT, y(P95), "now", "p95")]
    curves = [("build", "simulated fleet", simulated), ("buy", "recorded", recorded)]
    marks += [line(_placed(points, x, y), kind, label) for kind, label, points in curves if points]
    return Drawing(
        name,
        title,
        f"Share of calls against time to first token. Dashed: the {objective}, and 95 %.",
        marks=tuple(marks),
        legend=tuple((kind, label) for kind, label, points in curves if points),
        head=("Curve", "TTFT", "Share of calls"),
        rows=tuple(
            (label, say.ms(at), say.percent(share, 1))
            for _, label, points in curves
            for at, share in _few(points)
        ),
    )  # fmt: skip


def _time(value_ms: float) -> str:
    return f"{value_ms / 1000:g} s" if value_ms >= 1000 else f"{value_ms:g} ms"


def _few(points: Points) -> Points:
    """The points next to each twentieth of the share."""
    marked = [at for at, (before, after) in enumerate(pairwise(points)) if int(20 * before[1]) != int(20 * after[1])]
    return [points[at + 1] for at in marked] or points[:1]
