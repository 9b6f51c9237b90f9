"""Versions of the costs: what a repricing or a reconciliation says that calls cost, beside the rows that never change.

One version, or the original, is selected; ``queries.priced`` makes every query show its costs. A version is complete:
it is built on the one selected when it is added, whose other costs are carried over. Undoing is selecting another.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import json
from sqlalchemy import Connection

from submeter.core.record import CallRow, CostState, TokenClasses
from submeter.store import schema
from submeter.store.bulk import bulk_insert
from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import within
from submeter.store.queries.priced import ORIGINAL, number_of, priced_calls, selected_number
from submeter.store.schema import cost_versions, versioned_costs

ROWS_PER_BATCH = 1000

Kind = Literal["reprice", "reconcile"]


class Version(msgspec.Struct, frozen=True):
    id: str
    """``v1``, ``v2`` …, in the order in which they were added."""
    kind: Kind
    created_at_ns: int
    note: str
    price_snapshot: str | None
    since_ns: int | None
    """Costs were made anew of the calls begun in [since, until)."""
    until_ns: int | None
    calls: int
    """How many calls have a cost in it, those carried over from the version before included."""
    selected: bool


class NewCost(msgspec.Struct, frozen=True):
    """The money of one row of ``calls``, as its columns of these names."""

    call_id: str
    attempt: int
    cost_nano_usd: int | None
    cost_state: CostState
    cost_low_nano_usd: int | None
    cost_high_nano_usd: int | None
    costs: TokenClasses | None
    fees_nano_usd: int | None
    saved_nano_usd: int | None
    price_snapshot: str | None
    price_model: str | None
    price_rule: str | None

    @classmethod
    def of(cls, row: CallRow) -> "NewCost":
        """What a row says that its call cost."""
        return cls(*(getattr(row, name) for name in cls.__struct_fields__))


def stored_rows(
    ledger: Ledger, since_ns: int | None = None, until_ns: int | None = None, *, version: str | None = None
) -> Iterator[CallRow]:
    """The calls begun in [since, until), oldest first, fetched as they are consumed, from one moment's view.

    With the costs of the selected version, unless ``version`` names another (``v1`` …, ``original``).
    Raises ``LedgerUnavailable``, and ``UsageError`` for a version that is not there.
    """
    with ledger.reading() as connection:
        rows = priced_calls(connection, version)
        wanted = (
            sa.select(*(rows.c[name] for name in schema.CALL_COLUMNS))
            .where(*within(since_ns, until_ns, rows))
            .order_by(rows.c.started_at_ns, rows.c.call_id, rows.c.attempt)
        )
        with connection.execution_options(yield_per=ROWS_PER_BATCH).execute(wanted) as found:
            for values in found:
                yield schema.call_row(values)


def versions(ledger: Ledger) -> list[Version]:
    """All there are, oldest first; the original is none of them. Raises ``LedgerUnavailable``."""
    with ledger.reading() as connection:
        return [_version(row) for row in connection.execute(_VERSIONS.order_by(cost_versions.c.version))]


def selected_id(ledger: Ledger) -> str:
    """``v1`` …, or ``original``. Raises ``LedgerUnavailable``."""
    return next((version.id for version in versions(ledger) if version.selected), ORIGINAL)


def select_version(ledger: Ledger, id: str | None) -> None:  # noqa: A002
    """Show the costs of this version from now on; ``None`` or ``original``: those of the rows themselves.

    Raises ``UsageError`` where there is none such, naming those there are; ``LedgerUnavailable``.
    """
    with ledger.writing() as connection:
        _select(connection, None if id is None else number_of(connection, id))


def add_version(
    ledger: Ledger,
    kind: Kind,
    note: str,
    price_snapshot: str | None,
    since_ns: int | None,
    until_ns: int | None,
    costs: Iterable[NewCost],
    *,
    select: bool,
) -> Version:
    """Write new costs down as a version of its own, in one transaction, and return it.

    ``costs`` may be an iterator that reads this ledger (``stored_rows``): all of it is consumed, and kept in a
    temporary file, before the transaction begins, so that shipping waits for no computation.
    Raises ``LedgerUnavailable``, and ``ValueError`` if a call comes twice: then there is no new version.
    """
    with tempfile.TemporaryFile() as spool:
        spool.writelines(json.encode(cost) + b"\n" for cost in costs)
        spool.seek(0)
        with ledger.writing() as connection:
            base = selected_number(connection)
            # The version comes first: of two who add one at once, the second fails before it has written a cost.
            number = _insert_version(connection, kind, note, price_snapshot, since_ns, until_ns)
            _insert_costs(connection, number, spool)
            if base is not None:
                _carry_over(connection, base, number)
            calls = sa.select(sa.func.count()).where(versioned_costs.c.version == number).scalar_subquery()
            connection.execute(sa.update(cost_versions).where(_is(number)).values(calls=calls))
            if select:
                _select(connection, number)
            return _version(connection.execute(_VERSIONS.where(_is(number))).one())


_VERSIONS = sa.select(cost_versions.c.version, *(cost_versions.c[name] for name in Version.__struct_fields__[1:]))
_COST_COLUMNS = tuple(versioned_costs.columns.keys())
_AT_COSTS = NewCost.__struct_fields__.index("costs")


def _is(number: int) -> sa.ColumnElement[bool]:
    return cost_versions.c.version == number


def _version(row: Sequence[Any]) -> Version:
    return Version(f"v{row[0]}", *row[1:])


def _select(connection: Connection, number: int | None) -> None:
    connection.execute(sa.update(cost_versions).where(cost_versions.c.selected).values(selected=False))
    if number is not None:
        connection.execute(sa.update(cost_versions).where(_is(number)).values(selected=True))


def _insert_version(
    connection: Connection,
    kind: Kind,
    note: str,
    price_snapshot: str | None,
    since_ns: int | None,
    until_ns: int | None,
) -> int:
    newest = connection.execute(sa.select(sa.func.max(cost_versions.c.version))).scalar()
    number = 1 if newest is None else newest + 1
    created_at_ns = time.time_ns()
    row = (number, kind, created_at_ns, note, price_snapshot, since_ns, until_ns, 0, False)
    connection.execute(sa.insert(cost_versions).values(row))
    return number


def _insert_costs(connection: Connection, number: int, spool: IO[bytes]) -> None:
    insert = bulk_insert(connection.engine, versioned_costs, _COST_COLUMNS)
    decode = json.Decoder(NewCost).decode
    costs = ((number, *_values(decode(line))) for line in spool)
    given = inserted = 0
    while batch := list(islice(costs, ROWS_PER_BATCH)):
        given += len(batch)
        inserted += insert(connection, batch)
    if inserted != given:
        raise ValueError(f"{given - inserted} of {given} new costs are for a call that has one already")


def _values(cost: NewCost) -> tuple[object, ...]:
    fields = msgspec.structs.astuple(cost)
    return (*fields[:_AT_COSTS], *schema.part_values(cost.costs), *fields[_AT_COSTS + 1 :])


def _carry_over(connection: Connection, base: int, number: int) -> None:
    """The base's costs of all calls that the new version has none of."""
    older, newer = versioned_costs.alias(), versioned_costs.alias()
    replaced = sa.exists().where(
        newer.c.version == number, newer.c.call_id == older.c.call_id, newer.c.attempt == older.c.attempt
    )
    others = sa.select(sa.literal(number), *(older.c[name] for name in _COST_COLUMNS[1:])).where(
        older.c.version == base, ~replaced
    )
    connection.execute(sa.insert(versioned_costs).from_select(_COST_COLUMNS, others))
