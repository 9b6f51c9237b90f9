"""What the exported files hold. Money is integer nano-USD, as in the ledger, and beside it the cost as a decimal."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from sqlalchemy import Boolean, Float, Integer
from sqlalchemy.types import TypeEngine

from submeter.core.record import CallRow
from submeter.store import schema
from submeter.store.ledger import Ledger
from submeter.store.queries import CostLine, cost_by
from submeter.store.versions import stored_rows

Kind = Literal["text", "integer", "boolean", "number", "time", "dollars"]
"""``time``: Unix ns; ``dollars``: a ``Decimal`` with nine places."""
Row = tuple[object, ...]

_KINDS: Mapping[type[TypeEngine[Any]], Kind] = {Integer: "integer", Boolean: "boolean", Float: "number"}
_DAILY_KEYS = ("day", "model", "team", "app", "prompt", "prompt_version", "upstream")
_SUMS = tuple(name for name in CostLine.__struct_fields__ if name != "group")


class Column(NamedTuple):
    name: str
    kind: Kind


class Table(NamedTuple):
    """``rows`` of the calls begun in [since, until): each a tuple in the order of the columns."""

    name: str
    columns: tuple[Column, ...]
    rows: Callable[[Ledger, int | None, int | None], Iterator[Row]]


def _kind(column: str) -> Kind:
    of = schema.calls.c[column].type
    return next((kind for sql_type, kind in _KINDS.items() if isinstance(of, sql_type)), "text")


def _dollars(nano_usd: int | None) -> Decimal | None:
    return None if nano_usd is None else Decimal(nano_usd).scaleb(-9)


def _call(row: CallRow) -> Row:
    return (*schema.call_values(row), row.started_at_ns, _dollars(row.cost_nano_usd))


def _calls(ledger: Ledger, since_ns: int | None, until_ns: int | None) -> Iterator[Row]:
    return map(_call, stored_rows(ledger, since_ns, until_ns))


def _day(line: CostLine) -> Row:
    sums = (getattr(line, name) for name in _SUMS)
    return (*line.group.values(), *sums, line.cost_nano_usd, _dollars(line.cost_nano_usd))


def _daily(ledger: Ledger, since_ns: int | None, until_ns: int | None) -> Iterator[Row]:
    return map(_day, cost_by(ledger, _DAILY_KEYS, since_ns, until_ns))


TABLES: Mapping[str, Table] = {
    "calls": Table(
        "calls",
        (
            *(Column(name, _kind(name)) for name in schema.CALL_COLUMNS),
            Column("started_at", "time"),
            Column("cost_usd", "dollars"),
        ),
        _calls,
    ),
    "daily": Table(
        "daily",
        (
            *(Column(name, "text") for name in _DAILY_KEYS),
            *(Column(name, "integer") for name in (*_SUMS, "cost_nano_usd")),
            Column("cost_usd", "dollars"),
        ),
        _daily,
    ),
}
