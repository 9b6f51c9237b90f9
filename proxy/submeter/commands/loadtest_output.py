"""How a load test is printed: a table of settings, the model of latency, what was odd; one JSON document."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from submeter.commands import reading, tables

COLUMNS = ("calls", "errors", "TTFT p50", "p95", "TPOT p50", "end to end p50", "p95")
STEP_COLUMNS = ("asked/s", "answered/s", "in flight", "calls", "errors", "p50", "p95", "p99")
CHANGE_COLUMNS = ("ratio", "95 % from", "to")
FITTED = {
    "a_ms": "fixed",
    "b_ms_per_input_token": "per uncached input token",
    "c_ms_per_output_token": "per output token",
}


def write_run(document: dict[str, Any], out: Path, *, as_json: bool) -> None:
    if as_json:
        reading.write_json(document)
        _print_failure(document)
        return
    console = tables.make_console()
    table = tables.make_table(f"{document['scenario']} at {document['target']}, in ms", ("setting",), COLUMNS)
    for line in document["settings"]:
        table.add_row(
            tables.plain(line["setting"]), tables.count(line["n"]), tables.count(line["errors"]), *_cells(line)
        )
    console.print(table)
    _print_steps(console, document)
    _print_fit(console, document)
    cost = tables.MISSING if document["cost_usd"] is None else f"${document['cost_usd']}"
    console.print(tables.plain(f"cost {cost}, from {document['cost_source']} · seed {document['seed']}"))
    console.print(tables.plain(f"coordinated omission: {document['coordinated_omission']}"))
    for warning in document["warnings"]:
        console.print("[yellow]![/yellow]", tables.plain(warning))
    console.print(tables.plain(f"{out}/result.json, samples.csv, report.html"))
    _print_failure(document)


def _print_failure(document: dict[str, Any]) -> None:
    if document["failure"] is not None:
        Console(stderr=True, highlight=False, soft_wrap=True).print(tables.plain(document["failure"]))


def _print_steps(console: Console, document: dict[str, Any]) -> None:
    if not document["steps"]:
        return
    table = tables.make_table("Steps, in ms from the schedule", (), STEP_COLUMNS)
    for step in document["steps"]:
        rates = (f"{step[name]:,.2f}" for name in ("rate_per_s", "throughput_per_s", "concurrency"))
        counts = (tables.count(step[name]) for name in ("calls", "errors"))
        table.add_row(*rates, *counts, *(_ms(step[name]) for name in ("p50_ms", "p95_ms", "p99_ms")))
    console.print(table)
    knee = document["knee"]
    at = "no knee" if knee["rate_per_s"] is None else f"knee at {knee['rate_per_s']:.2f} calls/s"
    in_flight = "" if knee["concurrency"] is None else f", {knee['concurrency']:.1f} in flight"
    console.print(tables.plain(f"{at}{in_flight}: {knee['why']}"))


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    wanted = (("ttft_ms", "p50"), ("ttft_ms", "p95"), ("tpot_ms", "p50"), ("e2e_ms", "p50"), ("e2e_ms", "p95"))
    return tuple(_ms(None if line[measure] is None else line[measure][name]) for measure, name in wanted)


def _ms(value: float | None) -> str:
    return tables.ms(None if value is None else value * 1e6)


def _print_fit(console: Console, document: dict[str, Any]) -> None:
    fit = document["fit"]
    if fit is None:
        console.print(tables.plain(f"no model of latency: {document['fit_missing']}"))
        return
    table = tables.make_table("End to end = the sum of these", ("part",), ("ms", "95 % from", "to"))
    for name, label in FITTED.items():
        part = fit[name]
        table.add_row(label, *(_ms(part[key]) for key in ("value", "low", "high")))
    console.print(table)
    console.print(tables.plain(f"R² {fit['r2']:.3f} of {fit['n']} calls"))


def write_comparison(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        reading.write_json(found)
        return
    console = tables.make_console()
    table = tables.make_table("After against before", ("measure", "verdict"), CHANGE_COLUMNS)
    for line in found["measures"]:
        _add_change(table, line, tables.plain(line["measure"]))
    console.print(table)
    if found["settings"]:
        table = tables.make_table("By setting", ("setting", "measure", "verdict"), CHANGE_COLUMNS, whole=("setting",))
        for line in found["settings"]:
            _add_change(table, line, tables.plain(line["setting"]), tables.plain(line["measure"]))
        console.print(table)


def _add_change(table: Table, line: dict[str, Any], *names: Text) -> None:
    figures = (tables.MISSING if line[key] is None else f"{line[key]:.3f}" for key in ("effect", "low", "high"))
    verdict = line["verdict"] if line["reason"] is None else f"{line['verdict']}: {line['reason']}"
    table.add_row(*names, tables.plain(verdict), *figures)
