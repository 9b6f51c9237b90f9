"""How cost is printed: a table with its coverage, one JSON document, CSV."""

import csv
import sys
from typing import Any

from rich.table import Table

from submeter.commands import reading, tables
from submeter.commands.reading import Question
from submeter.commands.tables import count, plural, share, usd, usd_exact
from submeter.store.export import no_formula
from submeter.store.queries import CostLine
from submeter.store.queries.priced import ORIGINAL

SUMS = tuple(name for name in CostLine.__struct_fields__ if name != "group")


def write_json(asked: Question, lines: list[CostLine], total: CostLine, version: str) -> None:
    flat = [_flat(line) for line in lines]
    reading.write_json({**asked.as_json(), "version": version, "lines": flat, "total": _flat(total)})


def write_csv(asked: Question, lines: list[CostLine]) -> None:
    # With another line end than its own, Python's csv would leave a cell with a carriage return without quotes.
    writer = csv.DictWriter(sys.stdout, [*asked.keys, *SUMS])
    writer.writeheader()
    for line in lines:
        writer.writerow({**_flat(line), **{key: value and no_formula(value) for key, value in line.group.items()}})


def _flat(line: CostLine) -> dict[str, Any]:
    return {**line.group, **{name: getattr(line, name) for name in SUMS}}


def print_lines(asked: Question, lines: list[CostLine], total: CostLine) -> None:
    """The table; without keys or lines there is nothing that the coverage does not say."""
    if not asked.keys or not lines:
        return
    columns = _columns(total)
    table = tables.make_table(f"Cost, {asked.period}", asked.keys, columns)
    for line in lines:
        cells = _cells(line)
        names = (tables.plain(line.group[key]) for key in asked.keys)
        table.add_row(*names, *(cells[name] for name in columns))
    tables.make_console().print(table)


def _columns(total: CostLine) -> list[str]:
    """Those that would be empty all the way down are left out."""
    says_something = {
        "calls": True,
        "hits": total.hits > 0,
        "of cacheable": total.hits > 0,
        "input": True,
        "cached": total.cached_input_tokens > 0,
        "cache write": total.cache_write_tokens > 0,
        "output": True,
        "reasoning": total.reasoning_tokens > 0,
        "confirmed": True,
        "estimated": total.estimated_calls > 0,
        "indeterminate": total.indeterminate_calls > 0,
        "unpriced": total.unpriced_calls > 0,
        "unmetered": total.unmetered_calls > 0,
        "saved": total.hits > 0,
    }
    return [name for name, yes in says_something.items() if yes]


def _cells(line: CostLine) -> dict[str, str]:
    return {
        "calls": count(line.calls),
        "hits": count(line.hits),
        "of cacheable": share(line.hits, line.cacheable),
        "input": count(line.input_tokens),
        "cached": count(line.cached_input_tokens),
        "cache write": count(line.cache_write_tokens),
        "output": count(line.output_tokens),
        "reasoning": count(line.reasoning_tokens),
        "confirmed": usd(line.confirmed_nano_usd),
        "estimated": usd(line.estimated_nano_usd),
        "indeterminate": f"{usd(line.indeterminate_low_nano_usd)} to {usd(line.indeterminate_high_nano_usd)}",
        "unpriced": count(line.unpriced_calls),
        "unmetered": count(line.unmetered_calls),
        "saved": usd(line.saved_nano_usd),
    }


def print_coverage(total: CostLine, version: str) -> None:
    """The total in three figures, to the nano-dollar, what is in none of them, and whose costs these are."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_row("confirmed", usd_exact(total.confirmed_nano_usd), plural(total.exact_calls, "call"))
    grid.add_row("estimated", _estimated(total), plural(total.estimated_calls, "call"))
    grid.add_row("indeterminate", _indeterminate(total), plural(total.indeterminate_calls, "call"))
    if total.unbounded_calls:
        grid.add_row("", "of the two above, without a firm upper bound", plural(total.unbounded_calls, "call"))
    grid.add_row("in no figure", "no price known", plural(total.unpriced_calls, "call"))
    grid.add_row("", "passed through unmetered", plural(total.unmetered_calls, "call"))
    grid.add_row("cache hits", f"saved {usd_exact(total.saved_nano_usd)}", plural(total.hits, "call"))
    if total.cacheable:
        grid.add_row("", _hit_rates(total), "")
    grid.add_row("all", "", plural(total.calls, "call"))
    if version != ORIGINAL:
        grid.add_row("costs", f"of version {version}; `submeter reprice --list` tells what that is", "")
    tables.make_console().print(grid)


def _hit_rates(total: CostLine) -> str:
    of_cacheable, of_all = share(total.hits, total.cacheable), share(total.hits, total.calls)
    return f"{of_cacheable} of {plural(total.cacheable, 'cacheable call')}, {of_all} of all"


def _estimated(total: CostLine) -> str:
    low, high = usd_exact(total.estimated_low_nano_usd), usd_exact(total.estimated_high_nano_usd)
    return f"{usd_exact(total.estimated_nano_usd)}, between {low} and {high}"


def _indeterminate(total: CostLine) -> str:
    low, high = usd_exact(total.indeterminate_low_nano_usd), usd_exact(total.indeterminate_high_nano_usd)
    return f"between {low} and {high}"
