"""A planted device, measured and simulated: the scripted provider's batch and the report's fleet are the same core."""

from collections.abc import Sequence

import numpy as np
import pytest

from submeter.report.simulate import Engine, simulate
from submeter.scripted import Batch, Batching

NS_PER_S = 1_000_000_000
Call = tuple[int, int, int]
"""arrival in ns, input tokens, output tokens"""


def calls(count: int, seed: int) -> list[Call]:
    drawn = np.random.default_rng(seed)
    arrivals = np.sort(drawn.integers(0, 60 * NS_PER_S, count))
    return [(int(at), int(drawn.integers(1, 900)), int(drawn.integers(0, 80))) for at in arrivals]


def measured(device: Batching, arrivals: Sequence[Call]) -> list[list[float]]:
    """By the provider's batch: the seconds of every call's tokens."""
    batch, tokens = Batch(device), []
    for number, (at_ns, input_tokens, output_tokens) in enumerate(arrivals):
        tokens += batch.advance(at_ns)
        batch.join(number, at_ns, input_tokens=input_tokens, output_tokens=output_tokens)
    while batch.due_ns is not None:
        tokens += batch.advance(batch.due_ns)
    times: list[list[float]] = [[] for _ in arrivals]
    for token in tokens:
        times[token.sequence].append(token.at_ns / NS_PER_S)
    return times


@pytest.mark.parametrize("rate", [1, 4, 12])
@pytest.mark.parametrize("keys", [{}, {"chunk_tokens": 128}, {"kv_tokens": 3000}], ids=str)
def test_what_is_simulated_is_what_the_device_does(keys: dict[str, int], rate: int) -> None:
    device = Batching(slots=8, step_ms=20, step_ms_per_running=1, prefill_tokens_per_s=8000, **keys)
    arrivals = calls(60 * rate, seed=rate)
    times = measured(device, arrivals)
    at_ns, inputs, outputs = (np.array(column) for column in zip(*arrivals, strict=True))
    served = simulate(at_ns / NS_PER_S, inputs, outputs, Engine(device.step_time(), device.limits()), 1)
    assert [len(tokens) for tokens in times] == np.maximum(outputs, 1).tolist()
    assert served.ttft_s == pytest.approx(np.array([tokens[0] for tokens in times]) - at_ns / NS_PER_S, abs=1e-8)
    assert served.done_s == pytest.approx(np.array([tokens[-1] for tokens in times]), abs=1e-8)
