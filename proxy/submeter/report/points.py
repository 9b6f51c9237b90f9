"""Measured points of one's own servers, out of a CSV file: which model ran where, how it was asked, what it reached."""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from submeter.errors import UsageError
from submeter.report import catalog
from submeter.report.catalog import Precision, Server
from submeter.report.steptime import Unfit, kv_capacity_tokens

NEEDED = ("gpu", "model", "tensor_parallel", "precision", "input_tokens", "output_tokens")
MEASURED = ("output_tokens_per_s", "ttft_ms", "tpot_ms")
"""At least one of them: tokens of all GPUs of a replica, and means over the requests."""
TEXTS = ("gpu", "model", "precision", "engine")
MOST_AT_ONCE = 10_000
MOST_GPUS = 64
"""Of one replica."""
COLUMNS = (*NEEDED, "engine", "concurrency", *MEASURED)


class Point(NamedTuple):
    """A run of many requests of equal lengths."""

    line: int
    engine: str
    server: Server
    input_tokens: int
    output_tokens: int
    concurrency: int | None
    """Requests that are there at once; ``None``: all from the start."""
    output_tokens_per_s: float | None
    ttft_s: float | None
    tpot_s: float | None

    @property
    def group(self) -> "Group":
        return Group(self.engine, self.server.gpu.name, self.server.model.name, self.server.precision)


class Group(NamedTuple):
    """What one factor holds for."""

    engine: str
    gpu: str
    model: str
    precision: str


def read(path: Path) -> tuple[Point, ...]:
    """``points.csv``. Raises ``UsageError`` that names the line and the column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return tuple(_points(path.name, csv.DictReader(file)))
    except (OSError, UnicodeDecodeError, csv.Error) as unreadable:
        raise UsageError(f"{path.name}: {unreadable}: a CSV file in UTF-8 is needed") from None


def _points(file: str, rows: "csv.DictReader[str]") -> Iterator[Point]:
    columns = list(rows.fieldnames or ())
    missing = [name for name in NEEDED if name not in columns]
    unknown = [name for name in columns if name not in COLUMNS]
    if missing or unknown:
        named = f"no column {missing[0]}" if missing else f"unknown column {unknown[0]!r}"
        raise UsageError(f"{file}: {named}: the columns are {', '.join(COLUMNS)}")
    for row in rows:
        yield _point(file, rows.line_num, row)


def _point(file: str, line: int, row: Mapping[str, str | None]) -> Point:
    where = f"{file}, line {line}"
    texts = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if None in row:
        raise UsageError(f"{where}: more values than columns")
    for name in NEEDED:
        if not texts[name]:
            raise UsageError(f"{where}: {name} is missing")
    numbers = {name: _number(where, name, texts[name]) for name in COLUMNS if name not in TEXTS}
    if all(numbers[name] is None for name in MEASURED):
        raise UsageError(f"{where}: nothing was measured: give one of {', '.join(MEASURED)}")
    server = _server(where, texts, _whole(where, "tensor_parallel", numbers))
    concurrency = None if numbers["concurrency"] is None else _whole(where, "concurrency", numbers)
    point = Point(
        line=line,
        engine=texts["engine"],
        server=server,
        input_tokens=_whole(where, "input_tokens", numbers),
        output_tokens=_whole(where, "output_tokens", numbers),
        concurrency=concurrency,
        output_tokens_per_s=numbers["output_tokens_per_s"],
        ttft_s=_seconds(numbers["ttft_ms"]),
        tpot_s=_seconds(numbers["tpot_ms"]),
    )
    return _checked(where, point)


def _checked(where: str, point: Point) -> Point:
    try:
        holds = kv_capacity_tokens(point.server)
    except Unfit as unfit:
        raise UsageError(f"{where}: {unfit}") from None
    if point.input_tokens + point.output_tokens > holds:
        raise UsageError(f"{where}: one request is longer than the {holds:,} tokens that the server has memory for")
    if point.tpot_s is not None and point.output_tokens < 2:
        raise UsageError(f"{where}: an answer of one token has no tpot_ms")
    if point.concurrency is not None and point.concurrency > MOST_AT_ONCE:
        raise UsageError(f"{where}: a concurrency of {point.concurrency:,} is above {MOST_AT_ONCE:,}: leave it blank")
    if point.ttft_s is not None and point.concurrency is None:
        raise UsageError(f"{where}: ttft_ms needs the concurrency that it was measured at: all at once, most only wait")
    return point


def _server(where: str, texts: Mapping[str, str], tensor_parallel: int) -> Server:
    if texts["precision"] not in get_args(Precision):
        raise UsageError(f"{where}: precision is one of {', '.join(get_args(Precision))}, not {texts['precision']!r}")
    try:
        gpu, model = catalog.gpu(texts["gpu"]), catalog.model(texts["model"])
    except UsageError as unknown:
        raise UsageError(f"{where}: {unknown}") from None
    if tensor_parallel > MOST_GPUS:
        raise UsageError(f"{where}: tensor_parallel is at most {MOST_GPUS}, not {tensor_parallel}")
    precision = msgspec.convert(texts["precision"], Precision)
    return Server(gpu=gpu, model=model, tensor_parallel=tensor_parallel, precision=precision)


def _number(where: str, name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UsageError(f"{where}: {name} is a number above 0, not {text!r}")
    return number


def _whole(where: str, name: str, numbers: Mapping[str, float | None]) -> int:
    number = numbers[name]
    if number is None or number != int(number):
        raise UsageError(f"{where}: {name} is a whole number, not {number}")
    return int(number)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
