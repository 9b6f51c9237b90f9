"""Traces out of files: a CSV with the columns of ``submeter calls --json``, or what ``submeter export`` writes.

Needed are a time, the input and the output tokens of each call; every other column is optional, and a column that is
not known is passed over. An empty cell is a missing value. Without costs the calls are ``unpriced``; without
``part_*_tokens`` the token classes are made of the totals, which know nothing of audio, images and lifetimes.
"""

import csv
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from submeter.core.when import MAX_NS, parse_moment
from submeter.errors import UsageError
from submeter.report.trace import COLUMNS, COST_STATES, WORDS, Batch, Trace, gather
from submeter.store.schema import TOKEN_COLUMNS

ROWS_PER_BATCH = 2000
MOST_TOKENS = 10**9
MOST_NANO_USD = 10**13
"""Of one call ($10,000), so that no sum over a million calls can leave 64 bits."""

ALSO_CALLED: Mapping[str, str] = {
    "timestamp": "started_at",
    "contexttokens": "input_tokens",
    "generatedtokens": "output_tokens",
    "klass": "class",
    "model": "model_served",
}
"""Other names of columns, those of the Azure LLM inference traces among them; case does not matter in any."""


def read(path: Path) -> Trace:
    """By the file's name: ``.parquet``, anything else is CSV. Raises ``UsageError``."""
    return from_parquet(path) if path.suffix == ".parquet" else from_csv(path)


def from_csv(path: Path) -> Trace:
    """All calls of the file, in order of time. Raises ``UsageError`` that names line, column and fix."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _gathered(path, _csv_parts(path, file))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give a CSV of recorded calls") from None
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"{path} is no CSV in UTF-8: submeter export --csv DIR writes one") from None


def from_parquet(path: Path) -> Trace:
    """What ``submeter export`` has written as Parquet. Raises ``UsageError``."""
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]  # an extra, and slow to load
    except ModuleNotFoundError:
        raise UsageError("a .parquet trace needs pyarrow: pip install 'submeter[parquet]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            return _gathered(path, _parquet_parts(path, file))
    except (ArrowException, OSError):
        raise UsageError(f"cannot read {path} as Parquet: give a file that submeter export has written") from None


def _gathered(path: Path, parts: Iterator["_Part"]) -> Trace:
    """Each call once: two exports that overlap, put in one file, would double the money."""
    seen = array("q")

    def batches() -> Iterator[Batch]:
        for part in parts:
            found = {name: _values(part, name) for name in part.cells}
            if "call_id" in found and "attempt" in found:
                seen.extend(
                    hash(key) for key in zip(found["call_id"], found["attempt"], strict=True) if None not in key
                )
            yield _batch(part, found)

    trace = gather(batches())
    twice = len(seen) - len(np.unique(np.array(seen)))
    if twice:
        raise UsageError(f"{path}: {twice} rows have the call_id and attempt of an earlier one: keep one row of each")
    return trace


# ---- columns of text -----------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """Some rows, still as text."""

    cells: Mapping[str, Sequence[str | None]]
    """By the names of ``_CELLS``; empty or ``None``: missing."""
    places: Sequence[str]
    """Where each row stands, for messages."""


def _csv_parts(path: Path, file: Iterator[str]) -> Iterator[_Part]:
    reader = csv.reader(file, strict=True)
    header = next(reader, [])
    at = _columns(f"{path}: line 1", header)

    def rows() -> Iterator[tuple[int, list[str]]]:
        for row in reader:
            if row and len(row) != len(header):
                where = f"{path}: line {reader.line_num}"
                raise UsageError(f"{where}: {len(row)} cells under {len(header)} columns: quote cells that hold commas")
            if row:
                yield reader.line_num, row

    numbered = rows()
    while part := list(islice(numbered, ROWS_PER_BATCH)):
        cells = list(zip(*(row for _, row in part), strict=True))
        yield _Part({name: cells[column] for name, column in at.items()}, [f"{path}: line {line}" for line, _ in part])


def _parquet_parts(path: Path, file: Any) -> Iterator[_Part]:
    header = file.schema_arrow.names
    at = _columns(str(path), header)
    row = 0
    for part in file.iter_batches(ROWS_PER_BATCH, columns=[header[column] for column in at.values()]):
        cells = {name: part.column(header[column]).cast("string").to_pylist() for name, column in at.items()}
        yield _Part(cells, [f"{path}: row {number}" for number in range(row + 1, row + part.num_rows + 1)])
        row += part.num_rows


def _columns(where: str, header: Sequence[str]) -> dict[str, int]:
    """Known name → column. A column's own name goes before another name of the same."""
    written = [name.strip().lower() for name in header]
    at: dict[str, int] = {}
    for column, name in enumerate(written):
        if name in at:
            raise UsageError(f"{where}: two columns are called {name}: keep one")
        if name in _CELLS:
            at[name] = column
    for name, known in ALSO_CALLED.items():
        if name in written and known not in at:
            at[known] = written.index(name)
    for needed in (("started_at_ns", "started_at"), ("input_tokens",), ("output_tokens",)):
        if not any(name in at for name in needed):
            raise UsageError(
                f"{where}: no column {' or '.join(needed)}: the first line names the columns, separated by commas, "
                "as the keys of submeter calls --json do; submeter export --csv DIR writes such a file"
            )
    return at


