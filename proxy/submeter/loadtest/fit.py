"""The model of latency: e2e = a + b x uncached input tokens + c x output tokens, in ms, and its 95 % intervals.

Huber's M-estimate by iteratively reweighted least squares (Huber & Ronchetti, Robust Statistics, 2nd ed., ch. 7): near
the mean of plain noise, and a stalled call counts only so far. Intervals are bootstrap-t of whole calls: what varies
least with the truth is the error in units of its own standard error, so that is what is resampled (Hall, The Bootstrap
and Edgeworth Expansion, 1992, ch. 3-4). ``docs/decisions/0013-latency-model.md`` says what it cannot tell.
"""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from submeter.core.latency import tpot_ns
from submeter.loadtest.samples import Sample

Floats = NDArray[np.float64]

HUBER = 3.0
"""In standard deviations: what lies farther out weighs less. Not 1.345: latency is skewed, and c is a mean cost."""
MAD_TO_SD = 1.4826
STEPS, TURNS = 25, 4
GROUPS = 6
LEAST_MS = 1e-6
MIN_CALLS = 10
OUTLIER_SDS = 5.0
BLOCK = 1 << 19
"""Resamples x calls at a time: so much fits into a cache."""
STILL = 1e-12
NS_PER_MS = 1e6


class Coefficient(msgspec.Struct, frozen=True):
    """With its 95 % interval, in ms (per token, per call in flight)."""

    value: float
    low: float
    high: float


class Residuals(msgspec.Struct, frozen=True):
    """What the model leaves over, in ms; ``outliers``: the share beyond 5 robust standard deviations."""

    sd_ms: float
    outliers: float
    spread_by_length: float
    """Rank correlation of |residual| and prediction: above 0, long answers scatter more."""
    drift: float
    """Rank correlation of residual and start time."""


class Ttft(msgspec.Struct, frozen=True):
    """TTFT = a + b x uncached + cached x cached input tokens; ``cached`` is ``None`` where it did not vary."""

    a: Coefficient
    b: Coefficient
    cached: Coefficient | None


class Tpot(msgspec.Struct, frozen=True):
    """TPOT = at_1 + per_concurrency x (calls in flight - 1) + per_output_token x (output tokens - their mean)."""

    at_1: Coefficient
    per_concurrency: Coefficient | None
    per_output_token: Coefficient | None


class Fit(msgspec.Struct, frozen=True):
    a_ms: Coefficient
    b_ms_per_input_token: Coefficient
    c_ms_per_output_token: Coefficient
    r2: float
    n: int
    residuals: Residuals
    ttft: Ttft | None
    tpot: Tpot | None
    warnings: tuple[str, ...]


class NotFitted(msgspec.Struct, frozen=True):
    """Why the calls do not determine the model."""

    reason: str


def fit(samples: Sequence[Sample], *, seed: int, resamples: int = 1000) -> Fit | NotFitted:
    """Calls with an error or without lengths are left out. The same samples and seed give the same figures."""
    calls, rows = _table(samples)
    reason = _undetermined(rows)
    if reason is not None:
        return NotFitted(reason)
    chance = np.random.default_rng(seed)
    design, took = _with_ones(rows[:, :2]), rows[:, 2]
    value, found = _coefficients(design, took, chance, resamples)
    left = took - design @ value
    residuals = _residuals(left, design @ value, np.array([call.started_ns for call in calls], dtype=np.float64))
    total = float(((took - took.mean()) ** 2).sum())
    return Fit(
        a_ms=found[0],
        b_ms_per_input_token=found[1],
        c_ms_per_output_token=found[2],
        r2=1 - float((left**2).sum()) / total if total else 1.0,
        n=len(calls),
        residuals=residuals,
        ttft=_ttft(calls, chance, resamples),
        tpot=_tpot(calls, chance, resamples),
        warnings=tuple(_warnings(residuals, calls)),
    )


def _table(samples: Sequence[Sample]) -> tuple[list[Sample], Floats]:
    """Usable calls, and (uncached input tokens, output tokens, e2e in ms) of each."""
    calls, rows = [], []
    for call in samples:
        uncached = call.uncached_input_tokens
        if call.error is None and uncached is not None and call.output_tokens is not None and call.e2e_ns is not None:
            calls.append(call)
            rows.append((uncached, call.output_tokens, call.e2e_ns / NS_PER_MS))
    return calls, np.array(rows, dtype=np.float64).reshape(-1, 3)


