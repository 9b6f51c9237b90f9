"""How exported files are written: in batches, under another name until they are whole, for the owner's eyes alone."""

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from submeter.core import when
from submeter.store.export.tables import Column, Kind, Row

ROWS_PER_BATCH = 10_000
"""Also the size of a Parquet row group; some 10 MB of calls in memory."""

_Write = Callable[[IO[bytes], Sequence[Column], Iterator[Row]], None]


def write_file(path: Path, format: str, columns: Sequence[Column], rows: Iterator[Row]) -> None:  # noqa: A002
    """Write the rows to ``path``, in one of ``FORMATS``; a file that is there is replaced when all is written.

    Raises ``OSError``, and whatever ``rows`` raises: then ``path`` is as it was. ``ModuleNotFoundError`` where
    Parquet is asked for and pyarrow is not installed.
    """
    with _whole_or_not_at_all(path) as file:
        FORMATS[format](file, columns, rows)


@contextmanager
def _whole_or_not_at_all(path: Path) -> Iterator[IO[bytes]]:
    part = path.with_name(f"{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, ROWS_PER_BATCH)):
        yield batch


def no_formula(text: str) -> str:
    """Names come from clients, and a spreadsheet runs a cell that begins like a formula; a quote makes it text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


_CELLS: Mapping[Kind, Callable[..., object]] = {
    "text": no_formula,
    "integer": str,
    "boolean": lambda value: "true" if value else "false",
    "number": repr,
    "time": when.rfc3339,
    "dollars": "{:f}".format,
}


def _write_csv(file: IO[bytes], columns: Sequence[Column], rows: Iterator[Row]) -> None:
    """UTF-8, as RFC 4180 has it; what is missing is an empty cell.

    Lines end in CR LF: with LF alone, Python's writer would leave a cell with a CR unquoted, which ends its row.
    """
    cells = [_CELLS[column.kind] for column in columns]
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        writer = csv.writer(text)
        writer.writerow(column.name for column in columns)
        for row in rows:
            writer.writerow("" if value is None else cell(value) for cell, value in zip(cells, row, strict=True))
    finally:
        text.detach()


def _write_parquet(file: IO[bytes], columns: Sequence[Column], rows: Iterator[Row]) -> None:
    # Imported here: it is an extra, and takes longer to load than most ledgers to read.
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "boolean": pyarrow.bool_(),
        "number": pyarrow.float64(),
        "time": pyarrow.timestamp("ns", tz="UTC"),
        "dollars": pyarrow.decimal128(38, 9),
    }
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            by_column = zip(zip(*batch, strict=True), schema, strict=True)
            arrays = [pyarrow.array(values, field.type) for values, field in by_column]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


FORMATS: Mapping[str, _Write] = {"csv": _write_csv, "parquet": _write_parquet}
"""By their file name's end."""
