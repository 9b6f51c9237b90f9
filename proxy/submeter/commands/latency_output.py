"""How latency is printed: a table of percentiles, one JSON document."""

from typing import Any

from rich.table import Table

from submeter.commands import reading, tables
from submeter.commands.reading import Question
from submeter.store.queries import LatencyLine

FIGURES = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end to end", "overhead": "overhead"}


def write_json(asked: Question, lines: list[LatencyLine]) -> None:
    reading.write_json({**asked.as_json(), "lines": [_flat(line) for line in lines]})


def _flat(line: LatencyLine) -> dict[str, Any]:
    return {**line.group, "n": line.n, **{name: getattr(line, name) for name in FIGURES}}


def print_tables(asked: Question, lines: list[LatencyLine]) -> None:
    console = tables.make_console()
    table = tables.make_table(f"Latency in ms, {asked.period}", (*asked.keys, "figure"), ("calls", "p50", "p95", "p99"))
    for line in lines:
        _add_group(table, line, asked.keys)
    console.print(table if lines else "no calls that went upstream and ended well")


def _add_group(table: Table, line: LatencyLine, keys: list[str]) -> None:
    """One row per figure; the group's name stands on the first."""
    names = [tables.plain(line.group[key]) for key in keys]
    for field, label in FIGURES.items():
        found = getattr(line, field)
        if found is not None:
            percentiles = (tables.ms(value) for value in (found.p50_ns, found.p95_ns, found.p99_ns))
            table.add_row(*names, label, tables.count(found.n), *percentiles)
            names = [tables.plain("") for _ in keys]
    table.add_section()
