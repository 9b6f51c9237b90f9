"""Published throughputs run as they were published, prediction beside measurement. As a program it prints the tables:

``PYTHONPATH=proxy:tests python -m report.measured``
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pytest

from submeter.report import catalog
from submeter.report.catalog import PRIORS, Efficiency, Precision, Server
from submeter.report.simulate import simulate
from submeter.report.steptime import PUBLISHED_GRAPH_SIZES

TRTLLM = Path(__file__).parents[3] / "shared" / "data" / "trtllm_published_throughput.csv"

REQUESTS = {
    (128, 128): 30_000,
    (128, 2048): 3_000,
    (128, 4096): 1_500,
    (500, 2000): 3_000,
    (1000, 1000): 3_000,
    (1000, 2000): 1_500,
    (2048, 128): 3_000,
    (2048, 2048): 1_500,
    (5000, 500): 1_500,
    (20000, 2000): 1_000,
}
"""By input and output tokens: the requests of a run, all there at its start (``num_requests``, same document)."""
SLOTS = 2048
"""``max_batch_size`` of the published runs; their token budget is ``Server``'s default."""


class Point(NamedTuple):
    model: str
    gpu: str
    gpus: int
    precision: Precision
    input_tokens: int
    output_tokens: int
    measured: float
    """Output tokens per second."""
    requests: int
    tuned: bool = False
    """Whether a constant was fitted to it: the fp4 rows gave ``Efficiency.mfu_fp4``; no other row gave any."""

    def server(self, efficiency: Efficiency = PRIORS, graph_sizes: tuple[int, ...] = ()) -> Server:
        return Server(
            gpu=catalog.gpu(self.gpu),
            model=catalog.model(self.model),
            tensor_parallel=self.gpus,
            precision=self.precision,
            slots=SLOTS,
            graph_sizes=graph_sizes,
            host_overhead_s=0,
            efficiency=efficiency,
        )

    def predicted(self, efficiency: Efficiency = PRIORS, graph_sizes: tuple[int, ...] = ()) -> float:
        """Output tokens per second of the same run, simulated."""
        inputs, outputs = (np.full(self.requests, n) for n in (self.input_tokens, self.output_tokens))
        served = simulate(np.zeros(self.requests), inputs, outputs, self.server(efficiency, graph_sizes), 1)
        return float(self.requests * self.output_tokens / served.done_s.max())


def trtllm() -> list[Point]:
    """The 80 rows of NVIDIA's TensorRT-LLM performance overview; skips where the shared data are missing."""
    if not TRTLLM.exists():
        pytest.skip(f"no {TRTLLM.name}: ../shared/data lies beside this repository's clone, which stands alone here")
    with TRTLLM.open() as file:
        return [_point(row) for row in csv.DictReader(file)]


def _point(row: dict[str, str]) -> Point:
    lengths = int(row["input_tokens"]), int(row["output_tokens"])
    precision = cast("Precision", row["precision"])
    return Point(
        row["model"],
        row["gpu"],
        int(row["tensor_parallel"]),
        precision,
        *lengths,
        float(row["output_tokens_per_s_total"]),
        REQUESTS[lengths],
        tuned=precision == "fp4",
    )


OPEN_ORCA_OUTPUT = 294
"""Mean output tokens, 294.45 by the reference implementation's README. The mean input is not stated there."""
OPEN_ORCA_INPUTS = (155, 300)
"""So the check is made at two guesses. Were the true mean below some 150, the B200 would be above 1.1 (1.17 at 128)."""


def mlperf() -> Iterator[Point]:
    """MLPerf Inference v5.1, offline, closed division, tokens/s of a GPU times the GPUs of a replica.

    Output lengths: the READMEs of the reference implementations (mlcommons/inference, language/…): OpenOrca 294.45 and
    405B 684.68 tokens a sample; 8B answers of 8,167,644 characters in 13,368 samples, so nearly all end at the cap of
    128 tokens. Mean inputs of 405B (9,428) and 8B (778): as MLCommons announced these benchmarks (April and September
    2025), by memory; the copies at hand end before these figures.
    """
    for gpu, gpus, precision, per_gpu in (
        ("h100_sxm", 2, "fp8", 3897),
        ("h200_sxm", 1, "fp8", 4415),
        ("b200_sxm", 1, "fp4", 12864),
    ):
        for input_tokens in OPEN_ORCA_INPUTS:
            yield _offline("llama-2-70b", gpu, gpus, precision, input_tokens, OPEN_ORCA_OUTPUT, per_gpu)
    yield _offline("llama-3.1-8b", "h100_sxm", 1, "fp8", 778, 128, 5777)
    yield _offline("llama-3.1-8b", "h200_sxm", 1, "fp8", 778, 128, 8255)
    yield _offline("llama-3.1-405b", "h200_sxm", 8, "fp8", 9428, 685, 69.1)
    yield _offline("llama-3.1-405b", "b200_sxm", 8, "fp4", 9428, 685, 207.6)


def _offline(model: str, gpu: str, gpus: int, precision: str, inputs: int, outputs: int, per_gpu: float) -> Point:
    requests = 12_000 if outputs < 500 else 1_500
    return Point(model, gpu, gpus, cast("Precision", precision), inputs, outputs, per_gpu * gpus, requests)


def table(points: Iterable[Point], graph_sizes: tuple[int, ...] = ()) -> Iterator[str]:
    yield f"{'model':<15} {'gpu':<9} {'gpus':>4} {'':<4} {'in':>6} {'out':>5} {'measured':>9} predicted  ratio"
    for point in points:
        predicted = point.predicted(graph_sizes=graph_sizes)
        yield (
            f"{point.model:<15} {point.gpu:<9} {point.gpus:>4} {point.precision:<4} {point.input_tokens:>6} "
            f"{point.output_tokens:>5} {point.measured:>9.0f} {predicted:>9.0f} {predicted / point.measured:>6.2f}"
            f"{'  tuned mfu_fp4' if point.tuned else ''}"
        )


if __name__ == "__main__":
    print(*table(trtllm(), PUBLISHED_GRAPH_SIZES), "", *table(mlperf()), sep="\n")
