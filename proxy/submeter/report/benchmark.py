"""The published benchmark nearest to a plan, and how far off the model is there.

``data/published.csv`` has 80 throughputs that NVIDIA published for TensorRT-LLM with how they were run (all requests at
the start, token budget 8,192, at most 2,048 sequences, captured CUDA graphs). The model runs each the same way. A row
is ``tuned`` if a constant was fitted to it (see ``catalog.Efficiency``); there the error says less.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log2
from typing import NamedTuple, cast

import numpy as np

from submeter.report import catalog
from submeter.report.catalog import Precision, Server
from submeter.report.simulate import simulate
from submeter.report.steptime import PUBLISHED_GRAPH_SIZES

SOURCE = "NVIDIA/TensorRT-LLM, docs/source/performance/perf-overview.md, maximum throughput"
SLOTS = 2048
"""``max_batch_size`` of the published runs."""
UNLIKE = 10.0
"""What another model, GPU or precision counts, in doublings of a length: lengths decide between rows alike in these."""


class Published(NamedTuple):
    """One row."""

    model: str
    gpu: str
    tensor_parallel: int
    precision: Precision
    input_tokens: int
    output_tokens: int
    output_tokens_per_s: float
    """Of the whole tensor-parallel group."""
    requests: int
    tuned: str | None
    """The constant of ``catalog.Efficiency`` that was fitted to this row."""

    @property
    def server(self) -> Server:
        return Server(
            gpu=catalog.gpu(self.gpu),
            model=catalog.model(self.model),
            tensor_parallel=self.tensor_parallel,
            precision=self.precision,
            slots=SLOTS,
            graph_sizes=PUBLISHED_GRAPH_SIZES,
            host_overhead_s=0,
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    row: Published
    predicted: float
    """Output tokens per second of the same run, simulated."""

    @property
    def error(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted / self.row.output_tokens_per_s - 1

    @property
    def text(self) -> str:
        row = self.row
        tuned = f"; {row.tuned} was fitted to it" if row.tuned else ""
        return (
            f"{row.model} on {row.tensor_parallel} × {row.gpu}, {row.precision}, {row.input_tokens:,} tokens in and "
            f"{row.output_tokens:,} out: {row.output_tokens_per_s:,.0f} output tokens/s published, "
            f"{self.predicted:,.0f} predicted ({self.error:+.0%}; {SOURCE}{tuned})"
        )


@cache
def published() -> tuple[Published, ...]:
    with files("submeter.report").joinpath("data/published.csv").open(encoding="utf-8") as file:
        return tuple(_row(row) for row in csv.DictReader(file))


def nearest(server: Server, input_tokens: float, output_tokens: float) -> Benchmark:
    """``input_tokens`` and ``output_tokens``: means of the calls that the server would have."""
    return benchmark(min(published(), key=lambda row: _distance(row, server, input_tokens, output_tokens)))


@cache
def benchmark(row: Published) -> Benchmark:
    inputs, outputs = (np.full(row.requests, tokens) for tokens in (row.input_tokens, row.output_tokens))
    served = simulate(np.zeros(row.requests), inputs, outputs, row.server, 1)
    return Benchmark(row, float(row.requests * row.output_tokens / served.done_s.max()))


def mean_error(benchmarks: Iterable[Benchmark]) -> float:
    """Mean absolute error, as a share."""
    return float(np.mean([abs(each.error) for each in benchmarks]))


def _distance(row: Published, server: Server, input_tokens: float, output_tokens: float) -> float:
    """In doublings: of the lengths, of the GPUs, and, where the model or the GPU is another, of its size or speed."""
    model, gpu = catalog.model(row.model), catalog.gpu(row.gpu)
    pairs = [
        (row.input_tokens, input_tokens),
        (row.output_tokens, output_tokens),
        (row.tensor_parallel, server.tensor_parallel),
        (model.active_parameters, server.model.active_parameters),
        (gpu.bandwidth_bytes_per_s, server.gpu.bandwidth_bytes_per_s),
    ]
    unlike = sum((model.name != server.model.name, gpu.name != server.gpu.name, row.precision != server.precision))
    return UNLIKE * unlike + sum(abs(log2(max(one, 1) / max(other, 1))) for one, other in pairs)


def _row(row: dict[str, str]) -> Published:
    return Published(
        model=row["model"],
        gpu=row["gpu"],
        tensor_parallel=int(row["tensor_parallel"]),
        precision=cast("Precision", row["precision"]),
        input_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
        output_tokens_per_s=float(row["output_tokens_per_s"]),
        requests=int(row["requests"]),
        tuned=row["tuned"] or None,
    )
