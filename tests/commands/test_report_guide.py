"""docs/guide/report.md: its examples load, and it tells of every key, column, name and verdict that there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import yaml

from submeter.commands import report_output
from submeter.report import alternatives, catalog, points, trace_files, verdict
from submeter.report.alternatives import Alternatives, Architecture
from submeter.report.document import VerdictName

PAGE = (Path(__file__).parents[2] / "docs/guide/report.md").read_text()
SPANS = {word for span in re.findall(r"`([^`\n]+)`", PAGE) for word in re.split(r"[\s,:]+", span)}
BLOCKS = [text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if not kind]


def keys(kind: type[msgspec.Struct] = Alternatives) -> Iterator[str]:
    """Of the struct and of those in it; what only the catalog says of a model is not asked for."""
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        for inner in [field.type, *get_args(field.type)]:
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and inner is not Architecture:
                yield from keys(inner)


def test_every_key_of_alternatives_yaml() -> None:
    found = set(keys())
    assert {"engineer_usd_per_week", "evidence", "rent_by", "speed", "colo_usd_per_week", "usd"} <= found
    named = {re.sub(r"\[\]$|\.GPU$", "", span) for span in SPANS}
    assert found <= named


def test_every_gpu_and_model() -> None:
    assert {*catalog.gpus(), *catalog.models()} <= SPANS


def test_every_column_of_a_trace_and_of_points() -> None:
    table = PAGE.partition("## Columns of a trace")[2].partition("\n## ")[0]
    columns = set(re.findall(r"`([^`]+)`", table))
    known = set(trace_files._CELLS)
    assert known - {each for each in known if each.startswith("part_")} <= columns
    assert all(name in PAGE for name in points.COLUMNS)


def test_every_verdict_and_the_limits_of_the_rules() -> None:
    table = PAGE.partition("## What the verdicts mean")[2].partition("\n## ")[0]
    assert all(f"| {name} |" in table for name in get_args(VerdictName))
    assert f"fewer than {verdict.LEAST_CALLS} calls" in table
    assert f"fewer than {verdict.LEAST_DAYS} days" in table
    assert f"fewer than {verdict.LEAST_DAYS_TO_BUILD} days" in table
    assert f"within {100 * verdict.TOO_CLOSE:.0f} %" in table
    assert f"P(build cheaper) ≥ {verdict.LEAST_P}" in table
    assert f"more than {verdict.MOST_PAYBACK_WEEKS:.0f} weeks" in PAGE


def test_the_example_of_alternatives_loads(tmp_path: Path) -> None:
    file = tmp_path / "alternatives.yaml"
    [block] = [block for block in BLOCKS if block.startswith("engineer_usd_per_week")]
    file.write_text(block)
    found = alternatives.load(file)
    alternatives.check(found, file.name)
    assert found.workloads[0].equivalents[0].quality is not None


def test_the_line_of_evidence_is_that_of_the_example() -> None:
    lines = [yaml.safe_load(block) for block in BLOCKS if block.startswith("quality:")]
    assert [set(line["quality"]) for line in lines] == [set(alternatives.Quality.__struct_fields__)]


def test_the_example_of_points_is_read(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    [block] = [block for block in BLOCKS if block.startswith("engine,")]
    file.write_text(block)
    assert len(points.read(file)) == 3


def test_the_example_says_that_it_is_synthetic_and_has_the_table_that_is_printed() -> None:
    example = PAGE.partition("## An example")[2]
    assert example.strip().startswith("**Synthetic:**")
    assert all(column in example for column in report_output.COLUMNS)
