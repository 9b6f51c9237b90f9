"""``submeter loadtest peers``: what it refuses before anything is asked, and how what it found is printed."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from submeter.commands.loadtest_peers import peers
from submeter.commands.loadtest_peers_output import write
from submeter.errors import UsageError
from submeter.loadtest.peers_result import as_csv

DIRECT, HOP = "direct=http://127.0.0.1:9/v1", "nginx=http://127.0.0.1:8/v1"
APP = typer.Typer()
APP.command()(peers)


def run(*targets: str, **options: str) -> Result:
    given = {"--model": "gpt-4o-mini"} | {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    flags = [word for pair in given.items() for word in pair] + [
        word for each in targets for word in ("--target", each)
    ]
    return CliRunner().invoke(APP, flags, env={"SUBMETER_CONFIG": ""})


def refused(tmp_path: Path, *targets: str, **options: str) -> str:
    result = run(*targets, out=str(tmp_path / "out"), **options)
    assert isinstance(result.exception, UsageError), result.output
    assert not (tmp_path / "out").exists()
    return str(result.exception)


@pytest.mark.parametrize(
    ("targets", "complaint"),
    [
        ((DIRECT,), "one target has no peers: give --target twice or more, the direct one first"),
        ((DIRECT, DIRECT), "two targets are called direct: give each a name of its own"),
        ((DIRECT, "nginx=h:8"), "--target h:8 is no URL: give one such as http://127.0.0.1:4100/v1"),
    ],
)
def test_targets_that_are_no_peers(tmp_path: Path, targets: tuple[str, ...], complaint: str) -> None:
    assert refused(tmp_path, *targets) == complaint


@pytest.mark.parametrize("name", ["http://127.0.0.1:8/v1", "=http://h/v1", "../x=http://h/v1", "locust=http://h/v1"])
def test_a_target_needs_a_name_that_a_directory_can_have(tmp_path: Path, name: str) -> None:
    said = refused(tmp_path, DIRECT, name)
    assert said == f"--target {name} has no name of its own: write it as direct=http://127.0.0.1:9000/v1"


def test_an_open_loop_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, DIRECT, HOP, scenario="saturation")
    assert said == "peers takes a closed loop: a scenario with [[settings]] and without [[steps]] or [replay]"


def test_a_budget_needs_a_price(tmp_path: Path) -> None:
    said = refused(tmp_path, DIRECT, HOP, model="nobody-prices-this", max_usd="1.00")
    assert said == (
        "--max-usd needs a price, and nobody-prices-this has none: name its --provider, or write it under prices: in "
        "submeter.yaml"
    )


def test_few_rounds_are_refused(tmp_path: Path) -> None:
    result = run(DIRECT, HOP, out=str(tmp_path), rounds="5")
    assert result.exit_code == 2
    assert "greater than or equal to 6" in " ".join(result.output.split())


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.5, "high": value + 0.5}


def document() -> dict[str, Any]:
    line = {"rounds": 12, "ttft_ms": interval(0.25), "ttfb_ms": interval(1.5), "e2e_ms": None}
    return {
        "base": "direct",
        "rounds": 12,
        "seed": 3,
        "cost_usd": "0.0123",
        "failure": "nginx: every call failed",
        "targets": [
            {"target": "direct", "url": "http://d/v1", "n": 1200, "errors": 0},
            {"target": "nginx", "url": "http://n/v1", "n": 1199, "errors": 2},
        ],
        "added": [{"target": "nginx", **line, "settings": [{"setting": "in=50,out=1", **line}]}],
        "warnings": ["nginx: 2 of 1199 calls failed"],
    }


def test_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(document(), tmp_path, as_json=False)
    said, failure = capsys.readouterr()
    assert failure == "nginx: every call failed\n"
    assert "nginx adds to direct, in ms" in said
    figures = ["+0.250", "-0.250", "+0.750", "+1.500", "+1.000", "+2.000", "–", "–", "–"]
    assert [line.split() for line in said.splitlines() if line.strip().startswith("mean")] == [
        ["mean", "of", "all", *figures]
    ]
    assert [line.split()[1:] for line in said.splitlines() if line.strip().startswith("in=50")] == [figures]
    assert "nginx http://n/v1: 1,199 calls, 2 errors" in said
    assert "cost $0.0123 · 12 rounds · seed 3" in said
    assert "! nginx: 2 of 1199 calls failed" in said


def test_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(document(), tmp_path, as_json=True)
    said, failure = capsys.readouterr()
    assert json.loads(said) == document()
    assert failure == "nginx: every call failed\n"


def test_the_csv_has_a_line_per_target_setting_and_measure() -> None:
    assert as_csv(document()).splitlines() == [
        "target,setting,measure,rounds,value,low,high",
        "nginx,,ttft_ms,12,0.25,-0.25,0.75",
        "nginx,,ttfb_ms,12,1.5,1.0,2.0",
        "nginx,,e2e_ms,12,,,",
        'nginx,"in=50,out=1",ttft_ms,12,0.25,-0.25,0.75',
        'nginx,"in=50,out=1",ttfb_ms,12,1.5,1.0,2.0',
        'nginx,"in=50,out=1",e2e_ms,12,,,',
    ]
