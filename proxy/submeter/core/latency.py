"""What is computed from the times of calls: TPOT, exact percentiles.

Durations are ns. Percentiles are nearest-rank: always a value that was measured, never one between two.
"""

from array import array

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
