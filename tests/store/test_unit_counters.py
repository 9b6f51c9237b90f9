"""Units that share a ledger: a name for each, cursors and counters of their own, also of what older versions wrote."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from submeter.store import schema
from submeter.store.ledger import MIGRATIONS, Cursor, Ledger
from submeter.store.unit import load, load_or_create

CALLS = ("submeter_calls", (("model", "gpt-4o"),))
AT, GIVEN_UP = Cursor(3, 4096, 0), Cursor(1, 10, 0, "ab" * 16)


def test_the_name_is_drawn_once_and_is_its_owners(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    name = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == load(tmp_path) == name
    assert len(bytes.fromhex(name)) == 16
    assert (tmp_path / "unit").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["unit"]
    (tmp_path / "other").mkdir()
    assert load_or_create(tmp_path / "other") != name


@pytest.mark.parametrize("content", [b"", b"x" * 32, b"ab" * 15, b"\xff" * 32])
def test_a_broken_name_is_not_replaced_unasked(tmp_path: Path, content: bytes) -> None:
    """Under another name all that is in the journals would be shipped and counted anew."""
    (tmp_path / "unit").write_bytes(content)
    with pytest.raises(OSError, match="remove it, and a new one is made"):
        load_or_create(tmp_path)


def test_cursors_and_counters_are_a_units_own(ledger: Ledger) -> None:
    ledger.ship([], {"relay-0": AT}, counters={CALLS: 5}, unit="one")
    ledger.ship([], {"relay-0": GIVEN_UP}, counters={CALLS: 7}, unit="two")
    ledger.ship([], {}, counters={CALLS: 6}, unit="one")
    assert (ledger.cursors("one"), ledger.cursors("two")) == ({"relay-0": AT}, {"relay-0": GIVEN_UP})
    assert (ledger.counters("one"), ledger.counters("two")) == ({CALLS: 6}, {CALLS: 7})
    assert ledger.cursors("three") == ledger.counters("three") == ledger.counters() == {}


def test_nameless_cursors_are_adopted(ledger: Ledger) -> None:
    ledger.ship([], {"relay-0": AT, "relay-1": GIVEN_UP})
    ledger.adopt_cursors("one", ["relay-0"])
    assert (ledger.cursors("one"), ledger.cursors("")) == ({"relay-0": AT}, {"relay-1": GIVEN_UP})
    ledger.adopt_cursors("two", [])
    assert ledger.cursors("two") == {}


def test_an_older_ledger_keeps_its_cursors(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        upgrade(ledger, "0002")
        with ledger.writing() as connection:
            insert = 'INSERT INTO cursors (relay, segment, "offset", lsn) VALUES (:relay, 3, 4096, 0)'
            connection.execute(text(insert), [{"relay": "relay-0"}, {"relay": "relay-1"}])
        ledger.migrate()
        assert ledger.schema_version() == schema.SCHEMA_VERSION
        assert ledger.cursors("") == ledger.cursors() == {"relay-0": AT, "relay-1": AT}


def upgrade(ledger: Ledger, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with ledger.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
