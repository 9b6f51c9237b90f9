"""What plots are made of: scales with round ticks, and marks in the view box of an inline SVG.

A ``Drawing`` is data: the page's template turns it into SVG and escapes every word of it. Colours and dashes are
classes of the stylesheet, the same for each kind of option in every plot.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import Literal, NamedTuple

WIDTH, HEIGHT = 460.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 14.0, 12.0, 36.0
"""Room for the words of the axes."""
LOG_FROM = 20
"""A scale is logarithmic where its ends are further apart than this ratio."""
TABLE_ROWS = 48
"""A plot's table has no more; a long curve is thinned."""


class Mark(NamedTuple):
    """One element. ``title`` is what a pointer over it tells."""

    tag: Literal["path", "line", "rect", "circle", "text"]
    kind: str
    """Classes of the stylesheet."""
    at: dict[str, float | str]
    text: str = ""
    title: str = ""


class Drawing(NamedTuple):
    """``missing`` says why there is nothing to draw; ``rows`` are what is drawn, as a table."""

    name: str
    title: str
    description: str
    width: float = WIDTH
    height: float = HEIGHT
    marks: tuple[Mark, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    """Pairs of a class and its words."""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    missing: str | None = None


class Scale(NamedTuple):
    """From values of ``low`` to ``high`` to places of ``start`` to ``end``; what is beyond stays at the edge."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def __call__(self, value: float) -> float:
        if self.log:
            share = (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 2)


def linear(values: Iterable[float], start: float, end: float, most: int = 5) -> Scale:
    """From a round value below all of them and 0 to a round one above them, with at most ``most`` + 1 steps."""
    known = [value for value in values if isfinite(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    if low == high:
        high = low + 1
    step = _round_step((high - low) / most)
    first, last = floor(low / step), ceil(high / step)
    ticks = tuple(_times(step, at) for at in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], start, end, ticks)


def logarithmic(values: Iterable[float], start: float, end: float, most: int = 7) -> Scale:
    """Of positive values; ticks at 1, 2 and 5 of each decade, or at the decades alone where those are too many."""
    known = [value for value in values if isfinite(value) and value > 0] or [1.0]
    low, high = min(known) / 1.05, max(known) * 1.05
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = tuple(tick for power in decades for step in steps if low <= (tick := _times(10.0**power, step)) <= high)
        if len(ticks) <= most:
            break
    return Scale(low, high, start, end, ticks[:: max(1, ceil(len(ticks) / most))], log=True)


def fitting(values: Iterable[float], start: float, end: float, most: int = 6) -> Scale:
    """Logarithmic where all are positive and far apart."""
    known = [value for value in values if isfinite(value)]
    apart = bool(known) and min(known) > 0 and max(known) > LOG_FROM * min(known)
    return logarithmic(known, start, end, most + 1) if apart else linear(known, start, end, most)


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, not below ``least``."""
    power = 10.0 ** floor(log10(least))
    return next((_times(power, step) for step in (1, 2, 5) if step * power >= least), _times(power, 10))


def _times(step: float, number: int) -> float:
    """Without what a binary fraction leaves at the end: 3 × 0.1 is 0.3."""
    return float(f"{step * number:.12g}")


# -- marks ----------------------------------------------------------------------------------------------------------


def line(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> Mark:
    """Through places, not values."""
    path = "".join(f"{'L' if at else 'M'}{x:g} {y:g}" for at, (x, y) in enumerate(points))
    return Mark("path", f"line {kind}", {"d": path}, title=title)


def area(points: Sequence[tuple[float, float]], base: float, kind: str) -> Mark:
    path = "".join(f"L{x:g} {y:g}" for x, y in points)
    return Mark("path", f"area {kind}", {"d": f"M{points[0][0]:g} {base:g}{path}L{points[-1][0]:g} {base:g}Z"})


def stepped(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A value holds until the next."""
    if not points:
        return []
    return [points[0], *(place for (_, y), (x2, y2) in pairwise(points) for place in ((x2, y), (x2, y2)))]


def rule(x1: float, y1: float, x2: float, y2: float, kind: str, title: str = "") -> Mark:
    return Mark("line", kind, {"x1": x1, "y1": y1, "x2": x2, "y2": y2}, title=title)


def bar(x1: float, x2: float, y: float, height: float, kind: str, title: str = "") -> Mark:
    """Between two places, whichever is first, and never too thin to see."""
    left, width = min(x1, x2), max(1.5, abs(x2 - x1))
    at: dict[str, float | str] = {"x": round(left, 2), "y": round(y, 2), "width": round(width, 2), "height": height}
    return Mark("rect", kind, at | {"rx": min(2.0, height / 2)}, title=title)


def dot(x: float, y: float, kind: str, title: str = "", radius: float = 3.5) -> Mark:
    return Mark("circle", f"dot {kind}", {"cx": x, "cy": y, "r": radius}, title=title)


def words(x: float, y: float, text: str, kind: str = "tick", title: str = "") -> Mark:
    return Mark("text", kind, {"x": round(x, 2), "y": round(y, 2)}, text, title)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def ticks_across(scale: Scale, texts: Sequence[str], bottom: float, label: str = "") -> list[Mark]:
    """Words under the plot, and what they measure below them."""
    marks = [words(scale(tick), bottom + 14, text) for tick, text in zip(scale.ticks, texts, strict=True)]
    middle = (scale.start + scale.end) / 2
    return [*marks, words(middle, bottom + 29, label, "tick label")] if label else marks


def ticks_up(scale: Scale, texts: Sequence[str], left: float, right: float) -> list[Mark]:
    """Lines across the plot with their words on the left."""
    marks = []
    for tick, text in zip(scale.ticks, texts, strict=True):
        marks += [
            rule(left, scale(tick), right, scale(tick), "grid"),
            words(left - 6, scale(tick) + 4, text, "tick end"),
        ]
    return marks


def grid_down(scale: Scale, top: float, bottom: float) -> list[Mark]:
    return [rule(scale(tick), top, scale(tick), bottom, "grid") for tick in scale.ticks]


def thinned(rows: Sequence[tuple[str, ...]], most: int = TABLE_ROWS) -> tuple[tuple[str, ...], ...]:
    """One of every so many, and always the last."""
    if len(rows) <= most:
        return tuple(rows)
    return (*rows[: -1 : ceil((len(rows) - 1) / (most - 1))], rows[-1])


def absent(name: str, title: str, why: str) -> Drawing:
    return Drawing(name, title, why, missing=why)
