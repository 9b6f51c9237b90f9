"""``submeter report calibrate``: a table of points, and lines that alternatives.yaml takes."""

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from submeter.commands.report import app
from submeter.errors import UsageError
from submeter.report import alternatives, catalog
from submeter.report.calibrate import predicted
from submeter.report.catalog import Server
from submeter.report.points import COLUMNS, Point

SERVER = Server(gpu=catalog.gpu("h100_sxm"), model=catalog.model("llama-3.3-70b"), tensor_parallel=2, precision="fp8")
LENGTHS = ((200, 100), (1000, 300), (3000, 50))


def measured(speed: float, engine: str = "vllm") -> list[str]:
    """What servers that are so much faster than predicted would have written."""
    faster = msgspec.structs.replace(SERVER, speed=speed)
    lines = []
    for inputs, outputs in LENGTHS:
        rate = predicted(Point(2, "vllm", faster, inputs, outputs, 16, None, None, None)).output_tokens_per_s
        lines.append(f"h100_sxm,llama-3.3-70b,2,fp8,{inputs},{outputs},{engine},16,{rate!r},,")
    return lines


@pytest.fixture
def points(tmp_path: Path) -> Path:
    file = tmp_path / "points.csv"
    file.write_text("\n".join([",".join(COLUMNS), *measured(1.25)]) + "\n")
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["calibrate", *(str(each) for each in arguments)])


def test_a_planted_speed_is_found_as_data(points: Path) -> None:
    [found] = json.loads(run(points, "--json").stdout)["calibrations"]
    assert found["speed"] == pytest.approx(1.25)
    assert found["spread"] == pytest.approx(1)
    named = {name: found[name] for name in ("engine", "gpu", "model", "precision")}
    assert named == {"engine": "vllm", "gpu": "h100_sxm", "model": "llama-3.3-70b", "precision": "fp8"}
    assert [(each["line"], each["input_tokens"], each["output_tokens"]) for each in found["points"]] == [
        (number, *lengths) for number, lengths in enumerate(LENGTHS, start=2)
    ]
    assert [each["factor"] for each in found["points"]] == pytest.approx([1.25] * 3)


def test_engines_keep_their_own_points(points: Path) -> None:
    mixed = [line for pair in zip(measured(1.25), measured(0.8, "sglang"), strict=True) for line in pair]
    points.write_text("\n".join([",".join(COLUMNS), *mixed]) + "\n")
    found = {each["engine"]: each for each in json.loads(run(points, "--json").stdout)["calibrations"]}
    assert {engine: [point["line"] for point in each["points"]] for engine, each in found.items()} == {
        "vllm": [2, 4, 6],
        "sglang": [3, 5, 7],
    }
    assert found["sglang"]["speed"] == pytest.approx(0.8)


def test_the_lines_that_are_printed_are_taken(points: Path, tmp_path: Path) -> None:
    shown = run(points).stdout
    rows = [line for line in shown.splitlines() if line.startswith(" vllm ")]
    assert [line.split()[-4:] for line in rows] == [
        ["200", "100", "16", "1.250"],
        ["1,000", "300", "16", "1.250"],
        ["3,000", "50", "16", "1.250"],
    ]
    line = shown.splitlines()[-1]
    file = tmp_path / "alternatives.yaml"
    build = f"{{gpu: h100_sxm, tensor_parallel: 2, {line}}}"
    file.write_text(f"workloads: [{{name: w, equivalents: [{{model: llama-3.3-70b, build: [{build}]}}]}}]\n")
    assert str(alternatives.load(file).workloads[0].equivalents[0].build[0].speed) == "1.25"


def test_a_file_that_is_no_points(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("gpu,model\n")
    result = run(file)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("points.csv: no column tensor_parallel: the columns are gpu, model, ")
    assert result.stdout == ""
