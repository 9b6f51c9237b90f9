"""One call of a load test, or one row of the ledger; ``samples.csv``."""

import csv
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from submeter.core.when import parse_moment
from submeter.errors import UsageError


class Sample(msgspec.Struct, frozen=True):
    """Durations are ns by the monotonic clock; missing is ``None``."""

    started_ns: int
    """Since the run began; of a ledger row, Unix ns."""
    scheduled_ns: int | None
    """When it should have started (open loop); ``None``: closed loop."""
    setting: str
    model: str
    concurrency: int
    """Calls in flight when it started, itself included."""
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    ttfb_ns: int | None
    ttft_ns: int | None
    first_content_ns: int | None
    e2e_ns: int | None
    max_gap_ns: int | None
    status: int | None
    error: str | None
    call_id: str | None
    request_id: str | None
    streamed: bool

    @property
    def uncached_input_tokens(self) -> int | None:
        """A provider that names no cached tokens has read none from a cache."""
        if self.input_tokens is None:
            return None
        return self.input_tokens - (0 if self.cached_input_tokens is None else self.cached_input_tokens)


_FIELDS = Sample.__struct_fields__
_OPTIONAL = frozenset(
    each.name for each in msgspec.structs.fields(Sample) if type(None) in getattr(each.type, "__args__", ())
)


def write_csv(path: Path, samples: Iterable[Sample]) -> None:
    """UTF-8, a header, one line a sample. Missing is empty, so that an optional text that is empty reads as missing."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_FIELDS)
        writer.writerows([getattr(sample, name) for name in _FIELDS] for sample in samples)


def read_csv(path: Path) -> list[Sample]:
    """Raises ``UsageError`` that names line and column; columns it does not know are passed over."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            at = _columns(path, next(reader, []))
            return [_sample(f"{path}: line {reader.line_num}", row, at) for row in reader if row]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the --out of a load test") from None
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"{path} is no CSV in UTF-8: give the samples.csv of a load test") from None


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    missing = [name for name in _FIELDS if name not in header]
    if missing:
        raise UsageError(f"{path}: line 1: no column {missing[0]}: give the samples.csv of a load test")
    return {name: header.index(name) for name in _FIELDS}


def _sample(where: str, row: Sequence[str], at: Mapping[str, int]) -> Sample:
    if len(row) <= max(at.values()):
        raise UsageError(f"{where}: {len(row)} columns, not {max(at.values()) + 1}: the file was cut or edited")
    cells = {name: None if name in _OPTIONAL and not row[column] else row[column] for name, column in at.items()}
    cells["streamed"] = str(cells["streamed"]).lower()
    try:
        return msgspec.convert(cells, Sample, strict=False)
    except msgspec.ValidationError as error:
        column = str(error).rpartition("$.")[2].rstrip("`") or "?"
        raise UsageError(f"{where}, column {column}: the value does not fit: the file was edited") from None


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[Sample]:
    """Ledger rows (``store.queries.calls``, ``calls --json``) as samples: upstream calls that ended ok, oldest first.

    A setting is a pair of powers of two that the lengths do not exceed. Concurrency counts the upstream calls among
    ``rows`` to the same upstream and model, failed ones included.
    """
    return list(from_rows_in_order(sorted(rows, key=_started_ns)))


def from_rows_in_order(rows: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
    """The same of rows that come oldest first, one by one: a ledger may have more than memory holds."""
    in_flight: defaultdict[tuple[object, str], list[int]] = defaultdict(list)
    for row in rows:
        if row["cache"] not in ("miss", "bypass"):
            continue
        started_ns = _started_ns(row)
        ends = in_flight[row["upstream"], _model(row)]
        while ends and ends[0] <= started_ns:
            heapq.heappop(ends)
        if row["e2e_ns"] is not None:
            heapq.heappush(ends, started_ns + row["e2e_ns"])
        if row["outcome"] == "ok":
            yield _from_row(row, started_ns, max(1, len(ends)))


def _from_row(row: Mapping[str, Any], started_ns: int, concurrency: int) -> Sample:
    return Sample(
        started_ns=started_ns,
        scheduled_ns=None,
        setting=f"in<={_bucket(row['input_tokens'])},out<={_bucket(row['output_tokens'])}",
        model=_model(row),
        concurrency=concurrency,
        input_tokens=row["input_tokens"],
        cached_input_tokens=row["cached_input_tokens"],
        output_tokens=row["output_tokens"],
        ttfb_ns=row["ttfb_ns"],
        ttft_ns=row["ttft_ns"],
        first_content_ns=row["first_content_ns"],
        e2e_ns=row["e2e_ns"],
        max_gap_ns=row["max_gap_ns"],
        status=row["status"],
        error=None,
        call_id=row["call_id"],
        request_id=row["upstream_request_id"],
        streamed=bool(row["stream"]),
    )


def _started_ns(row: Mapping[str, Any]) -> int:
    return int(row["started_at_ns"]) if "started_at_ns" in row else parse_moment(row["started_at"])


def _model(row: Mapping[str, Any]) -> str:
    served = row["model_served"]
    return str(row["model_requested"] if served is None else served)


def _bucket(tokens: int | None) -> str:
    return "?" if tokens is None else str(1 << max(0, tokens - 1).bit_length())
