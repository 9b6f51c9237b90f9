"""CSV exports: of OpenAI's dashboard, of Anthropic's console, and of anybody's with a column map.

The dashboards' formats are known by their columns: OpenAI's are the fields of its API in one table; Anthropic's
cost export has ``usage_date_utc``, ``token_type`` and ``cost_usd`` (dollars, unlike its API), its token export
``model_version`` and one column per token class.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from submeter.errors import UsageError
from submeter.reconcile.lines import Invoice, InvoiceLine, Part, Usage
from submeter.reconcile.mapping import InvoiceMap
from submeter.reconcile.pages import disjoint_usage, openai_cost, openai_usage
from submeter.reconcile.values import fail, read_count, read_day, read_name, read_usd

MAX_COLUMNS = 200
_DELIMITERS = ",;\t"

Cells = Mapping[str, str]
Reader = Callable[[str, int, Cells], InvoiceLine | None]


class Format(NamedTuple):
    source: str
    provider: str | None
    needs: frozenset[str]
    """The columns that it is known by, in lower case."""
    read: Reader
    """(place, row number, cells by column) → the line; None where the row has only a date."""
    day: str
    """The column with the day: rows without spending count as days covered."""


def read_sheet(text: str, mapping: InvoiceMap) -> Invoice:
    """Raises ``UsageError``, which names the line."""
    rows = _rows(text)
    header = next(rows, None)
    if header is None:
        raise UsageError("the export is empty: export it again, with a period that has calls")
    names = [name.strip() for name in header[1]]
    if mapping.columns:
        chosen = _generic(mapping, names)
    else:
        names = [name.lower() for name in names]
        chosen = _recognise(names)
    days, lines = [], []
    for number, cells in rows:
        place = f"line {number}"
        by_name = dict(zip(names, _padded(place, cells, len(names)), strict=True))
        days.append(read_day(place, chosen.day, by_name[chosen.day]))
        line = chosen.read(place, number, by_name)
        lines += [] if line is None else [line]
    return Invoice(
        source=chosen.source,
        provider=chosen.provider,
        lines=tuple(lines),
        days=(min(days), max(days)) if days else None,
        row_word="line",
    )


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not blank."""
    first = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            fail(f"line {reader.line_num}", "no CSV: a quote is not closed, or there are control characters")
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _padded(place: str, cells: list[str], width: int) -> list[str]:
    if len(cells) > width and any(cell.strip() for cell in cells[width:]):
        fail(place, f"{len(cells)} cells under a header of {width}: a text with a comma in it needs quotes")
    return (cells + [""] * (width - len(cells)))[:width]


def _recognise(names: list[str]) -> Format:
    if len(names) > MAX_COLUMNS:
        raise UsageError(f"line 1: more than {MAX_COLUMNS} columns: give a CSV with a header, or the API's JSON")
    found = next((known for known in FORMATS if known.needs <= set(names)), None)
    if found is None:
        raise UsageError(
            "line 1: neither JSON of the providers' APIs nor a CSV of their dashboards: name its columns with "
            "--columns day=…,model=…,amount=… or a map file (--map)"
        )
    return found


def _openai_cost(place: str, row: int, cells: Cells) -> InvoiceLine | None:
    key = read_name(place, "api_key_id", cells.get("api_key_id"))
    day = read_day(place, "start_time", cells["start_time"])
    return openai_cost(place, row, day, key, cells, cells["amount_value"], cells.get("amount_currency"))


def _openai_usage(place: str, row: int, cells: Cells) -> InvoiceLine | None:
    if not cells["num_model_requests"].strip():
        return None
    key = read_name(place, "api_key_id", cells.get("api_key_id"))
    day = read_day(place, "start_time", cells["start_time"])
    return openai_usage(place, row, day, key, cells)


CONSOLE_PARTS: dict[str, Part] = {
    "input_no_cache": "input",
    "input_cache_read": "cached_input",
    "input_cache_write_5m": "cache_write",
    "input_cache_write_1h": "cache_write",
    "output": "output",
}


