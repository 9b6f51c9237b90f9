"""The user's own words: which column of a CSV is what, and what the invoice and the ledger call differently.

A map file has up to four parts: ``columns`` (what → column), ``models`` and ``keys`` (the invoice's name → the
ledger's), ``upstreams`` (a list: only their calls are compared).
"""

from pathlib import Path

import msgspec

from submeter.config import yamlfile
from submeter.config.nearest import known_or_nearest
from submeter.errors import UsageError

COLUMNS: tuple[str, ...] = (
    *("day", "model", "item", "key", "requests"),
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"),
    *("amount", "amount_cents", "currency"),
)
"""What a column can be. ``input_tokens`` is the total; cached and cache-write tokens are parts of it."""

PARTS = ("columns", "models", "keys", "upstreams")


class InvoiceMap(msgspec.Struct, frozen=True, kw_only=True):
    columns: dict[str, str] = {}
    """One of ``COLUMNS`` → the header of the column."""
    models: dict[str, str] = {}
    keys: dict[str, str] = {}
    upstreams: tuple[str, ...] = ()


NO_MAP = InvoiceMap()


def parse_columns(text: str) -> dict[str, str]:
    """``day=Date,model=Model,amount=Cost``. Raises ``UsageError``."""
    columns: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        what, equals, header = (part.strip() for part in pair.partition("="))
        if not equals or not header:
            raise UsageError("--columns: write what=column pairs, such as day=Date,model=Model,amount=Cost")
        columns[_known(what, "--columns")] = header
    return _checked(columns, "--columns")


def read_map(path: Path) -> InvoiceMap:
    """Raises ``UsageError``, which names the file's line."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the right one with --map")
    values, places = yamlfile.read(path)
    for name in values:
        known_or_nearest(name, PARTS, f"{places[name]}: no part of a map file")
    try:
        found = msgspec.convert(values, InvoiceMap)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path.name}: {_advice(error)}") from None
    for what in found.columns:
        _known(what, places[f"columns.{what}"])
    _checked(found.columns, path.name)
    return found


def _advice(error: msgspec.ValidationError) -> str:
    where = str(error).rpartition("`$")[2].partition("`")[0].strip(".")
    fix = 'upstreams takes a list of names; the others take `name: "text"` lines, numbers in quotes'
    return f"{where.partition('[')[0]}: {fix}" if where else fix


def _known(what: str, place: str) -> str:
    return known_or_nearest(what, COLUMNS, f"{place}: no column of an invoice")


def _checked(columns: dict[str, str], place: str) -> dict[str, str]:
    if columns and "day" not in columns:
        raise UsageError(f"{place}: which column has the day? Add day=…")
    if columns and {"amount", "amount_cents"} <= set(columns):
        raise UsageError(f"{place}: amount is in dollars, amount_cents in cents; keep one of the two")
    if columns and not columns.keys() & {"amount", "amount_cents", "input_tokens", "output_tokens"}:
        raise UsageError(f"{place}: nothing to compare: add amount=… or input_tokens=… and output_tokens=…")
    return columns
