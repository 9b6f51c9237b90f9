"""Planted weeks: recorded calls whose bill, shape and right verdict are known by arithmetic, as a CSV or a ledger."""

import csv
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from typer.testing import CliRunner, Result

from submeter.commands.report import app
from submeter.core.week import Week
from submeter.core.when import rfc3339
from submeter.store import schema
from submeter.store.ledger import Ledger
from submeter.store.queries import CALL_KEYS

WEEK = Week.parse("2026-W47")
DAY_NS = 86_400 * 10**9
ROWS_PER_BATCH = 10_000
Row = dict[str, Any]
"""Columns of the ledger → values; what is left out is missing."""


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """One application's calls, alike but for when they come."""

    a_week: int
    app: str | None = "support"
    prompt: str | None = "answer"
    model: str | None = "gpt-4"
    input_tokens: int = 1000
    cached_input_tokens: int = 0
    output_tokens: int = 200
    usd_per_million: tuple[str, str, str] = ("30", "30", "60")
    """Of uncached and cached input, and of output."""
    ttft_ms: int = 400
    e2e_ms: int = 4000
    bursts: int = 0
    """A week, each of as many calls within a second; 0: as many calls on each day, at any time of it."""

    @property
    def nano_usd(self) -> int:
        """Of one call."""
        counts = self.input_tokens - self.cached_input_tokens, self.cached_input_tokens, self.output_tokens
        prices = (Decimal(price) * 1000 for price in self.usd_per_million)
        return int(sum(count * price for count, price in zip(counts, prices, strict=True)))

    @property
    def week_usd(self) -> Decimal:
        return self.a_week * Decimal(self.nano_usd).scaleb(-9)


def planted(*kinds: Calls, weeks: Sequence[Week] = (WEEK.previous(), WEEK), seed: int = 1) -> list[Row]:
    """In order of time. The same arguments give the same rows."""
    drawn = np.random.default_rng(seed)
    rows = [
        row(kind, week.start_ns + int(at_ns), f"{number}-{week}-{place}")
        for number, kind in enumerate(kinds)
        for week in weeks
        for place, at_ns in enumerate(_moments(kind, drawn))
    ]
    return sorted(rows, key=lambda each: (each["started_at_ns"], each["call_id"]))


def _moments(kind: Calls, drawn: np.random.Generator) -> Any:
    """Nanoseconds since the week's start."""
    if kind.bursts:
        starts = drawn.uniform(0, 7 * DAY_NS - 60e9, kind.bursts)
        return starts[np.arange(kind.a_week) % kind.bursts] + drawn.uniform(0, 1e9, kind.a_week)
    return np.arange(kind.a_week) % 7 * DAY_NS + drawn.uniform(0, DAY_NS, kind.a_week)


def row(kind: Calls, at_ns: int, call_id: str, **otherwise: Any) -> Row:
    """An answered call; ``otherwise``: columns that are not as the kind has them."""
    prices = [int(Decimal(price) * 1000) for price in kind.usd_per_million]
    counts = kind.input_tokens - kind.cached_input_tokens, kind.cached_input_tokens, kind.output_tokens
    names = ("input_uncached", "cached_read", "output_text")
    return {
        "call_id": call_id,
        "attempt": 1,
        "operation_id": call_id,
        "app": kind.app,
        "prompt": kind.prompt,
        "class": "interactive",
        "endpoint": "chat/completions",
        "upstream": "openai",
        "model_requested": kind.model,
        "model_served": kind.model,
        "stream": True,
        "n": 1,
        "tools": False,
        "started_at_ns": at_ns,
        "ttfb_ns": kind.ttft_ms * 10**6,
        "ttft_ns": kind.ttft_ms * 10**6,
        "e2e_ns": kind.e2e_ms * 10**6,
        "input_tokens": kind.input_tokens,
        "cached_input_tokens": kind.cached_input_tokens,
        "output_tokens": kind.output_tokens,
        **{f"part_{name}_tokens": count for name, count in zip(names, counts, strict=True)},
        **{f"part_{name}_nano_usd": count * price for name, count, price in zip(names, counts, prices, strict=True)},
        "usage_source": "reported",
        "input_reported": True,
        "output_bytes": 4 * kind.output_tokens,
        "refers_elsewhere": False,
        "refused": False,
        "cost_nano_usd": kind.nano_usd,
        "cost_state": "exact",
        "price_model": kind.model,
        "unbounded": False,
        "clock_jumped": False,
        "outcome": "ok",
        "status": 200,
        "finish_reason": "stop",
        "cache": "bypass",
        "bytes_in": 4 * kind.input_tokens,
        "bytes_out": 4 * kind.output_tokens,
        **otherwise,
    }


# ---- where the rows go -----------------------------------------------------------------------------------------


def write_csv(path: Path, rows: Iterable[Row], columns: Sequence[str] = CALL_KEYS) -> Path:
    """``columns``: those of ``submeter calls --json``, in any order. Missing is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**each, "started_at": rfc3339(each["started_at_ns"])} for each in rows)
    return path


_NAMES = tuple(column.name for column in schema.calls.c)
_INSERT = f"INSERT INTO calls ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))})"  # noqa: S608 - of constants


def write_ledger(path: Path, rows: Iterable[Row]) -> Path:
    """Straight into the table: a million rows in half a minute. A new ledger is made, to an old one rows are added."""
    with Ledger.open(f"sqlite:///{path}") as ledger:
        ledger.migrate()
    left = iter(rows)
    with closing(sqlite3.connect(path)) as connection, connection:
        while batch := list(islice(left, ROWS_PER_BATCH)):
            connection.executemany(_INSERT, (tuple(each.get(name) for name in _NAMES) for each in batch))
    return path


# ---- the report over them --------------------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    """``submeter report``, in this process."""
    return CliRunner().invoke(app, [str(each) for each in arguments])


def report(*arguments: object, week: Week = WEEK) -> dict[str, Any]:
    """Its JSON; amounts are exact."""
    ended = run("--week", week, "--json", "-", *arguments)
    if ended.exception is not None:
        raise ended.exception
    found: dict[str, Any] = json.loads(ended.stdout, parse_float=Decimal)
    return found


def workload(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document["workloads"] if each["name"] == name)
    return found


def sums(rows: Iterable[Row], week: Week = WEEK) -> Iterator[int]:
    """Nano-USD of the week's calls that went upstream."""
    for each in rows:
        if week.start_ns <= each["started_at_ns"] < week.end_ns and each["cache"] in ("miss", "bypass"):
            yield each["cost_nano_usd"] or 0
