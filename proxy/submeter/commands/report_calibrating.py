"""``submeter report calibrate``: measured points, what they say of each server, and the lines for alternatives.yaml."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from submeter.commands import reading, tables
from submeter.commands.tables import plain
from submeter.report import calibrate, points
from submeter.report.calibrate import Calibration
from submeter.report.points import Point

COLUMNS = ("tokens in", "out", "at once", "measured ÷ predicted")


def run(path: Path, *, as_json: bool) -> None:
    """Raises ``UsageError``."""
    read = points.read(path)
    found = calibrate.calibrate(read)
    if as_json:
        reading.write_json({"calibrations": [_document(each, read) for each in found]})
    else:
        _print(found, read)


def _of(calibration: Calibration, read: Sequence[Point]) -> Iterator[tuple[Point, float]]:
    """Its points with their factors."""
    own = [point for point in read if point.group == calibration.group]
    return zip(own, calibration.factors, strict=True)


def _document(calibration: Calibration, read: Sequence[Point]) -> dict[str, Any]:
    measured = [
        {
            "line": point.line,
            "input_tokens": point.input_tokens,
            "output_tokens": point.output_tokens,
            "concurrency": point.concurrency,
            "factor": factor,
        }
        for point, factor in _of(calibration, read)
    ]
    named = calibration.group._asdict()
    return {**named, "speed": calibration.speed, "spread": calibration.spread, "points": measured}


def _print(found: Sequence[Calibration], read: Sequence[Point]) -> None:
    console = tables.make_console()
    table = tables.make_table("Measured against the model", ("engine", "model", "gpu"), COLUMNS)
    for each in found:
        named = [
            plain(text) for text in (each.group.engine, each.group.model, f"{each.group.gpu}, {each.group.precision}")
        ]
        for point, factor in _of(each, read):
            at_once = "all" if point.concurrency is None else tables.count(point.concurrency)
            lengths = tables.count(point.input_tokens), tables.count(point.output_tokens)
            table.add_row(*named, *lengths, at_once, f"{factor:.3f}")
        table.add_section()
    console.print(table)
    console.print("For each build: in alternatives.yaml that is such a server:\n")
    for line in calibrate.alternatives(found, datetime.now(UTC).date()).splitlines():
        console.print(plain(line))
