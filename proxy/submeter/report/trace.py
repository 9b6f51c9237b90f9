"""Recorded calls as columns of numbers: what a report counts, prices anew and replays.

A trace comes from the ledger (``from_ledger``) or from a file (``trace_files``). Every source hands over batches of
columns under the ledger's names, and ``gather`` makes one trace of them, so that all sources mean the same by a word.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from itertools import chain, pairwise
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from submeter.core.record import CostState
from submeter.core.week import Week, day_of, last_complete
from submeter.core.when import DAY_NS
from submeter.store import schema
from submeter.store.ledger import Ledger
from submeter.store.queries import cost_by
from submeter.store.queries.grouping import within
from submeter.store.queries.priced import priced_calls

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Batch: TypeAlias = Mapping[str, Sequence[Any]]
"""``COLUMNS`` → as many values each, in the types of ``core.record.CallRow``; ``None``: missing."""

COST_STATES: tuple[str, ...] = get_args(CostState)
SYNTHETIC = "synthetic-"
"""How the ``call_id`` of a generated call begins. Nothing recorded is called so: relays give UUIDs."""

WORDS: Mapping[str, str] = {
    **{name: name for name in ("team", "app", "prompt", "prompt_version")},
    "price_model": "price_model",
    **{name: name for name in ("upstream", "service_tier", "region", "session", "endpoint")},
    "klass": "class",
}
"""What ``Trace.codes`` holds beside ``model``, and the ledger's column of it."""

