"""How latency is printed: a table of percentiles, a table of fits, one JSON document."""

from typing import Any

from rich.table import Table

from submeter.commands import reading, tables
from submeter.commands.reading import Question
from submeter.core.latency import Fit
from submeter.store.queries import LatencyLine

FIGURES = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end to end", "overhead": "overhead"}


def write_json(asked: Question, lines: list[LatencyLine], *, with_fit: bool) -> None:
    reading.write_json({**asked.as_json(), "lines": [_flat(line, with_fit) for line in lines]})


def _flat(line: LatencyLine, with_fit: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {"n": line.n, **{name: getattr(line, name) for name in FIGURES}}
    if with_fit:
        figures["fit"] = line.fit
    return {**line.group, **figures}


def print_tables(asked: Question, lines: list[LatencyLine], *, with_fit: bool) -> None:
    console = tables.make_console()
    table = tables.make_table(f"Latency in ms, {asked.period}", (*asked.keys, "figure"), ("calls", "p50", "p95", "p99"))
    for line in lines:
        _add_group(table, line, asked.keys)
    console.print(table if lines else "no calls that went upstream and ended well")
    if with_fit and lines:
        console.print(_fits(lines, asked.keys))


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


def _fits(lines: list[LatencyLine], keys: list[str]) -> Table:
    table = tables.make_table(
        "End to end = fixed + input x per input token + output x per output token; plain least squares, in ms",
        keys,
        ("calls", "fixed", "per input token", "per output token", "R²"),
    )
    for line in lines:
        table.add_row(*(tables.plain(line.group[key]) for key in keys), *_cells(line.fit))
    return table


def _cells(found: Fit | None) -> tuple[str, ...]:
    if found is None:
        return ("lengths do not vary enough", *(tables.MISSING,) * 4)
    return (
        tables.count(found.n),
        tables.ms(found.intercept_ns),
        tables.ms(found.per_input_token_ns),
        tables.ms(found.per_output_token_ns),
        f"{found.r2:.3f}",
    )
