"""How a test of peers is printed: a table per hop, what was odd; one JSON document."""

from pathlib import Path
from typing import Any

from rich.console import Console

from submeter.commands import reading, tables

MEASURES = {"ttft_ms": "TTFT", "ttfb_ms": "first byte", "e2e_ms": "end to end"}


def write(document: dict[str, Any], out: Path, *, as_json: bool) -> None:
    if as_json:
        reading.write_json(document)
    else:
        _print(document, out)
    if document["failure"] is not None:
        Console(stderr=True, highlight=False, soft_wrap=True).print(tables.plain(document["failure"]))


def _print(document: dict[str, Any], out: Path) -> None:
    console = tables.make_console()
    columns = [column for name in MEASURES.values() for column in (name, "95 % from", "to")]
    for hop in document["added"]:
        table = tables.make_table(f"{hop['target']} adds to {document['base']}, in ms", ("setting",), columns)
        for line in ({**hop, "setting": "mean of all"}, *hop["settings"]):
            table.add_row(tables.plain(line["setting"]), *(cell for name in MEASURES for cell in _cells(line[name])))
        console.print(table)
    for target in document["targets"]:
        counted = f"{tables.count(target['n'])} calls, {tables.count(target['errors'])} errors"
        console.print(tables.plain(f"{target['target']} {target['url']}: {counted}"))
    cost = tables.MISSING if document["cost_usd"] is None else f"${document['cost_usd']}"
    console.print(tables.plain(f"cost {cost} · {document['rounds']} rounds · seed {document['seed']}"))
    for warning in document["warnings"]:
        console.print("[yellow]![/yellow]", tables.plain(warning))
    console.print(tables.plain(f"{out}/peers.json, peers.csv, and a directory for each target"))


def _cells(interval: dict[str, float] | None) -> list[str]:
    if interval is None:
        return [tables.MISSING] * 3
    return [f"{interval[edge]:+.3f}" for edge in ("value", "low", "high")]