COLUMNS: tuple[str, ...] = (
    *("call_id", "started_at_ns", "cache", "outcome", "refused", "stream", "unbounded"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "ttft_ns", "e2e_ns"),
    *("cost_nano_usd", "cost_low_nano_usd", "cost_high_nano_usd", "cost_state", "fees_nano_usd", "web_searches"),
    *("model_served", "model_requested"),
    *WORDS.values(),
    *schema.TOKEN_COLUMNS,
)
_ROWS_PER_BATCH = 2000
"""Fits in a processor's cache, with all its Python objects: ten times as many take longer per row."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trace:
    """One row per ledger row, in order of time; arrays of one length (``tokens`` has a column per token class)."""

    started_at_ns: Ints
    """Unix time."""
    input_tokens: Ints
    """Totals, cached and written tokens included; 0 where not ``counted``, as in all token columns."""
    cached_input_tokens: Ints
    output_tokens: Ints
    counted: Flags
    """Input and output are known, reported or estimated."""
    tokens: Ints
    """n × 14, in the order of ``core.record.TOKEN_CLASSES``."""
    cost_nano_usd: Ints
    """As the selected version has it; 0 where ``cost_state`` says that there is no figure, and on cache rows."""
    cost_low_nano_usd: Ints
    cost_high_nano_usd: Ints
    """Bounds of what is estimated or indeterminate; of an exact cost, that cost."""
    cost_state: NDArray[np.int8]
    """Places in ``COST_STATES``."""
    unbounded: Flags
    """The upper bound is unknown, or may be exceeded."""
    fees_nano_usd: Ints
    """The part of the cost that is billed by the request."""
    web_searches: Ints
    ttft_ns: Floats
    """NaN where not known, as ``e2e_ns``."""
    e2e_ns: Floats
    upstream_call: Flags
    """False: a hit or coalesced; answered without a call, so that it cost nothing and no fleet would see it."""
    answered: Flags
    """Sent upstream and answered, whole or in part, with known tokens: what a fleet would have to serve."""
    streamed: Flags
    synthetic: Flags
    """Generated, not recorded: a report over such rows says so."""
    codes: Mapping[str, NDArray[np.int32]]
    """Places in ``names``: ``model`` (the one served, else requested) and the keys of ``WORDS``."""
    names: Mapping[str, tuple[str | None, ...]]

    def __len__(self) -> int:
        return len(self.started_at_ns)

    def where(self, rows: Flags | Ints | slice) -> "Trace":
        """These rows alone; of a slice, or where these are all, without copying them."""
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_ and rows.all():
            return self
        arrays = {name: getattr(self, name)[rows] for name in _ARRAYS}
        codes = {name: places[rows] for name, places in self.codes.items()}
        return Trace(**arrays, codes=codes, names=self.names)

    def week(self, week: Week) -> "Trace":
        """The calls begun in the week."""
        first, last = np.searchsorted(self.started_at_ns, (week.start_ns, week.end_ns))
        return self.where(slice(int(first), int(last)))


_ARRAYS = tuple(field.name for field in fields(Trace) if field.name not in ("codes", "names"))


class Day(NamedTuple):
    """Sums over the calls begun on one UTC day."""

    day: date
    calls: int
    """That went upstream."""
    cost_nano_usd: int
    """Confirmed and estimated."""


def from_ledger(ledger: Ledger, week: Week) -> Trace:
    """The week's rows with the costs of the selected version, from one moment's view. Raises ``LedgerUnavailable``."""
    with ledger.reading() as connection:
        rows = priced_calls(connection)
        wanted = (
            select(*(rows.c[name] for name in COLUMNS))
            .where(*within(week.start_ns, week.end_ns, rows))
            .order_by(rows.c.started_at_ns, rows.c.call_id, rows.c.attempt)
        )
        with connection.execution_options(yield_per=_ROWS_PER_BATCH).execute(wanted) as found:
            return gather(dict(zip(COLUMNS, zip(*part, strict=True), strict=True)) for part in found.partitions())


def daily(source: Ledger | Trace, until: Week, weeks: int = 13) -> tuple[Day, ...]:
    """The days that have calls, of so many weeks up to and with ``until``, oldest first."""
    since_ns = until.previous(weeks - 1).start_ns
    if isinstance(source, Ledger):
        lines = cost_by(source, ("day",), since_ns, until.end_ns)
        return tuple(
            Day(date.fromisoformat(str(each.group["day"])), each.calls - each.hits, each.cost_nano_usd)
            for each in lines
        )
    return tuple(_days(source, since_ns, weeks * 7))


def _days(trace: Trace, since_ns: int, days: int) -> Iterator[Day]:
    first = day_of(since_ns)
    edges = np.searchsorted(trace.started_at_ns, since_ns + DAY_NS * np.arange(days + 1))
    for number, (start, end) in enumerate(pairwise(edges)):
        if end > start:
            yield Day(
                first + timedelta(days=number),
                int(trace.upstream_call[start:end].sum()),
                total_nano_usd(trace.cost_nano_usd[start:end]),
            )


def total_nano_usd(costs: Ints) -> int:
    """Exact, however large: in halves of 32 bits, whose sums fit in 64 for more rows than a trace can have."""
    return (int((costs >> 32).sum()) << 32) + int((costs & 0xFFFF_FFFF).sum())


def default_week(source: Ledger | Trace, now_ns: int) -> Week | None:
    """The last complete week, if it has calls; else the newest week that has; ``None``: there are no calls."""
    last = last_complete(now_ns)
    return last if daily(source, last, weeks=1) else _newest_week(source)


def _newest_week(source: Ledger | Trace) -> Week | None:
    if isinstance(source, Trace):
        return Week.of_ns(int(source.started_at_ns[-1])) if len(source) else None
    with source.reading() as connection:
        newest_ns = connection.execute(select(func.max(schema.calls.c.started_at_ns))).scalar()
    return None if newest_ns is None else Week.of_ns(newest_ns)


class _Names(dict[str | None, int]):
    """Gives each new text the next place."""

    def __missing__(self, text: str | None) -> int:
        self[text] = place = len(self)
        return place


def gather(batches: Iterable[Batch]) -> Trace:
    """One trace of all batches. Rows out of order are sorted by time; of the same instant, they stay as they came."""
    names = {name: _Names() for name in ("model", *WORDS)}
    grown: dict[str, NDArray[Any]] = {}
    for batch in chain([_EMPTY], batches):
        for name, part in (_arrays(batch) | _codes(batch, names)).items():
            _append(grown, name, part)
    codes = {name: grown.pop(name) for name in names}
    texts = {name: tuple(places) for name, places in names.items()}
    trace = Trace(**grown, codes=codes, names=texts)
    if bool((np.diff(trace.started_at_ns) < 0).any()):
        return trace.where(np.argsort(trace.started_at_ns, kind="stable"))
    return trace


_EMPTY: Batch = dict.fromkeys(COLUMNS, ())


def _append(grown: dict[str, NDArray[Any]], name: str, part: NDArray[Any]) -> None:
    """In place: gathering parts to join them in the end would hold a million rows twice."""
    if name not in grown:
        grown[name] = np.array(part, order="C")
        return
    whole, at = grown[name], len(grown[name])
    whole.resize((at + len(part), *whole.shape[1:]), refcheck=False)
    whole[at:] = part


def _arrays(batch: Batch) -> dict[str, NDArray[Any]]:
    counted = _known(batch["input_tokens"]) & _known(batch["output_tokens"])
    upstream_call = _flags([cache in ("miss", "bypass") for cache in batch["cache"]])
    refused = _flags(batch["refused"])
    failed = _flags([outcome == "upstream_error" for outcome in batch["outcome"]])
    return {
        "started_at_ns": _ints(batch["started_at_ns"]),
        **{name: _ints(batch[name]) * counted for name in ("input_tokens", "cached_input_tokens", "output_tokens")},
        "counted": counted,
        "tokens": np.column_stack([_ints(batch[name]) for name in schema.TOKEN_COLUMNS]) * counted[:, None],
        **_money(batch, upstream_call),
        "web_searches": _ints(batch["web_searches"]),
        "ttft_ns": np.array(batch["ttft_ns"], dtype=np.float64),
        "e2e_ns": np.array(batch["e2e_ns"], dtype=np.float64),
        "upstream_call": upstream_call,
        "answered": upstream_call & counted & ~refused & ~failed,
        "streamed": _flags(batch["stream"]),
        "synthetic": _flags([call_id is not None and call_id.startswith(SYNTHETIC) for call_id in batch["call_id"]]),
    }


def _money(batch: Batch, upstream_call: Flags) -> dict[str, NDArray[Any]]:
    """What a cache row would have cost is no cost."""
    cost = _ints(batch["cost_nano_usd"]) * upstream_call
    bounded = upstream_call & _flags([state in ("estimated", "indeterminate") for state in batch["cost_state"]])
    low = np.where(bounded & _known(batch["cost_low_nano_usd"]), _ints(batch["cost_low_nano_usd"]), cost)
    high_known = _known(batch["cost_high_nano_usd"])
    high = np.where(bounded & high_known, _ints(batch["cost_high_nano_usd"]), np.maximum(cost, low))
    return {
        "cost_nano_usd": cost,
        "cost_low_nano_usd": low,
        "cost_high_nano_usd": high,
        "cost_state": np.array([_STATE[state] for state in batch["cost_state"]], dtype=np.int8),
        "unbounded": bounded & (~high_known | _flags(batch["unbounded"])),
        "fees_nano_usd": _ints(batch["fees_nano_usd"]) * upstream_call,
    }


_STATE = {state: place for place, state in enumerate(COST_STATES)}


def _codes(batch: Batch, names: Mapping[str, _Names]) -> dict[str, NDArray[Any]]:
    asked = zip(batch["model_served"], batch["model_requested"], strict=True)
    words: dict[str, Sequence[Any]] = {"model": [wanted if served is None else served for served, wanted in asked]}
    words |= {name: batch[column] for name, column in WORDS.items()}
    return {name: np.array([places[text] for text in words[name]], dtype=np.int32) for name, places in names.items()}


def _ints(values: Sequence[int | None]) -> Ints:
    """Missing is 0 here, and told apart by a flag where that matters."""
    try:
        return np.array(values, dtype=np.int64)
    except TypeError:  # most columns miss nothing, and need no look at each value
        return np.array([0 if value is None else value for value in values], dtype=np.int64)


def _known(values: Sequence[object]) -> Flags:
    return _flags([value is not None for value in values])


def _flags(values: Sequence[object]) -> Flags:
    """Booleans; missing is false."""
    return np.array(values, dtype=np.bool_)
