"""How calls are printed: JSON lines, a table, one call in full."""

import sys
from collections.abc import Iterable
from typing import Any

from msgspec.json import Encoder
from rich.table import Table
from rich.text import Text

from submeter.commands import tables

MIN_WIDTHS = {"call id": 150, "team": 110, "app": 110}
"""Columns that a terminal must have before these are shown; the rest always is."""


def write_json_lines(lines: Iterable[dict[str, Any]]) -> None:
    encode = Encoder().encode
    for line in lines:
        sys.stdout.buffer.write(encode(line) + b"\n")


def print_list(lines: Iterable[dict[str, Any]]) -> None:
    console = tables.make_console()
    texts = [
        name
        for name in ("started", "call id", "team", "app", "model", "end")
        if console.width >= MIN_WIDTHS.get(name, 0)
    ]
    figures = ["in", "out", "cost", "TTFT ms", "e2e ms"]
    missing = "" if "call id" in texts else "; call ids with --json or in a wider terminal"
    table = tables.make_table(f"Calls, times in UTC{missing}", texts, figures, whole=("started", "call id"))
    for line in lines:
        cells = _cells(line)
        table.add_row(*(cells[name] for name in (*texts, *figures)))
    console.print(table if table.row_count else "no calls")


def _cells(line: dict[str, Any]) -> dict[str, str | Text]:
    model = line["model_requested"] if line["model_served"] is None else line["model_served"]
    return {
        "started": line["started_at"][5:19].replace("T", " "),
        "call id": _id(line),
        "team": tables.plain(line["team"]),
        "app": tables.plain(line["app"]),
        "model": tables.plain(model),
        "end": _end(line),
        "in": tables.count(line["input_tokens"]),
        "out": tables.count(line["output_tokens"]),
        "cost": _cost(line),
        "TTFT ms": tables.ms(line["ttft_ns"]),
        "e2e ms": tables.ms(line["e2e_ns"]),
    }


def _id(line: dict[str, Any]) -> str:
    return str(line["call_id"]) if line["attempt"] == 1 else f"{line['call_id']} ({line['attempt']})"


def _end(line: dict[str, Any]) -> str:
    """How it ended, in a word: from the cache, well, or not."""
    if line["outcome"] == "ok" and line["cache"] in ("hit", "coalesced"):
        return str(line["cache"])
    return str(line["outcome"]).replace("_", " ")


def _cost(line: dict[str, Any]) -> str:
    """The cost, marked where it is not exact; where there is none, why."""
    if line["cost_state"] == "exact":
        return tables.usd(line["cost_nano_usd"])
    if line["cost_state"] == "estimated":
        return f"~{tables.usd(line['cost_nano_usd'])}"
    if line["cost_state"] == "indeterminate":
        return f"{tables.usd(line['cost_low_nano_usd'])} to {tables.usd(line['cost_high_nano_usd'])}"
    return str(line["cost_state"])


def print_in_full(attempts: list[dict[str, Any]]) -> None:
    console = tables.make_console()
    for attempt in attempts:
        table = tables.make_table(f"Call {attempt['call_id']}, attempt {attempt['attempt']}", ("", ""), ())
        table.show_header = False
        for key, value in attempt.items():
            if key not in ("tokens", "costs_nano_usd"):
                table.add_row(_label(key), tables.plain(_readable(key, value)))
        console.print(table)
        if attempt["tokens"] is not None:
            console.print(_parts(attempt["tokens"], attempt["costs_nano_usd"]))


def _label(key: str) -> str:
    """Without the unit, which the value shows."""
    return key.removesuffix("_nano_usd").removesuffix("_ns")


def _readable(key: str, value: Any) -> Any:
    if value is None:
        return None
    if key.endswith("_nano_usd"):
        return tables.usd_exact(value)
    if key.endswith("_ns"):
        return f"{tables.ms(value)} ms"
    return value


def _parts(tokens: dict[str, int], costs: dict[str, int] | None) -> Table:
    """How the cost is made: only the classes that have tokens."""
    table = tables.make_table("Tokens and cost by class", ("class",), ("tokens", "cost"))
    for name, number in tokens.items():
        if number:
            cost = tables.MISSING if costs is None else tables.usd_exact(costs[name])
            table.add_row(name, tables.count(number), cost)
    return table