def _undetermined(rows: Floats) -> str | None:
    if len(rows) < MIN_CALLS:
        return f"{len(rows)} answered calls with token counts: {MIN_CALLS} are needed"
    for column, name in enumerate(("uncached input", "output")):
        if np.ptp(rows[:, column]) == 0:
            return f"all calls have one {name} length: vary it"
    if not _independent(_with_ones(rows[:, :2])):
        return "input and output lengths rise together: vary one while the other stays"
    return None


def _independent(design: Floats) -> bool:
    scaled = design / np.linalg.norm(design, axis=0)
    return bool(np.linalg.cond(scaled) < 1e6)


def _with_ones(columns: Floats) -> Floats:
    return np.column_stack([np.ones(len(columns)), columns])


def _coefficients(
    design: Floats, took: Floats, chance: np.random.Generator, resamples: int
) -> tuple[Floats, list[Coefficient]]:
    value, spread = _robust(design, took)
    low, high = _interval(design / spread[:, None], took / spread, value, chance, resamples)
    return value, [Coefficient(float(v), float(f), float(t)) for v, f, t in zip(value, low, high, strict=True)]


def _interval(
    design: Floats, took: Floats, value: Floats, chance: np.random.Generator, resamples: int
) -> tuple[Floats, Floats]:
    size = np.linalg.norm(design, axis=0)
    x, start, n = design / size, value * size, len(took)
    error = _step(x, took, np.ones((1, n)), start[None])[1][0]
    block = max(1, BLOCK // n)
    drawn = [
        _studentised(x, took, _counts(n, chance, min(block, resamples - done)), start)
        for done in range(0, resamples, block)
    ]
    # (resamples + 1) x quantile: Davison & Hinkley, Bootstrap Methods and Their Application, 1997, ch. 5
    below, above = np.quantile(np.concatenate(drawn), (0.025, 0.975), axis=0, method="weibull")
    return (start - above * error) / size, (start - below * error) / size


def _robust(design: Floats, took: Floats) -> tuple[Floats, Floats]:
    """The estimate, and the standard deviation of each call: long answers scatter more, and then weigh less.

    In turns (Carroll & Ruppert, Transformation and Weighting in Regression, 1988, ch. 2): each spread is that of the
    residuals before it.
    """
    value = np.asarray(np.linalg.lstsq(design, took, rcond=None)[0], dtype=np.float64)
    spread = _spread(design, took, value)
    for _ in range(TURNS):
        value = _huber(design / spread[:, None], took / spread, value)
        spread = _spread(design, took, value)
    return value, spread


def _spread(design: Floats, took: Floats, value: Floats) -> Floats:
    """A line over the prediction through the MADs of groups of calls; nowhere under a quarter of the whole's."""
    predicted, left = design @ value, took - design @ value
    order = np.argsort(predicted, kind="stable")
    groups = np.array_split(order, max(1, min(GROUPS, len(order) // MIN_CALLS)))
    least = max(_sd(left) / 4, LEAST_MS)
    middles = np.array([predicted[group].mean() for group in groups])
    if len(groups) < 3 or np.ptp(middles) == 0:
        return np.full(len(took), max(_sd(left), LEAST_MS))
    slope, level = np.polyfit(middles, [_sd(left[group]) for group in groups], 1)
    return np.asarray(np.maximum(level + slope * predicted, least), dtype=np.float64)


def _sd(left: Floats) -> float:
    return float(MAD_TO_SD * np.median(np.abs(left - np.median(left))))


def _huber(design: Floats, took: Floats, start: Floats) -> Floats:
    """In standard deviations."""
    value = start
    for _ in range(STEPS):
        weights = np.minimum(1, HUBER / np.maximum(np.abs(took - design @ value), STILL))
        root = np.sqrt(weights)
        new = np.asarray(np.linalg.lstsq(design * root[:, None], took * root, rcond=None)[0], dtype=np.float64)
        done = np.allclose(new, value, rtol=1e-6, atol=1e-9)
        value = new
        if done:
            break
    return value


def _studentised(x: Floats, took: Floats, counts: Floats, start: Floats) -> Floats:
    """(resamples, p): how far each resample's estimate lies from the whole's, in its own standard errors.

    One step from the whole's estimate is as good as all (Schucany & Wang 1991, JRSS B 53:587).
    """
    kept = counts[
        np.linalg.cond(_products(x, counts)) < 1 / STILL
    ]  # a resample without one of the lengths says nothing
    step, _ = _step(x, took, kept, start[None])
    return step / _step(x, took, kept, start + step)[1]


def _step(x: Floats, took: Floats, counts: Floats, values: Floats) -> tuple[Floats, Floats]:
    """From ``values`` (resamples, p): the step to Huber's estimate, and the standard errors there.

    The sandwich holds when noise is uneven (Huber & Ronchetti, ch. 7.6); of few calls it can be 0 by chance, so it
    stays above a quarter of the error of even noise. ``counts`` (resamples, n): how often each call was drawn.
    """
    left = took - values @ x.T
    bounded = np.clip(left, -HUBER, HUBER)
    inverse = np.linalg.inv(_products(x, counts * (bounded == left)) + STILL * np.eye(x.shape[1]))
    drawn = counts * bounded
    step = (inverse @ (drawn @ x)[..., None])[..., 0]
    squares = drawn * bounded
    sandwich = np.einsum("rii->ri", inverse @ _products(x, squares) @ inverse)
    even = np.einsum("rii->ri", inverse) * squares.mean(axis=1)[:, None]
    return step, np.sqrt(np.maximum(np.maximum(sandwich, even / 16), np.finfo(np.float64).tiny))


def _products(x: Floats, weights: Floats) -> Floats:
    """(resamples, p, p): the sum of x x' over the calls, weighted."""
    p = x.shape[1]
    return np.asarray((weights @ (x[:, :, None] * x[:, None, :]).reshape(-1, p * p)).reshape(-1, p, p))


def _counts(n: int, chance: np.random.Generator, resamples: int) -> Floats:
    drawn = chance.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def _ttft(calls: Sequence[Sample], chance: np.random.Generator, resamples: int) -> Ttft | None:
    used = [call for call in calls if call.streamed and call.ttft_ns is not None]
    uncached = np.array([call.uncached_input_tokens for call in used], dtype=np.float64)
    cached = np.array([_cached(call) for call in used], dtype=np.float64)
    took = np.array([call.ttft_ns for call in used], dtype=np.float64) / NS_PER_MS
    if len(used) < MIN_CALLS or np.ptp(uncached) == 0:
        return None
    design = np.column_stack([np.ones(len(used)), uncached, *([cached] if np.ptp(cached) else [])])
    if not _independent(design):
        return None
    found = _coefficients(design, took, chance, resamples)[1]
    return Ttft(found[0], found[1], found[2] if len(found) > 2 else None)


def _cached(call: Sample) -> int:
    return 0 if call.cached_input_tokens is None else call.cached_input_tokens


def _tpot(calls: Sequence[Sample], chance: np.random.Generator, resamples: int) -> Tpot | None:
    known = [(call, _tpot_ms(call)) for call in calls]
    used = [(call, ms) for call, ms in known if ms is not None]
    if len(used) < MIN_CALLS:
        return None
    output = np.array([call.output_tokens for call, _ in used], dtype=np.float64)
    beside = np.array([call.concurrency - 1 for call, _ in used], dtype=np.float64)
    columns = {"per_concurrency": beside, "per_output_token": output - output.mean()}
    varied = {name: column for name, column in columns.items() if np.ptp(column)}
    design = np.column_stack([np.ones(len(used)), *varied.values()])
    if not _independent(design):
        return None
    took = np.array([ms for _, ms in used])
    at_1, *rest = _coefficients(design, took, chance, resamples)[1]
    found = dict(zip(varied, rest, strict=True))
    return Tpot(at_1, found.get("per_concurrency"), found.get("per_output_token"))


def _tpot_ms(call: Sample) -> float | None:
    ns = tpot_ns(call.e2e_ns, call.ttft_ns, call.output_tokens, stream=call.streamed)
    return None if ns is None else ns / NS_PER_MS


def _residuals(left: Floats, predicted: Floats, started: Floats) -> Residuals:
    sd = _sd(left)
    return Residuals(
        sd_ms=sd,
        outliers=float(np.mean(np.abs(left) > OUTLIER_SDS * sd)) if sd else 0.0,
        spread_by_length=_rank_correlation(np.abs(left), predicted),
        drift=_rank_correlation(left, started),
    )


def _rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's, equal values in the mean of their ranks."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return np.asarray((last - (sizes - 1) / 2)[inverse], dtype=np.float64)


def _warnings(residuals: Residuals, calls: Sequence[Sample]) -> Iterator[str]:
    sure = 3 / np.sqrt(len(calls) - 1)  # three standard errors of a rank correlation of nothing
    if residuals.spread_by_length > max(sure, 0.2):
        yield "long answers scatter more than short ones: the intervals allow for it, one figure does not"
    if abs(residuals.drift) > max(sure, 0.2):
        yield f"latency {'rose' if residuals.drift > 0 else 'fell'} while the calls were made"
    if residuals.outliers > 0.02:
        yield f"{100 * residuals.outliers:.1f} % of the calls are outliers: look at p95 and p99 too"
    if len({call.model for call in calls}) > 1:
        yield "several models are in one fit: fit each by itself"
