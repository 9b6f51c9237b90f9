"""The load generator itself: what it sends, over which connections, and whether it says so when it is the limit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.loadtests import loadtest
from harness.processes import accepts, clean_environment, end, free_port, wait_for
from submeter.loadtest.order import Generator
from submeter.loadtest.result import _limits
from submeter.loadtest.run import Outcome

PROVIDER = Path(__file__).with_name("quick_provider.py")
VLLM = """
description = "as a vLLM is asked"
runs = 20
users = 3
warm_up = 1
body = {ignore_eos = true}
[[settings]]
input_tokens = 51
output_tokens = 7
"""
SLOW_TARGET = """
description = "more than five at a time can get"
users = 5
warm_up = 1
arrivals = "constant"
steps = [{rate_per_s = 50, for_s = 1}]
[[settings]]
input_tokens = 51
output_tokens = 20
"""
MUCH = """
description = "more than Python can send"
users = 300
warm_up = 1
steps = [{rate_per_s = 3000, for_s = 0.8}]
[[settings]]
input_tokens = 51
output_tokens = 1
"""
AT_EASE = Generator(
    cpu_warning=False,
    lag_ms_p99=2.0,
    schedule_lag_ms_p99=2.0,
    all_users_busy=40,
    stopped="done",
    begun=50,
    cpu_most=0.5,
)


class Quick:
    """``quick_provider.py``."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "asked.jsonl"
        self.base_url = ""

    def asked(self) -> list[dict[str, Any]]:
        """By call."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    @contextmanager
    def running(self, gap_ms: float) -> Iterator[str]:
        port = free_port()
        command = [sys.executable, str(PROVIDER), "--port", str(port), "--log", str(self._log), "--gap-ms", str(gap_ms)]
        process = subprocess.Popen(command, env=clean_environment())
        try:
            wait_for(lambda: accepts(port), "the quick provider")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            end(process)


def test_one_connection_a_user_and_what_a_vllm_needs(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    with quick.running(gap_ms=1) as target:
        ran = loadtest(VLLM, target, tmp_path / "out")
    asked = quick.asked()
    assert len(asked) == 21
    assert 1 <= len({call.pop("connection") for call in asked}) <= 3
    assert asked[0] == {
        "model": "gpt-4o-mini",
        "max_tokens": 7,
        "temperature": 1.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    assert {(sample.output_tokens, sample.status, sample.error) for sample in ran.samples} == {(7, 200, None)}
    assert all(sample.ttft_ns is not None and sample.max_gap_ns is not None for sample in ran.samples)


def test_a_slow_target_is_no_slow_generator(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    with quick.running(gap_ms=20) as target:
        result = loadtest(SLOW_TARGET, target, tmp_path / "out").result
    last = result["settings"][0]
    waited_ms = last["e2e_from_schedule_ms"]["p99"] - last["e2e_ms"]["p99"]
    assert waited_ms > 1000
    assert result["generator"]["schedule_lag_ms_p99"] < waited_ms / 5
    assert result["generator"]["all_users_busy"] > 20
    assert any("calls began late because all users waited for the target" in line for line in result["warnings"])


def test_a_generator_that_cannot_keep_up_says_so(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    with quick.running(gap_ms=0) as target:
        result = loadtest(MUCH, target, tmp_path / "out").result
    assert result["generator_limited"] is True
    assert any("generator's event loop" in line or "of a core" in line for line in result["warnings"])


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({}, 0),  # that all users were busy is the target's doing
        ({"lag_ms_p99": 10.1}, 1),
        ({"schedule_lag_ms_p99": 10.1}, 1),
        ({"schedule_lag_ms_p99": None, "cpu_most": None}, 0),
        ({"cpu_most": 0.91}, 1),
        ({"cpu_warning": True, "cpu_most": 0.95}, 1),
    ],
)
def test_what_makes_a_generator_the_limit(found: dict[str, Any], lines: int) -> None:
    values = {name: getattr(AT_EASE, name) for name in AT_EASE.__struct_fields__} | found
    outcome = Outcome(samples=[], warm_up=0, generator=Generator(**values), interrupted=False, unsettled=0)
    assert len(_limits(outcome)) == lines


@pytest.mark.parametrize(("cpu_most", "starved"), [(0.2, True), (0.8, False), (None, False)])
def test_a_generator_that_is_late_and_idle_shares_its_machine(cpu_most: float | None, starved: bool) -> None:
    values = {name: getattr(AT_EASE, name) for name in AT_EASE.__struct_fields__}
    generator = Generator(**values | {"cpu_most": cpu_most, "lag_ms_p99": 17.3})
    outcome = Outcome(samples=[], warm_up=0, generator=generator, interrupted=False, unsettled=0)
    line = "the generator's event loop was 17.3 ms late (p99)"
    assert _limits(outcome) == [line + (": something else keeps this machine busy" if starved else "")]
