"""Measured points of one's own servers against the model: how much faster or slower they really are.

One factor for each engine, GPU, model and precision, never one for all: what fits one model makes others worse. A point
is a run of many equal requests, all there at the start or, with a ``concurrency``, so many at once; the model runs it
the same way. What was measured over what is predicted is the point's factor (for times, the other way round), and the
geometric mean of its points' is the group's.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec
import numpy as np

from submeter.errors import UsageError
from submeter.report.points import Group, Point
from submeter.report.simulate import simulate

LEAST_POINTS = 3
BELIEVABLE = (0.3, 3.0)
"""Beyond, a column means something else or the run was another: nobody's engine is that far from a roofline."""
SATURATED_REQUESTS = 2_000
WAVES = 8
"""Requests of a run per one of its ``concurrency``, so that its start and end weigh little."""


class Run(NamedTuple):
    """What the model says of a point."""

    output_tokens_per_s: float
    ttft_s: float
    """Mean, from when the request was sent."""
    tpot_s: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """``speed``: true ÷ predicted throughput, for ``catalog.Server.speed``."""

    group: Group
    speed: float
    spread: float
    """Geometric standard deviation of the points: two in three are within ``speed`` times and by this."""
    factors: tuple[float, ...]
    """Of the points, in the order of the file."""

    @property
    def evidence(self) -> str:
        measured = f"{len(self.factors)} points on {self.group.engine or 'an engine not named'}"
        ends = f"{min(self.factors):.2f} to {max(self.factors):.2f}"
        return f"{measured}, measured ÷ predicted {ends}, spread × {self.spread:.2f}"


def calibrate(points: Iterable[Point]) -> tuple[Calibration, ...]:
    """By engine, GPU, model and precision. Raises ``UsageError`` for too few points and for unbelievable factors."""
    groups: dict[Group, list[Point]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    if not groups:
        raise UsageError(f"no points: a line each, of at least {LEAST_POINTS} runs of the same server")
    return tuple(_calibrated(group, groups[group]) for group in sorted(groups))


def factor(point: Point) -> float:
    """The geometric mean over what was measured at it."""
    run, overhead_s = predicted(point), point.server.host_overhead_s
    ratios: list[float] = []
    if point.output_tokens_per_s is not None:
        ratios.append(point.output_tokens_per_s / run.output_tokens_per_s)
    if point.ttft_s is not None:
        if point.ttft_s <= overhead_s:
            raise UsageError(
                f"line {point.line}: ttft_ms {point.ttft_s * 1000:g} is less than what a host takes besides the GPU "
                f"({overhead_s * 1000:g} ms): leave it out, or give it in milliseconds"
            )
        ratios.append((run.ttft_s - overhead_s) / (point.ttft_s - overhead_s))
    if point.tpot_s is not None:
        ratios.append(run.tpot_s / point.tpot_s)
    return math.exp(fmean(map(math.log, ratios)))


def predicted(point: Point) -> Run:
    """With as many slots as are there at once, each that is free is taken by the next, as a client in a loop does."""
    at_once = point.concurrency
    requests = SATURATED_REQUESTS if at_once is None else WAVES * at_once
    slots = point.server.slots if at_once is None else at_once
    inputs, outputs = (np.full(requests, tokens) for tokens in (point.input_tokens, point.output_tokens))
    server = msgspec.structs.replace(point.server, slots=slots)
    served = simulate(np.zeros(requests), inputs, outputs, server, 1)
    overhead_s = server.host_overhead_s
    freed_s = np.sort(served.done_s) - overhead_s
    sent_s = np.zeros(requests)
    if at_once is not None:
        sent_s[at_once:] = freed_s[:-at_once]
    return Run(
        output_tokens_per_s=requests * point.output_tokens / float(freed_s[-1]),
        ttft_s=float(np.mean(served.ttft_s - sent_s)),
        tpot_s=float(np.mean(served.tpot_s)),
    )


def alternatives(calibrations: Sequence[Calibration], measured_on: date) -> str:
    """Lines for ``build:`` in alternatives.yaml."""
    return "".join(line + "\n" for each in calibrations for line in _lines(each, measured_on))


def _calibrated(group: Group, points: Sequence[Point]) -> Calibration:
    named = " ".join(filter(None, group))
    if len(points) < LEAST_POINTS:
        raise UsageError(
            f"{named}: {len(points)} points, but a factor needs at least {LEAST_POINTS}: measure other lengths or "
            "another concurrency"
        )
    factors = tuple(map(factor, points))
    logs = [math.log(each) for each in factors]
    speed = math.exp(fmean(logs))
    if not BELIEVABLE[0] <= speed <= BELIEVABLE[1]:
        raise UsageError(
            f"{named}: measured is {speed:.2f} times what is predicted, which is beyond belief "
            f"({BELIEVABLE[0]:g} to {BELIEVABLE[1]:g}): are the tokens/s those of all GPUs of one replica, "
            "of output alone, and the times in ms?"
        )
    return Calibration(group, speed, math.exp(stdev(logs)), factors)


def _lines(calibration: Calibration, measured_on: date) -> Iterator[str]:
    group = calibration.group
    yield f"# {group.model} on {group.gpu}, {group.precision}: {calibration.evidence}, {measured_on.isoformat()}"
    yield f"speed: {calibration.speed:.2f}"
