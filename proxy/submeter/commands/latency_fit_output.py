"""How a week's model of latency is printed: a table of coefficients, a table of verdicts, one JSON document."""

from typing import Any

import msgspec
from rich.table import Table

from submeter.commands import reading, tables
from submeter.core import when
from submeter.core.week import Week
from submeter.loadtest.fit import Coefficient, NotFitted
from submeter.loadtest.production import ModelWeek, Report

LABELS = {"ttft": "TTFT", "tpot": "TPOT"}


def write_json(report: Report) -> None:
    reading.write_json(
        {
            **_period(report.week, report.until_ns),
            "before": _period(report.before, report.before_until_ns),
            "regressed": report.regressed,
            "models": [_flat(line) for line in report.models],
        }
    )


def _period(week: Week, until_ns: int) -> dict[str, str]:
    return {"week": week.text, "since": when.rfc3339(week.start_ns), "until": when.rfc3339(until_ns)}


def _flat(line: ModelWeek) -> dict[str, Any]:
    missing = isinstance(line.fit, NotFitted)
    return {
        **{name: getattr(line, name) for name in ("model", "calls", "calls_before", "regressed")},
        "fit": None if missing else msgspec.to_builtins(line.fit),
        "fit_missing": line.fit.reason if isinstance(line.fit, NotFitted) else None,
        **{name: msgspec.to_builtins(getattr(line, name)) for name in ("threshold", "measures", "settings")},
    }


def print_tables(report: Report) -> None:
    console = tables.make_console()
    if not report.models:
        console.print(f"no calls that went upstream and ended well in {report.week.text}")
        return
    console.print(_fits(report))
    for line in report.models:
        for warning in () if isinstance(line.fit, NotFitted) else line.fit.warnings:
            console.print("[yellow]![/yellow]", tables.plain(f"{line.model}: {warning}"))
    console.print(_verdicts(report))


def _fits(report: Report) -> Table:
    table = tables.make_table(
        f"{report.week.text}: end to end in ms = fixed + input x per uncached input token + output x per output token",
        ("model", "part"),
        ("ms", "95 % from", "to", "R²", "calls"),
    )
    for line in report.models:
        _add_fit(table, line)
        table.add_section()
    return table


def _add_fit(table: Table, line: ModelWeek) -> None:
    """The model's name and the fit's own figures stand on the first row."""
    if isinstance(line.fit, NotFitted):
        missing = (tables.MISSING,) * 4
        table.add_row(tables.plain(line.model), tables.plain(line.fit.reason), *missing, tables.count(line.calls))
        return
    first = (f"{line.fit.r2:.3f}", tables.count(line.fit.n))
    table.add_row(tables.plain(line.model), "fixed", *_cells(line.fit.a_ms), *first)
    table.add_row("", "per uncached input token", *_cells(line.fit.b_ms_per_input_token))
    table.add_row("", "per output token", *_cells(line.fit.c_ms_per_output_token))


def _cells(part: Coefficient) -> tuple[str, ...]:
    return tuple(tables.ms(value * 1e6) for value in (part.value, part.low, part.high))


def _verdicts(report: Report) -> Table:
    table = tables.make_table(
        f"Against {report.before.text}, calls of like lengths: medians after / before",
        ("model", "measure", "verdict"),
        ("ratio", "95 % from", "to", "calls before"),
    )
    for line in report.models:
        for at, change in enumerate(line.measures):
            name = tables.plain("" if at else line.model)
            verdict = change.verdict if change.reason is None else f"{change.verdict}: {change.reason}"
            figures = (change.effect, change.low, change.high)
            cells = (tables.MISSING if figure is None else f"{figure:.3f}" for figure in figures)
            before = "" if at else tables.count(line.calls_before)
            table.add_row(name, LABELS[change.measure], tables.plain(verdict), *cells, before)
        table.add_section()
    return table