# ---- text → values -------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """How a cell that is not empty is read: raises ``ValueError`` or ``LookupError``."""

    read: Callable[[str], Any]
    expected: str


def _whole(most: int) -> _Cell:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = _integral(text)
        if not 0 <= number <= most:
            raise ValueError
        return number

    return _Cell(read, f"a whole number from 0 to {most}")


def _integral(text: str) -> int:
    """``12.0``: some tools write integers so where cells are missing."""
    number = _decimal(text)
    if abs(number) > MAX_NS or number != number.to_integral_value():
        raise ValueError
    return int(number)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError from None
    if not number.is_finite():
        raise ValueError
    return number


def _nano_usd(text: str) -> int:
    amount = _decimal(text)
    if not 0 <= amount <= MOST_NANO_USD // 10**9:
        raise ValueError
    return round(amount * 10**9)


def _moment(text: str) -> int:
    at_ns = parse_moment(text)
    if at_ns < 0:
        raise ValueError
    return at_ns


def _duration(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MAX_NS:
        raise ValueError
    return number


def _text(text: str) -> str:
    """Without the quote that ``submeter export`` writes before what a spreadsheet would take for a formula."""
    return text[1:] if text[0] == "'" and text[1:2] in ("=", "+", "-", "@", "\t", "\r") else text


def _one_of(*texts: str) -> _Cell:
    return _Cell({text: text for text in texts}.__getitem__, f"one of {', '.join(texts)}")


_YES_NO = {"true": True, "false": False, "1": True, "0": False}

_TEXT = _Cell(_text, "text")
_FLAG = _Cell(lambda text: _YES_NO[text.lower()], "true or false")
_TOKENS = _whole(MOST_TOKENS)
_MONEY = _whole(MOST_NANO_USD)
_DURATION = _Cell(_duration, "nanoseconds, from 0")

_CELLS: Mapping[str, _Cell] = {
    "started_at_ns": _whole(MAX_NS),
    "started_at": _Cell(_moment, "a time such as 2026-11-20T08:30:00.5Z"),
    "call_id": _TEXT,
    "attempt": _whole(10**6),
    "cache": _one_of("hit", "miss", "bypass", "coalesced"),
    "outcome": _TEXT,
    "status": _whole(999),
    **dict.fromkeys(("refused", "stream", "unbounded"), _FLAG),
    **dict.fromkeys(("input_tokens", "cached_input_tokens", "cache_write_tokens"), _TOKENS),
    **dict.fromkeys(("output_tokens", "reasoning_tokens", *TOKEN_COLUMNS), _TOKENS),
    **dict.fromkeys(("cost_nano_usd", "cost_low_nano_usd", "cost_high_nano_usd", "fees_nano_usd"), _MONEY),
    "cost_usd": _Cell(_nano_usd, "dollars from 0 to 10000, such as 0.0125"),
    "cost_state": _one_of(*COST_STATES),
    "web_searches": _whole(10**6),
    **dict.fromkeys(("ttft_ns", "e2e_ns"), _DURATION),
    **dict.fromkeys(("model_served", "model_requested", *WORDS.values()), _TEXT),
}


def _values(part: _Part, name: str) -> list[Any]:
    cells, cell = part.cells[name], _CELLS[name]
    read = cell.read
    try:
        return [read(text) if text else None for text in cells]
    except (ValueError, LookupError):
        place = next(place for place, text in enumerate(cells) if text and not _readable(cell, text))
        raise _wrong(part, place, name, f"expected {cell.expected}; leave the cell empty if it is not known") from None


def _readable(cell: _Cell, text: str) -> bool:
    try:
        cell.read(text)
    except (ValueError, LookupError):
        return False
    return True


def _wrong(part: _Part, place: int, column: str, problem: str) -> UsageError:
    return UsageError(f"{part.places[place]}, column {column}: {problem}")


# ---- values → what the ledger would have -----------------------------------------------------------------------


def _batch(part: _Part, found: Mapping[str, list[Any]]) -> Batch:
    """The columns of a trace; what the file does not have is derived or missing."""
    missing = [None] * len(part.places)
    batch: dict[str, Sequence[Any]] = {name: found.get(name, missing) for name in COLUMNS}
    batch["started_at_ns"] = _times(part, found)
    batch["cache"] = ["miss" if cache is None else cache for cache in batch["cache"]]
    if "refused" not in found:
        batch["refused"] = [status is not None and status >= 400 for status in found.get("status", missing)]
    if "cost_nano_usd" not in found:
        batch["cost_nano_usd"] = found.get("cost_usd", missing)
    batch["cost_state"] = [
        ("unpriced" if cost is None else "exact") if state is None else state
        for state, cost in zip(batch["cost_state"], batch["cost_nano_usd"], strict=True)
    ]
    return batch | _tokens(part, batch, found)


def _times(part: _Part, found: Mapping[str, list[Any]]) -> list[Any]:
    name = "started_at_ns" if "started_at_ns" in found else "started_at"
    for place, at_ns in enumerate(found[name]):
        if at_ns is None:
            raise _wrong(part, place, name, "a call needs its time: fill it in, or take the line out")
    return found[name]


def _tokens(part: _Part, batch: Mapping[str, Sequence[Any]], found: Mapping[str, list[Any]]) -> dict[str, Any]:
    """By class: the file's own columns where it has any, else made of the totals."""
    by_class = [batch[name] for name in TOKEN_COLUMNS]
    if any(name in found for name in TOKEN_COLUMNS):
        _check_sums(part, batch, by_class)
        return {}
    missing = [None] * len(part.places)
    written, reasoning = found.get("cache_write_tokens", missing), found.get("reasoning_tokens", missing)
    cached, inputs, outputs = batch["cached_input_tokens"], batch["input_tokens"], batch["output_tokens"]
    return {
        "part_input_uncached_tokens": _rest(part, "input_tokens", inputs, cached, written),
        "part_cached_read_tokens": cached,
        "part_cache_write_tokens": written,
        "part_output_text_tokens": _rest(part, "output_tokens", outputs, reasoning),
        "part_reasoning_tokens": reasoning,
    }


def _rest(part: _Part, name: str, totals: Sequence[Any], *parts: Sequence[Any]) -> list[Any]:
    """A total without its parts."""
    rest = [
        None if total is None else total - sum(count for count in counts if count is not None)
        for total, *counts in zip(totals, *parts, strict=True)
    ]
    for place, count in enumerate(rest):
        if count is not None and count < 0:
            raise _wrong(part, place, name, "less than its own parts (cached, written, reasoning), which it includes")
    return rest


def _check_sums(part: _Part, batch: Mapping[str, Sequence[Any]], by_class: Sequence[Sequence[Any]]) -> None:
    totals = zip(batch["input_tokens"], batch["output_tokens"], zip(*by_class, strict=True), strict=True)
    for place, (inputs, outputs, counts) in enumerate(totals):
        known = inputs is not None and outputs is not None
        if known and inputs + outputs != sum(count for count in counts if count is not None):
            raise _wrong(
                part, place, "input_tokens", "input and output tokens are not the sum of the part_*_tokens columns"
            )
