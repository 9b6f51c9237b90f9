"""Small demands and servers for the tests of plans."""

from collections.abc import Sequence

import numpy as np

from submeter.report import catalog
from submeter.report.catalog import Server
from submeter.report.load import DAY_S
from submeter.report.workloads import Demand

SERVER = Server(gpu=catalog.gpu("h100_sxm"), model=catalog.model("llama-3.3-70b"), tensor_parallel=2)


def demand_of(arrival_s: Sequence[float], input_tokens: int = 100, output_tokens: int = 10) -> Demand:
    times = np.sort(np.array(arrival_s, np.float64))
    inputs, outputs = (np.full(len(times), tokens, np.int64) for tokens in (input_tokens, output_tokens))
    return Demand(times, inputs, outputs, (times // DAY_S).astype(np.int32))


def bursty(seed: int, bursts: int = 3, size: int = 30, days: int = 1) -> Demand:
    """Bursts of calls within a second, at moments anywhere in the first days, of all lengths."""
    drawn = np.random.default_rng(seed)
    starts = drawn.uniform(0, days * DAY_S - 1, bursts)
    times = np.sort((starts[:, None] + drawn.uniform(0, 1, (bursts, size))).ravel())
    return Demand(
        times,
        drawn.integers(1, 6000, len(times)),
        drawn.integers(1, 300, len(times)),
        (times // DAY_S).astype(np.int32),
    )
