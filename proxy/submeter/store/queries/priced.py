"""Which costs are shown: the one place where a query learns whose money it reads.

A version (``store.versions``) gives some calls new costs. A query takes its rows from ``priced_calls`` and reads the
columns by their names in ``calls``; while the original costs are selected, these rows are the table itself.
"""

import re

from sqlalchemy import ColumnElement, Connection, FromClause, and_, case, select

from submeter.errors import UsageError
from submeter.store.schema import VERSIONED_COLUMNS, calls, cost_versions, versioned_costs

ORIGINAL = "original"
"""Names the costs as they were when the calls were made."""


def priced_calls(connection: Connection, version: str | None = None) -> FromClause:
    """All calls with the money of a version: ``v1`` …, ``original``, or, for ``None``, what is selected.

    Raises ``UsageError``, naming those there are.
    """
    number = selected_number(connection) if version is None else number_of(connection, version)
    return calls if number is None else _in_version(number)


def selected_number(connection: Connection) -> int | None:
    """``None`` while the original is selected."""
    table = cost_versions.c
    return connection.execute(select(table.version).where(table.selected)).scalar()


def number_of(connection: Connection, version: str) -> int | None:
    """The number in ``v1``; ``None`` for the original. Raises ``UsageError``, naming those there are."""
    if version == ORIGINAL:
        return None
    table = cost_versions.c
    numbers = connection.execute(select(table.version).order_by(table.version)).scalars().all()
    found = re.fullmatch(r"v([1-9][0-9]*)", version)
    if found is None or int(found[1]) not in numbers:
        there_are = ", ".join([ORIGINAL, *(f"v{number}" for number in numbers)])
        raise UsageError(f"no version {version!r} of the costs: there are {there_are}")
    return int(found[1])


def _in_version(number: int) -> FromClause:
    newer = versioned_costs.c
    same = and_(newer.version == number, newer.call_id == calls.c.call_id, newer.attempt == calls.c.attempt)
    columns = [_newest(column) if column.name in VERSIONED_COLUMNS else column for column in calls.columns]
    return select(*columns).select_from(calls.outerjoin(versioned_costs, same)).subquery("priced_calls")


def _newest(column: ColumnElement[object]) -> ColumnElement[object]:
    """The version's word, ``NULL`` included, where it has one on the call."""
    newer = versioned_costs.c
    return case((newer.version.is_(None), column), else_=newer[column.name]).label(column.name)