def _anthropic_cost(place: str, row: int, cells: Cells) -> InvoiceLine | None:
    amount = read_usd(place, "cost_usd", cells["cost_usd"], "usd")
    if amount is None:
        return None
    model = _console_model(read_name(place, "model", cells.get("model")))
    token_type = cells.get("token_type", "").strip()
    is_tokens = cells.get("cost_type", "token").strip() in ("token", "tokens", "")
    item = read_name(place, "cost_type", cells.get("cost_type"))
    return InvoiceLine(
        row=row,
        day=read_day(place, "usage_date_utc", cells["usage_date_utc"]),
        model=model if is_tokens else None,
        item=None if is_tokens and model is not None else item,
        key=_console_key(place, cells),
        tier=read_name(place, "usage_type", cells.get("usage_type")),
        part=CONSOLE_PARTS.get(token_type),
        amount_usd=amount,
    )


def _anthropic_usage(place: str, row: int, cells: Cells) -> InvoiceLine | None:
    def count(name: str) -> int | None:
        return read_count(place, name, cells.get(name))

    return InvoiceLine(
        row=row,
        day=read_day(place, "usage_date_utc", cells["usage_date_utc"]),
        model=_console_model(read_name(place, "model_version", cells["model_version"])),
        key=_console_key(place, cells),
        tier=read_name(place, "usage_type", cells.get("usage_type")),
        usage=disjoint_usage(
            count("usage_input_tokens_no_cache"),
            count("usage_input_tokens_cache_read"),
            [count("usage_input_tokens_cache_write_5m"), count("usage_input_tokens_cache_write_1h")],
            count("usage_output_tokens"),
        ),
    )


def _console_key(place: str, cells: Cells) -> str | None:
    key = read_name(place, "api_key_id", cells.get("api_key_id"))
    return read_name(place, "api_key", cells.get("api_key")) if key is None else key


def _console_model(name: str | None) -> str | None:
    """The console writes ``Claude Haiku 4.5`` for claude-haiku-4-5 (then a date, which it leaves out)."""
    return None if name is None else name.lower().replace(" ", "-").replace(".", "-")


FORMATS: tuple[Format, ...] = (
    Format("OpenAI costs (CSV)", "openai", frozenset({"start_time", "amount_value"}), _openai_cost, "start_time"),
    Format(
        "OpenAI usage (CSV)",
        "openai",
        frozenset({"start_time", "num_model_requests", "input_tokens"}),
        _openai_usage,
        "start_time",
    ),
    Format(
        "Anthropic costs (CSV)",
        "anthropic",
        frozenset({"usage_date_utc", "cost_usd"}),
        _anthropic_cost,
        "usage_date_utc",
    ),
    Format(
        "Anthropic usage (CSV)",
        "anthropic",
        frozenset({"usage_date_utc", "model_version", "usage_input_tokens_no_cache"}),
        _anthropic_usage,
        "usage_date_utc",
    ),
)


def _generic(mapping: InvoiceMap, names: list[str]) -> Format:
    columns = mapping.columns
    for what, header in columns.items():
        if header not in names:
            raise UsageError(f"line 1: there is no column {header}, which --columns or --map names for {what}")

    def read(place: str, row: int, cells: Cells) -> InvoiceLine | None:
        return _generic_line(place, row, {what: cells[header] for what, header in columns.items()})

    return Format("CSV", None, frozenset(), read, columns["day"])


def _generic_line(place: str, row: int, cells: Cells) -> InvoiceLine:
    def count(name: str) -> int | None:
        return read_count(place, name, cells.get(name))

    cents = "amount_cents" in cells
    amount = cells.get("amount_cents" if cents else "amount")
    return InvoiceLine(
        row=row,
        day=read_day(place, "day", cells["day"]),
        model=read_name(place, "model", cells.get("model")),
        item=read_name(place, "item", cells.get("item")),
        key=read_name(place, "key", cells.get("key")),
        requests=count("requests"),
        usage=Usage(
            count("input_tokens"), count("cached_input_tokens"), count("cache_write_tokens"), count("output_tokens")
        ),
        amount_usd=read_usd(place, "amount", amount, cells.get("currency"), cents=cents),
    )
