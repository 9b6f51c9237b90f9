"""Migrations: from nothing, twice, and always to the schema that the code means."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import column, inspect, table, text
from sqlmodel import SQLModel

from store.ledger_rows import START_NS, make_call
from submeter.core.record import TOKEN_CLASSES, TokenClasses
from submeter.errors import UsageError
from submeter.store import queries, schema
from submeter.store.ledger import MIGRATIONS, Ledger
from submeter.store.versions import stored_rows

TABLES = {
    *("calls", "cost_versions", "versioned_costs"),
    *("cursors", "label_values", "price_snapshots", "counter_state", "quarantine"),
}


def test_an_empty_database_gets_every_table_and_the_view(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        assert ledger.schema_version() is None
        ledger.migrate()
        assert ledger.schema_version() == schema.SCHEMA_VERSION
        with ledger.reading() as connection:
            names = inspect(connection)
            assert set(names.get_table_names()) == TABLES | {"alembic_version"}
            assert names.get_view_names() == ["call_costs"]


def test_migrating_again_changes_nothing(ledger: Ledger) -> None:
    ledger.ship([make_call()], {})
    ledger.migrate()
    assert len(ledger.known([make_call().call_id])) == 1


def test_the_migrated_schema_is_the_one_in_the_code(ledger: Ledger) -> None:
    with ledger.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_schema_version_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.SCHEMA_VERSION


def test_a_failed_migration_leaves_the_database_empty(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("index")

    with Ledger.open(ledger_url) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr("alembic.op.create_index", fail)
            with pytest.raises(RuntimeError, match="index"):
                ledger.migrate()
        with ledger.reading() as connection:
            assert inspect(connection).get_table_names() == []
        ledger.migrate()


def test_readers_refuse_an_empty_an_older_and_a_newer_schema(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        with pytest.raises(UsageError, match="is empty: start `submeter serve`"):
            Ledger.open(ledger_url, read_only=True)
        ledger.migrate()
        for version, says in (("0000", "older schema 0000"), ("9999", "written by a newer submeter")):
            with ledger.writing() as connection:
                connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": version})
            with pytest.raises(UsageError, match=says):
                Ledger.open(ledger_url, read_only=True)
        with pytest.raises(UsageError, match="newer submeter"):
            ledger.migrate()


def test_the_view_gives_dollars(ledger: Ledger, ledger_url: str) -> None:
    exact = ledger_url.startswith("postgresql:")
    dollars = Decimal if exact else float
    ledger.ship(
        [
            make_call(0, started_at_ns=START_NS, cost_nano_usd=1_500_000_000, model_served=None),
            make_call(
                1, started_at_ns=START_NS, cost_nano_usd=None, cost_low_nano_usd=0, cost_high_nano_usd=250_000_000
            ),
            make_call(2, started_at_ns=START_NS, cost_nano_usd=0, saved_nano_usd=1, cache="hit"),
        ],
        {},
    )
    view = text(
        "SELECT started_at, model, cost_usd, cost_low_usd, cost_high_usd, saved_usd, cache"
        " FROM call_costs ORDER BY call_id"
    )
    with ledger.reading() as connection:
        rows = connection.execute(view).all()
    assert START_NS == 1_763_596_800 * 10**9
    assert [tuple(row)[1:] for row in rows] == [
        ("gpt-4o", dollars("1.5"), None, None, None, "miss"),
        ("gpt-4o-2024-08-06", None, 0, dollars("0.25"), None, "miss"),
        ("gpt-4o-2024-08-06", 0, None, None, dollars("1e-9"), "hit"),
    ]
    started_at = {row.started_at if exact else datetime.fromisoformat(row.started_at) for row in rows}
    assert started_at == {datetime(2025, 11, 20, tzinfo=UTC)}
    assert all(type(row.cost_usd) in (dollars, int, type(None)) for row in rows)


def test_migrations_are_plain_files_of_the_package() -> None:
    files = {path.relative_to(MIGRATIONS).as_posix() for path in Path(MIGRATIONS).rglob("*") if path.is_file()}
    assert {"env.py", "script.py.mako", "versions/0001_ledger.py"} <= files


OLD_CALL = {
    **dict.fromkeys(("session", "trace_id", "key_id", "user", "temperature", "max_output_tokens")),
    "attempt": 1,
    "operation_id": "op",
    "endpoint": "chat/completions",
    "upstream": "openai",
    "model_requested": "gpt-4o",
    "stream": True,
    "n": 1,
    "tools": False,
    "service_tier": "default",
    "started_at_ns": START_NS,
    "input_tokens": 1000,
    "output_tokens": 10,
    "unbounded": False,
    "clock_jumped": True,
    "outcome": "ok",
    "cache": "miss",
    "bytes_in": 300,
    "bytes_out": 4000,
}
"""A call of schema 0001, but for its id, its parts and its money."""
OLD_CLASSES = TOKEN_CLASSES[:12]


def old_parts(unit: str, first: int | None) -> dict[str, int | None]:
    """The parts that 0001 had: ``first``, ``first`` + 1, …"""
    return {f"part_{name}_{unit}": None if first is None else first + n for n, name in enumerate(OLD_CLASSES)}


def test_a_ledger_of_the_first_release_keeps_every_row(ledger_url: str) -> None:
    """Later columns say of its calls what is true of them: no tokens of the new classes, unless nothing was read."""
    priced = {"usage_source": "provider", "cost_state": "exact", "cost_nano_usd": 2_350_000}
    unpriced = {"usage_source": "estimated", "cost_state": "unpriced", "cost_nano_usd": None}
    unread = {"usage_source": "none", "cost_state": "unmetered", "cost_nano_usd": None}
    rows = [
        {**OLD_CALL, **priced, **old_parts("tokens", 1), **old_parts("nano_usd", 100), "call_id": "a"},
        {**OLD_CALL, **unpriced, **old_parts("tokens", 1), **old_parts("nano_usd", None), "call_id": "b"},
        {**OLD_CALL, **unread, **old_parts("tokens", None), **old_parts("nano_usd", None), "call_id": "c"},
    ]
    with Ledger.open(ledger_url) as ledger:
        upgrade(ledger, "0001")
        with ledger.writing() as connection:
            connection.execute(table("calls", *(column(name) for name in rows[0])).insert(), rows)
        with pytest.raises(UsageError, match="older schema 0001: start `submeter serve` once"):
            Ledger.open(ledger_url, read_only=True)
        ledger.migrate()
        assert ledger.schema_version() == schema.SCHEMA_VERSION
        exact, estimate, passed = stored_rows(ledger)
        assert queries.summary(ledger).confirmed_nano_usd == 2_350_000
        ledger.ship([make_call()], {})
    assert exact.tokens == TokenClasses(*range(1, 13), cached_audio=0, output_image=0)
    assert exact.costs == TokenClasses(*range(100, 112), cached_audio=0, output_image=0)
    assert (estimate.tokens, estimate.costs) == (exact.tokens, None)
    assert (passed.tokens, passed.costs) == (None, None)
    assert [row.input_reported for row in (exact, estimate, passed)] == [True, False, False]
    for row in (exact, estimate, passed):
        assert (row.started_at_ns, row.bytes_out, row.clock_jumped) == (START_NS, 4000, True)
        assert (row.output_bytes, row.refers_elsewhere, row.refused) == (0, False, False)
        assert (row.service_tier_requested, row.fees_nano_usd, row.price_rule, row.region) == (None, None, None, None)


def upgrade(ledger: Ledger, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with ledger.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_two_meters_that_start_at_once_migrate_once(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as one, Ledger.open(ledger_url) as other, ThreadPoolExecutor() as threads:
        list(threads.map(Ledger.migrate, (one, other)))
        assert one.schema_version() == other.schema_version() == schema.SCHEMA_VERSION
