"""From a ledger URL to a SQLAlchemy engine: SQLite (a path or ``sqlite:///``) or Postgres (``postgresql://``).

Engines differ here and nowhere else: pragmas, file modes, how a transaction begins, the driver's name.
"""

import importlib.util
import os
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from submeter.errors import UsageError

BUSY_TIMEOUT_S = 10.0
WAL_LIMIT_BYTES = 64 * 1024 * 1024

_WRITES = "submeter_writes"
"""Execution option of a connection whose transaction will write."""
_POSTGRES_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "30000", "application_name": "submeter"}
"""Unless the URL says otherwise. A server that falls silent is noticed after seconds (s, ms), not after an hour."""
_MIGRATION_LOCK = 0x5B_3E7E2
"""Any number, as long as nobody else in the same database takes it."""


def connect(url: str, *, read_only: bool = False) -> Engine:
    """An engine for the ledger at ``url``. SQLite files are created 0600, their directory 0700.

    Raises ``UsageError``: URL of another kind, driver not installed, directory not writable, or (``read_only``)
    no such file. The URL itself is never in the text: it may carry a password.
    """
    path = sqlite_path(url)
    if path is None:
        return _postgres(url, read_only=read_only)
    if read_only:
        _require(path)
    else:
        _create(path)
    return _sqlite(path, read_only=read_only)


def sqlite_path(url: str) -> Path | None:
    """The file that a ledger URL names; ``None`` where the ledger is a server."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return Path(url)
    if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return None
    if scheme != "sqlite":
        raise UsageError(
            f"a ledger URL starts with sqlite:/// or postgresql://, not {scheme}://; a plain file path will do"
        )
    try:
        database = make_url(url).database
    except ArgumentError:
        database = None
    if not database or database == ":memory:":
        raise UsageError("the ledger URL names no file: write sqlite:////absolute/path/ledger.sqlite3")
    return Path(database)


def _require(path: Path) -> None:
    if not path.is_file():
        raise UsageError(
            f"no ledger at {path}: start `submeter serve`, or name the right place with --data-dir or --ledger"
        )


def _create(path: Path) -> None:
    """Make the file before SQLite does, which would leave it, the WAL and the index to the umask."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise UsageError(
            f"cannot write the ledger {path} ({error.strerror}): mend it, or choose another --data-dir"
        ) from None


def _sqlite(path: Path, *, read_only: bool) -> Engine:
    # A URL made of parts: in a text, "?" and "#" of the path would be taken for its end, and "%" be decoded.
    file = {"mode": "ro" if read_only else "rw", "uri": "true"}
    engine = create_engine(
        URL.create("sqlite", database=f"file:{quote(str(path.absolute()))}", query=file),
        # sqlite3's own transaction control begins late and not at all for SAVEPOINT; _begin does it instead.
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "begin", _begin)
    if not read_only:
        event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # Journal segments are unlinked once their rows are committed, so that a commit must survive a power cut:
    # FULL syncs the WAL on every commit. NORMAL would not, and could lose rows that stand nowhere else.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: a read transaction cannot wait for it once somebody else has written."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def reader(engine: Engine) -> Engine:
    """The engine, for transactions whose reads all see one moment; in SQLite's they always do."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ")
    return engine


def writer(engine: Engine) -> Engine:
    """The engine, for transactions that write."""
    return engine.execution_options(**{_WRITES: True})


def lock_schema(connection: Connection) -> None:
    """Until this transaction ends, nobody else migrates the database; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


def _postgres(url: str, *, read_only: bool) -> Engine:
    if importlib.util.find_spec("psycopg") is None:
        raise UsageError("a Postgres ledger needs its driver: pip install 'submeter[postgres]'")
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise UsageError("the ledger URL cannot be read: write postgresql://USER:PASSWORD@HOST:5432/DATABASE") from None
    return create_engine(
        parsed.set(query={**_POSTGRES_DEFAULTS, **parsed.query}),
        pool_pre_ping=True,
        execution_options={"postgresql_readonly": read_only},
    )
