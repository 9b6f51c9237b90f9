"""``submeter loadtest``: the tables on the console."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from submeter.commands import loadtest_output
from submeter.commands.loadtest import app
from submeter.loadtest.samples import Sample, write_csv

PLAIN = Sample(
    started_ns=0,
    scheduled_ns=None,
    setting="in=22,out=9",
    model="m",
    concurrency=1,
    input_tokens=22,
    cached_input_tokens=None,
    output_tokens=9,
    ttfb_ns=90,
    ttft_ns=100_000_000,
    first_content_ns=None,
    e2e_ns=900_000_000,
    max_gap_ns=None,
    status=200,
    error=None,
    call_id=None,
    request_id=None,
    streamed=True,
)
DOCUMENT: dict[str, Any] = {
    "scenario": "saturation",
    "target": "http://h/v1",
    "settings": [],
    "steps": [],
    "knee": None,
    "fit": None,
    "fit_missing": "too few calls",
    "cost_usd": None,
    "cost_source": "the ledger",
    "seed": 1,
    "coordinated_omission": "avoided",
    "warnings": [],
    "failure": None,
}
STEP = {
    "rate_per_s": 8.0,
    "throughput_per_s": 7.9,
    "concurrency": 3.25,
    "calls": 320,
    "errors": 1,
    "p50_ms": 410.0,
    "p95_ms": None,
    "p99_ms": None,
}


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def a_run(directory: Path, e2e_ms: int, calls: int = 12) -> str:
    directory.mkdir()
    samples = [msgspec.structs.replace(PLAIN, e2e_ns=(e2e_ms + at % 3) * 1_000_000) for at in range(calls)]
    other = [msgspec.structs.replace(sample, setting="in=99,out=9") for sample in samples]
    write_csv(directory / "samples.csv", samples + other)
    return str(directory)


def test_a_comparison_shows_each_setting(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare", a_run(tmp_path / "a", 500), a_run(tmp_path / "b", 900)])
    assert result.exit_code == 1
    lines = words(result.stdout)
    assert [line for line in lines if line[:2] == ["e2e", "regressed"]] != []
    changes = [line[:4] for line in lines if line[:1] in (["in=22,out=9"], ["in=99,out=9"])]
    assert [line[:3] for line in changes] == [
        [setting, measure, verdict]
        for measure, verdict in (("ttft", "same"), ("tpot", "regressed"), ("e2e", "regressed"))
        for setting in ("in=22,out=9", "in=99,out=9")
    ]
    assert changes[-1][3] == f"{901 / 501:.3f}"


def test_runs_without_common_settings_have_no_table_of_them(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare", a_run(tmp_path / "a", 500, 3), a_run(tmp_path / "b", 900, 3)])
    assert (result.exit_code, "By setting" in result.stdout) == (0, False)
    assert "no setting has 8 answered calls" in result.stdout


def test_steps_and_their_knee(capsys: pytest.CaptureFixture[str]) -> None:
    knee = {"rate_per_s": 9.123, "concurrency": 3.25, "why": "8 calls/s were the last"}
    loadtest_output.write_run(DOCUMENT | {"steps": [STEP], "knee": knee}, Path("out"), as_json=False)
    said = capsys.readouterr()
    assert ["8.00", "7.90", "3.25", "320", "1", "410", "–", "–"] in words(said.out)
    assert "knee at 9.12 calls/s, 3.2 in flight: 8 calls/s were the last" in said.out
    assert said.err == ""


def test_no_knee_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    knee = {"rate_per_s": None, "concurrency": None, "why": "never saturated"}
    loadtest_output.write_run(DOCUMENT | {"steps": [STEP], "knee": knee}, Path("out"), as_json=False)
    assert "no knee: never saturated" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [True, False])
def test_why_nothing_was_measured_is_for_stderr(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    line = "every call failed (2), all with status 401: " + "a long line that is not to be broken " * 9
    loadtest_output.write_run(DOCUMENT | {"failure": line}, Path("out"), as_json=as_json)
    assert capsys.readouterr().err == line + "\n"
