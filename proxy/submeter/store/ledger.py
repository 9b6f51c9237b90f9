"""The ledger: priced calls in SQL, shipped in batches together with the journal cursors that they came from.

One transaction per batch holds the rows, the cursors, the label sets and the counters: after any crash the ledger
says exactly how far each journal has been read. A settled row never changes, so shipping a batch again changes
nothing. A row that the database refuses goes to ``quarantine`` and holds up nobody.

A ``Ledger`` is synchronous; the meter calls it in a thread. Times are Unix ns, money is integer nano-USD.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
from sqlalchemy import Connection, Engine, Table, func, select, update
from sqlalchemy import exc as sql
from sqlalchemy.dialects import postgresql, sqlite

from submeter.core.record import CallRow
from submeter.errors import UsageError
from submeter.store import engine as engines
from submeter.store import schema
from submeter.store.bulk import bulk_insert

MIGRATIONS = Path(__file__).parent / "migrations"
IDS_PER_QUERY = 500

CallKey = tuple[str, int]
"""``(call_id, attempt)``"""
Labels = tuple[tuple[str, str], ...]
CounterKey = tuple[str, Labels]
"""``(metric name, ((label, value), …))``"""

_Insert = sqlite.Insert | postgresql.Insert
_INSERTS: dict[str, Callable[[Table], _Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}

# What a database says about the row rather than about itself. Overflow and encoding are refused by the drivers.
_REFUSED = (sql.DataError, sql.IntegrityError, OverflowError, UnicodeError)


class LedgerUnavailable(Exception):
    """The database cannot be reached, is locked or full. Nothing was changed: do the same again later."""


class Cursor(msgspec.Struct, frozen=True):
    """How far one relay's journal is in the ledger: everything before ``offset`` bytes of ``segment``."""

    segment: int
    offset: int
    lsn: int
    given_up: str | None = None
    """The instance (hex) that has died and whose open calls are in the ledger too, as indeterminate."""


class Shipped(msgspec.Struct, frozen=True):
    """What became of a batch; rows that were there already are in neither count."""

    inserted: int
    refused: int


class _Refusal(NamedTuple):
    row: CallRow
    reason: str


