"""Replicas for a recorded hour of Azure's code assistants: by averages, by Poisson arrivals, by replay.

Azure/AzurePublicDataset, AzureLLMInferenceDataset2023 (Patel et al., "Splitwise", ISCA 2024), CC-BY-4.0. As a program
it prints the table: ``PYTHONPATH=proxy:tests python -m report.test_azure_trace``
"""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from report.fleets import SERVER
from submeter.report.plan import Objective, averages, by_poisson, by_replay
from submeter.report.workloads import Demand

AZURE = Path(__file__).parents[3] / "shared" / "data" / "azure_llm_2023_code.csv"
OBJECTIVE = Objective(ttft_p95_s=2.0, tpot_p95_s=0.05)
SEED = 1
CHUNKS = (512, 1024, 2048, 4096, 8192)


class Needed(NamedTuple):
    averages: float
    poisson: int
    replay: int


def code_trace() -> Demand:
    """8,819 calls in 57 minutes, as if on a Monday from midnight on; skips where the shared data are missing."""
    if not AZURE.exists():
        pytest.skip(f"no {AZURE.name}: ../shared/data lies beside this repository's clone, which stands alone here")
    with AZURE.open() as file:
        rows = list(csv.DictReader(file))
    times = np.array([row["TIMESTAMP"] for row in rows], "datetime64[ns]")
    return Demand(
        (times - times[0]).astype(np.int64) / 1e9,
        np.array([int(row["ContextTokens"]) for row in rows]),
        np.array([int(row["GeneratedTokens"]) for row in rows]),
        np.zeros(len(rows), np.int32),
    )


@cache
def needed(chunk_tokens: int) -> Needed:
    """Of Llama 3.3 70B in fp8 on two H100."""
    calls, server = code_trace(), msgspec.structs.replace(SERVER, chunk_tokens=chunk_tokens)
    seconds = float(calls.arrival_s[-1])
    poisson, replay = by_poisson(calls, server, OBJECTIVE, SEED, seconds), by_replay(calls, server, OBJECTIVE)
    assert poisson is not None
    assert replay is not None
    return Needed(averages(calls, server, seconds), poisson, replay)


def test_averages_say_less_than_half_a_replica() -> None:
    assert needed(8192).averages == pytest.approx(0.44, abs=0.005)


def test_poisson_arrivals_of_the_same_mean_need_one_or_two() -> None:
    assert needed(8192).poisson in (1, 2)


def test_the_calls_as_they_came_need_ten() -> None:
    assert needed(8192).replay == pytest.approx(10, abs=2)


@pytest.mark.parametrize("chunk_tokens", CHUNKS)
def test_as_they_came_they_need_three_times_as_many_as_by_poisson_and_more(chunk_tokens: int) -> None:
    assert needed(chunk_tokens).replay >= 3 * needed(chunk_tokens).poisson


def test_a_small_prefill_chunk_spares_replicas_here() -> None:
    """Long prompts beside short answers: what decodes waits for no more than a chunk, so TPOT is met by fewer."""
    replay = [needed(chunk_tokens).replay for chunk_tokens in CHUNKS]
    assert replay == sorted(replay)
    assert replay == pytest.approx([5, 9, 10, 10, 10], abs=1)


def table() -> Iterator[str]:
    yield f"{'chunk':>6} {'averages':>9} {'Poisson':>8} {'replay':>7}"
    for chunk_tokens in CHUNKS:
        found = needed(chunk_tokens)
        yield f"{chunk_tokens:>6} {found.averages:>9.3f} {found.poisson:>8} {found.replay:>7}"


if __name__ == "__main__":
    print(*table(), sep="\n")
