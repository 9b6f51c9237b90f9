"""What is computed from the times of calls: TPOT, exact percentiles, a plain least-squares fit.

Durations are ns. Percentiles are nearest-rank: always a value that was measured, never one between two.
"""

from array import array
from collections.abc import Iterable

import msgspec


def tpot_ns(e2e_ns: int | None, ttft_ns: int | None, output_tokens: int | None, *, stream: bool) -> int | None:
    """Time per output token after the first: (e2e - ttft) / (output tokens - 1), to the nearest ns.

    ``None`` where that says nothing: an answer that was not streamed, or had fewer than two tokens.
    """
    if not stream or e2e_ns is None or ttft_ns is None or output_tokens is None or output_tokens < 2:
        return None
    return round((e2e_ns - ttft_ns) / (output_tokens - 1))


class Percentiles(msgspec.Struct, frozen=True):
    """Nearest-rank percentiles of ``n`` durations."""

    n: int
    p50_ns: int
    p95_ns: int
    p99_ns: int


def nearest_rank(ordered: list[int], percent: int) -> int:
    """The smallest value that at least ``percent`` % of the values do not exceed. ``ordered`` must not be empty."""
    return ordered[(len(ordered) * percent + 99) // 100 - 1]


def percentiles(durations_ns: "array[int]") -> Percentiles | None:
    """``None`` of nothing."""
    if not durations_ns:
        return None
    ordered = sorted(durations_ns)
    p50, p95, p99 = (nearest_rank(ordered, percent) for percent in (50, 95, 99))
    return Percentiles(len(ordered), p50, p95, p99)


class Fit(msgspec.Struct, frozen=True):
    """e2e = intercept + input tokens x per_input_token + output tokens x per_output_token, by least squares.

    Plain: no weights, no intervals, outliers count in full. ``r2`` is the share of the variance it explains.
    """

    n: int
    intercept_ns: float
    per_input_token_ns: float
    per_output_token_ns: float
    r2: float


def fit(points: Iterable[tuple[int, int, int]]) -> Fit | None:
    """Fit (input tokens, output tokens, e2e ns); ``None`` where the points do not determine the three figures.

    The normal equations about the means, multiplied by n, so that every sum is an exact integer and only the last
    divisions round. Ref.: any text on linear regression, e.g. Draper & Smith, Applied Regression Analysis, ch. 5.
    """
    n = sx = sy = sz = sxx = syy = szz = sxy = sxz = syz = 0
    for x, y, z in points:
        n += 1
        sx += x
        sy += y
        sz += z
        sxx += x * x
        syy += y * y
        szz += z * z
        sxy += x * y
        sxz += x * z
        syz += y * z
    vxx, vyy, vzz = n * sxx - sx * sx, n * syy - sy * sy, n * szz - sz * sz
    vxy, vxz, vyz = n * sxy - sx * sy, n * sxz - sx * sz, n * syz - sy * sz
    determinant = vxx * vyy - vxy * vxy
    if determinant == 0 or vzz == 0:
        return None
    x_top, y_top = vxz * vyy - vyz * vxy, vyz * vxx - vxz * vxy
    return Fit(
        n,
        (sz * determinant - x_top * sx - y_top * sy) / (n * determinant),
        x_top / determinant,
        y_top / determinant,
        (x_top * vxz + y_top * vyz) / (determinant * vzz),
    )