class Ledger:
    """Open one with ``Ledger.open``; close it when done (or use ``with``)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engines.reader(engine)
        self._writer = engines.writer(engine)
        self._insert_rows = bulk_insert(engine, schema.calls, schema.CALL_COLUMNS)

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> Self:
        """Open ``sqlite:////path`` (or the bare path) or ``postgresql://…``; ``UsageError`` if that cannot be.

        For writing, a SQLite file is created (0600, in a directory made 0700); call ``migrate`` next.
        ``read_only`` wants a ledger that is there and has the schema of this version.
        """
        ledger = cls(engines.connect(url, read_only=read_only))
        if read_only:
            try:
                ledger._require_schema()
            except BaseException:
                ledger.close()
                raise
        return ledger

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection whose reads all see the same moment. Raises ``LedgerUnavailable``."""
        with _unavailable(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose writes are committed together, or not at all. Raises ``LedgerUnavailable``."""
        with _unavailable(), self._writer.begin() as connection:
            yield connection

    def schema_version(self) -> str | None:
        """The newest migration that was run on this database; ``None`` on an empty one."""
        with self.reading() as connection:
            if not self._engine.dialect.has_table(connection, "alembic_version"):
                return None
            version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return None if version is None else str(version)

    def _require_schema(self) -> None:
        try:
            version = self.schema_version()
        except LedgerUnavailable as error:
            raise UsageError(
                f"the ledger cannot be read ({error}): check --data-dir or --ledger, and that it is up"
            ) from error
        if version != schema.SCHEMA_VERSION:
            raise UsageError(_schema_advice(version))

    def migrate(self) -> None:
        """Bring the schema to this version, in one transaction; nothing to do is quick.

        Raises ``UsageError`` on a ledger that a newer submeter has written, ``LedgerUnavailable``.
        """
        version = self.schema_version()
        if version == schema.SCHEMA_VERSION:
            return
        if version is not None and version > schema.SCHEMA_VERSION:
            raise UsageError(_schema_advice(version))
        # Imported here: it takes 0.2 s, and only the first start on a ledger needs it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.writing() as connection:
            engines.lock_schema(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def ship(
        self,
        rows: Sequence[CallRow],
        cursors: Mapping[str, Cursor],
        labels: Sequence[tuple[str, str]] = (),
        counters: Mapping[CounterKey, int] | None = None,
        *,
        unit: str = "",
    ) -> Shipped:
        """Commit settled rows and how far the journals were read for them: all of it, or nothing.

        ``cursors`` by relay directory name, and ``counters``, are those of ``unit``, which is unique among all that
        share the ledger (``store.unit``); ``labels`` are (label, value) pairs new to a bounded label set; counters
        are absolute values, and only those that changed need be given. When this returns, the batch survives a power
        cut (SQLite: WAL, synchronous FULL). Raises ``LedgerUnavailable``.
        """
        with self.writing() as connection:
            inserted, refusals = self._insert_calls(connection, rows)
            self._insert_many(connection, schema.quarantine, [_quarantined(*refusal) for refusal in refusals])
            self._upsert(connection, schema.cursors, [_cursor_row(unit, *item) for item in cursors.items()])
            self._insert_many(
                connection, schema.label_values, [{"label": label, "value": value} for label, value in labels]
            )
            if counters is not None:
                kept = [_counter_row(unit, *item) for item in counters.items()]
                self._upsert(connection, schema.counter_state, kept)
            return Shipped(inserted, len(refusals))

    def _insert_calls(self, connection: Connection, rows: Sequence[CallRow]) -> tuple[int, list[_Refusal]]:
        """Insert the rows in one go; where one is refused, halve until it stands alone."""
        if not rows:
            return 0, []
        try:
            with connection.begin_nested():
                return self._insert_rows(connection, [schema.call_values(row) for row in rows]), []
        except _REFUSED as error:
            if len(rows) == 1:
                return 0, [_Refusal(rows[0], _reason(error))]
        half = len(rows) // 2
        first, first_refused = self._insert_calls(connection, rows[:half])
        rest, rest_refused = self._insert_calls(connection, rows[half:])
        return first + rest, first_refused + rest_refused

    def _insert_many(self, connection: Connection, table: Table, rows: list[dict[str, object]]) -> None:
        if rows:
            connection.execute(_insert(self._engine, table).on_conflict_do_nothing(), rows)

    def _upsert(self, connection: Connection, table: Table, rows: list[dict[str, object]]) -> None:
        if not rows:
            return
        statement = _insert(self._engine, table)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(table.primary_key),
                set_={
                    column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key
                },
            ),
            rows,
        )

    def add_price_snapshot(self, id: str, source: str, imported_at: str, sha256: str) -> None:  # noqa: A002
        """Write down where the prices named ``id`` in ``calls.price_snapshot`` came from; once is enough."""
        row: dict[str, object] = {
            "id": id,
            "source": source,
            "imported_at": imported_at,
            "sha256": sha256,
        }
        with self.writing() as connection:
            self._insert_many(connection, schema.price_snapshots, [row])

    def cursors(self, unit: str | None = None) -> dict[str, Cursor]:
        """How far each relay's journal has been shipped, by relay directory name; of all units, which is for those
        who know that there is one."""
        table = schema.cursors.c
        query = select(table.relay, table.segment, table.offset, table.lsn, table.given_up)
        if unit is not None:
            query = query.where(table.unit == unit)
        with self.reading() as connection:
            return {relay: Cursor(*cursor) for relay, *cursor in connection.execute(query)}

    def adopt_cursors(self, unit: str, relays: Iterable[str]) -> None:
        """Cursors from before units had names become this unit's."""
        table = schema.cursors
        with self.writing() as connection:
            connection.execute(
                update(table).where(table.c.unit == "", table.c.relay.in_(list(relays))).values(unit=unit)
            )

    def label_values(self) -> list[tuple[str, str]]:
        """The (label, value) pairs shipped so far, sorted."""
        with self.reading() as connection:
            rows = connection.execute(select(schema.label_values.c.label, schema.label_values.c.value))
            return sorted((label, value) for label, value in rows)

    def counters(self, unit: str = "") -> dict[CounterKey, int]:
        """The unit's counters as last shipped."""
        table = schema.counter_state.c
        with self.reading() as connection:
            rows = connection.execute(select(table.name, table.labels, table.value).where(table.unit == unit))
            return {(name, tuple(json.loads(labels).items())): value for name, labels, value in rows}

    def quarantined(self) -> int:
        """How many rows the database has refused."""
        with self.reading() as connection:
            return _count(connection, schema.quarantine)

    def known(self, call_ids: Iterable[str]) -> set[CallKey]:
        """Which attempts of these calls are settled: a row, or a refused row in quarantine."""
        ids = list(call_ids)
        found: set[CallKey] = set()
        with self.reading() as connection:
            for start in range(0, len(ids), IDS_PER_QUERY):
                for table in (schema.calls, schema.quarantine):
                    rows = connection.execute(
                        select(table.c.call_id, table.c.attempt).where(
                            table.c.call_id.in_(ids[start : start + IDS_PER_QUERY])
                        )
                    )
                    found.update((call_id, attempt) for call_id, attempt in rows)
        return found


@contextmanager
def _unavailable() -> Iterator[None]:
    """The rim where the database's exceptions end. Their text may quote a row, so only the class is kept."""
    try:
        yield
    except (sql.DBAPIError, sql.TimeoutError) as error:
        raise LedgerUnavailable(_reason(error)) from error


def _reason(error: Exception) -> str:
    original = error.orig if isinstance(error, sql.DBAPIError) else None
    return type(error if original is None else original).__name__


def _insert(engine: Engine, table: Table) -> _Insert:
    return _INSERTS[engine.dialect.name](table)


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _cursor_row(unit: str, relay: str, cursor: Cursor) -> dict[str, object]:
    return {"unit": unit, "relay": relay, **msgspec.structs.asdict(cursor)}


def _counter_row(unit: str, key: CounterKey, value: int) -> dict[str, object]:
    name, labels = key
    return {"unit": unit, "name": name, "labels": json.dumps(dict(labels)), "value": value}


def _quarantined(row: CallRow, reason: str) -> dict[str, object]:
    """ASCII only: what made the database refuse the row must not make it refuse this one too."""
    return {
        "call_id": json.dumps(row.call_id)[1:-1],
        "attempt": row.attempt,
        "reason": reason,
        "payload": json.dumps(msgspec.to_builtins(row)),
    }


def _schema_advice(version: str | None) -> str:
    if version is None:
        return "the ledger is empty: start `submeter serve`, which sets it up"
    if version < schema.SCHEMA_VERSION:
        return f"the ledger has the older schema {version}: start `submeter serve` once, which brings it up to date"
    return f"the ledger has schema {version}, written by a newer submeter: install that version or a later one"
