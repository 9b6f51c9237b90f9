"""Migrations: from nothing, twice, and always to the schema that the code means."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from store.ledger_rows import START_NS, make_call
from submeter.errors import UsageError
from submeter.store import schema
from submeter.store.ledger import MIGRATIONS, Ledger

TABLES = {"calls", "cursors", "label_values", "price_snapshots", "counter_state", "quarantine"}


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
            with ledger._writing() as connection:
                connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": version})
            with pytest.raises(UsageError, match=says):
                Ledger.open(ledger_url, read_only=True)
        with pytest.raises(UsageError, match="newer submeter"):
            ledger.migrate()


def test_the_view_gives_dollars(ledger: Ledger) -> None:
    ledger.ship(
        [
            make_call(0, cost_nano_usd=1_500_000_000, model_served=None),
            make_call(1, cost_nano_usd=None, cost_low_nano_usd=0, cost_high_nano_usd=250_000_000),
            make_call(2, cost_nano_usd=0, saved_nano_usd=1, cache="hit"),
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
    assert [tuple(row) for row in rows] == [
        ("2025-11-20T00:00:00Z", "gpt-4o", 1.5, None, None, None, "miss"),
        ("2025-11-20T00:00:00Z", "gpt-4o-2024-08-06", None, 0, 0.25, None, "miss"),
        ("2025-11-20T00:00:00Z", "gpt-4o-2024-08-06", 0, None, None, 1e-9, "hit"),
    ]


def test_migrations_are_plain_files_of_the_package() -> None:
    files = {path.relative_to(MIGRATIONS).as_posix() for path in Path(MIGRATIONS).rglob("*") if path.is_file()}
    assert {"env.py", "script.py.mako", "versions/0001_ledger.py"} <= files
