"""``submeter loadtest`` as a process, the scripted provider with its own log, and both of them joined call by call."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.processes import Provider, accepts, clean_environment, free_port, submeter, wait_for
from submeter.loadtest.samples import Sample, read_csv
from submeter.scripted import Batching, saturation_rate
from submeter.scripted.log import read_log

KEY = "sk-a-key-that-must-not-show"


class LoggedProvider(Provider):
    """It writes down when each call came and when its tokens went."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self.invoice_path, self.timings_path = directory / "invoice.jsonl", directory / "timings.jsonl"
        self.port = free_port()
        config_path = directory / "scripted.json"
        config_path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "submeter.scripted", "--port", str(self.port), "--config", str(config_path)]
        command += ["--invoice", str(self.invoice_path), "--log", str(self.timings_path)]
        self._log = (directory / "provider.log").open("wb")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=clean_environment())
        wait_for(lambda: accepts(self.port), "the scripted provider")

    def timings(self) -> dict[str, dict[str, Any]]:
        """The lines of the log by request id."""
        return {line["request_id"]: line for line in read_log(self.timings_path)}


@contextmanager
def provider(directory: Path, **config: Any) -> Iterator[LoggedProvider]:
    """One with these defaults."""
    started = LoggedProvider(directory, config)
    try:
        yield started
    finally:
        started.close()


class Ran(NamedTuple):
    """What a load test has left behind."""

    out: Path
    result: dict[str, Any]
    samples: list[Sample]


def arguments(scenario: str, target: str, out: Path, *flags: str, model: str = "gpt-4o-mini") -> list[str]:
    """Of the command. ``scenario``: the name of one, or the text of one of one's own."""
    if "\n" in scenario:
        path = out.with_suffix(".toml")
        path.write_text(scenario)
        scenario = str(path)
    return ["loadtest", scenario, "--target", target, "--model", model, "--out", str(out), "--json", *flags]


def loadtest(scenario: str, target: str, out: Path, *flags: str, model: str = "gpt-4o-mini") -> Ran:
    """Run one to its end, which is a good one."""
    run = submeter(*arguments(scenario, target, out, *flags, model=model), OPENAI_API_KEY=KEY, timeout_s=100.0)
    assert run.returncode == 0, run.stderr
    return ran(out)


def ran(out: Path) -> Ran:
    return Ran(out, json.loads((out / "result.json").read_text()), read_csv(out / "samples.csv"))


class Moments(NamedTuple):
    """Nanoseconds of one call as three saw it: to the first token, and to the last one's end."""

    provider_ttft_ns: int
    ledger_ttft_ns: int
    locust_ttft_ns: int
    provider_e2e_ns: int
    ledger_e2e_ns: int
    locust_e2e_ns: int


def moments(sample: Sample, row: dict[str, Any], timing: dict[str, Any]) -> Moments:
    """``row``: the ledger's. ``timing``: the line of the provider's log."""
    assert sample.ttft_ns is not None
    assert sample.e2e_ns is not None
    return Moments(
        since_received_ns(timing, "first_token"),
        row["ttft_ns"],
        sample.ttft_ns,
        since_received_ns(timing, "last_token"),
        row["e2e_ns"],
        sample.e2e_ns,
    )


def since_received_ns(timing: dict[str, Any], what: str) -> int:
    """From the request's last byte until ``what``, in a line of the provider's log."""
    taken: int = timing[what]["monotonic_ns"] - timing["received"]["monotonic_ns"]
    return taken


# -- a device whose knee is known --------------------------------------------------------------------------------------

DEVICE = Batching(slots=4, step_ms=4, step_ms_per_running=1, prefill_tokens_per_s=20_000)
DEVICE_INPUT_TOKENS, DEVICE_OUTPUT_TOKENS = 200, 20
PLANTED_KNEE_PER_S = saturation_rate(DEVICE, DEVICE_INPUT_TOKENS, DEVICE_OUTPUT_TOKENS)
"""Calls a second; 1 / (200/20000 + 19 · 0.008/4) = 20.8."""
AROUND_THE_KNEE = f"""
description = "below and above what the device can do"
users = 200
warm_up = 0
arrivals = "constant"  # chance would make a step of four seconds more, or less, than its rate
steps = [
  {{rate_per_s = 10, for_s = 4}},
  {{rate_per_s = 16, for_s = 4}},
  {{rate_per_s = 26, for_s = 4}},
  {{rate_per_s = 32, for_s = 4}},
]
[[settings]]
input_tokens = 50
output_tokens = {DEVICE_OUTPUT_TOKENS}
"""


def find_knee(directory: Path) -> Ran:
    """The load test of that device, which takes some 25 s."""
    script = {"output_tokens": 100, "input_tokens": DEVICE_INPUT_TOKENS}
    with provider(directory, **script, batching=msgspec.to_builtins(DEVICE)) as device:
        return loadtest(AROUND_THE_KNEE, device.base_url, directory / "out", "--seed", "1")
