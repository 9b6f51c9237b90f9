"""The contract of every ledger: all of a batch or nothing, once and never again, bad rows apart."""

import json
import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from store.conftest import only_postgres, only_sqlite
from store.ledger_rows import PLAIN, make_call, make_call_id, make_random_call
from submeter.core.record import CallRow, TokenClasses
from submeter.errors import UsageError
from submeter.store import schema
from submeter.store.ledger import Cursor, Ledger, LedgerUnavailable, Shipped

AT = Cursor(segment=3, offset=4096, lsn=77)


def stored(ledger: Ledger) -> list[CallRow]:
    """All rows, read back column by column into the record that they were shipped as."""
    with ledger.reading() as connection:
        rows = connection.execute(select(schema.calls).order_by(schema.calls.c.call_id)).mappings().all()
    return [from_columns(dict(row)) for row in rows]


def from_columns(row: dict[str, object]) -> CallRow:
    tokens = [row.pop(name) for name in schema.TOKEN_COLUMNS]
    costs = [row.pop(name) for name in schema.MONEY_COLUMNS]
    row["klass"] = row.pop("class")
    row["tokens"] = None if tokens[0] is None else TokenClasses(*tokens)
    row["costs"] = None if costs[0] is None else TokenClasses(*costs)
    return CallRow(**row)


def test_the_columns_are_the_fields_of_a_row_in_order() -> None:
    assert tuple(schema.calls.columns.keys()) == schema.CALL_COLUMNS
    assert len(schema.CALL_COLUMNS) == len(CallRow.__struct_fields__) - 2 + 14 + 14
    assert schema.columns_of("klass") == ("class",)
    assert schema.columns_of("tokens")[0] == "part_input_uncached_tokens"
    assert schema.columns_of("costs")[-1] == "part_output_image_nano_usd"
    assert [column.name for column in schema.calls.primary_key] == ["call_id", "attempt"]


def test_a_row_comes_back_as_it_was_shipped(ledger: Ledger) -> None:
    bare = make_call(1, tokens=None, costs=None, cost_nano_usd=None, cost_state="unpriced", klass=None)
    again = make_call(1, attempt=2, tools=True, stream=False, unbounded=True, temperature=None)
    wide = make_call(2, n=2**63 - 1, max_output_tokens=2**63 - 1, cost_nano_usd=2**62)
    assert ledger.ship([PLAIN, bare, again, wide], {"relay-0": AT}) == Shipped(inserted=4, refused=0)
    assert stored(ledger) == [PLAIN, bare, again, wide]


# Relays keep NUL out of what is stored; Postgres would refuse the row, which has a test of its own.
text = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
nano = st.none() | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(team=text, user=text, model=text, cost=nano, saved=nano, bytes_in=st.integers(0, 2**63 - 1))
def test_any_text_and_any_integer_come_back(
    ledger: Ledger,
    team: str | None,
    user: str | None,
    model: str | None,
    cost: int | None,
    saved: int | None,
    bytes_in: int,
) -> None:
    number = len(stored(ledger))
    row = make_call(
        number,
        team=team,
        user=user,
        model_served=model,
        cost_nano_usd=cost,
        saved_nano_usd=saved,
        bytes_in=bytes_in,
    )
    assert ledger.ship([row], {}) == Shipped(1, 0)
    assert stored(ledger)[number] == row


def test_shipping_again_changes_no_row(ledger: Ledger) -> None:
    dice = random.Random(1)
    rows = [make_random_call(number, dice) for number in range(300)]
    assert ledger.ship(rows, {"relay-0": AT}) == Shipped(300, 0)
    before = stored(ledger)
    assert ledger.ship(rows, {"relay-0": AT}) == Shipped(0, 0)
    changed = [msgspec.structs.replace(row, cost_nano_usd=1, outcome="timeout") for row in rows]
    assert ledger.ship(changed, {"relay-0": AT}) == Shipped(0, 0)
    assert stored(ledger) == before


def test_an_overlapping_batch_adds_only_what_is_new(ledger: Ledger) -> None:
    ledger.ship([make_call(number) for number in range(10)], {})
    assert ledger.ship([make_call(number) for number in range(5, 15)], {}) == Shipped(5, 0)
    assert ledger.ship([make_call(20), make_call(20)], {}) == Shipped(1, 0)


def test_cursors_labels_and_counters_are_kept(ledger: Ledger, ledger_url: str) -> None:
    calls = ("calls", (("model", "gpt-4o"), ("team", 'a "quoted" one')))
    ledger.ship([], {"relay-0": AT, "relay-1": Cursor(1, 0, 0)}, [("team", "search")], {calls: 5})
    ledger.ship(
        [],
        {"relay-0": Cursor(4, 12, 90)},
        [("team", "search"), ("app", "web")],
        {calls: 9, ("up", ()): 1},
    )
    with Ledger.open(ledger_url) as reopened:
        assert reopened.cursors() == {"relay-0": Cursor(4, 12, 90), "relay-1": Cursor(1, 0, 0)}
        assert reopened.label_values() == [("app", "web"), ("team", "search")]
        assert reopened.counters() == {calls: 9, ("up", ()): 1}


@pytest.mark.parametrize("step", ["_upsert", "_insert_many"])
def test_an_error_between_rows_and_cursors_leaves_neither(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("between rows and cursors")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, step, fail)
        with pytest.raises(RuntimeError, match="between"):
            ledger.ship([PLAIN], {"relay-0": AT}, [("team", "search")])
    assert stored(ledger) == []
    assert ledger.cursors() == {}
    assert ledger.ship([PLAIN], {"relay-0": AT}) == Shipped(1, 0)


def test_a_killed_process_leaves_whole_batches(ledger: Ledger, ledger_url: str) -> None:
    """SIGKILL inside the transaction: the earlier batch stands, of the later one nothing does."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path[:0] = sys.argv[2:]
        from store.ledger_rows import make_call
        from submeter.store.ledger import Cursor, Ledger
        ledger = Ledger.open(sys.argv[1])
        ledger.ship([make_call(0)], {"relay-0": Cursor(1, 10, 1)})
        ledger._upsert = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        ledger.ship([make_call(1)], {"relay-0": Cursor(1, 20, 2)})
        """
    )
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "proxy")]
    ended = subprocess.run([sys.executable, "-c", script, ledger_url, *paths], check=False)
    assert ended.returncode == -9
    assert stored(ledger) == [make_call(0)]
    assert ledger.cursors() == {"relay-0": Cursor(1, 10, 1)}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"team": "lone \ud800 surrogate"}, {"UnicodeEncodeError"}),
        ({"bytes_out": 2**63}, {"OverflowError", "NumericValueOutOfRange"}),
        ({"operation_id": None}, {"IntegrityError", "NotNullViolation"}),
        ({"call_id": "bad \udfff id"}, {"UnicodeEncodeError"}),
    ],
)
def test_a_refused_row_goes_to_quarantine_and_holds_up_nobody(
    ledger: Ledger, changes: dict[str, object], reasons: set[str]
) -> None:
    rows = [make_call(number) for number in range(37)]
    bad = make_call(100, **changes)
    assert ledger.ship([*rows[:23], bad, *rows[23:]], {"relay-0": AT}) == Shipped(37, 1)
    assert stored(ledger) == rows
    assert ledger.cursors() == {"relay-0": AT}
    assert ledger.quarantined() == 1
    with ledger.reading() as connection:
        kept = connection.execute(select(schema.quarantine)).one()
    assert kept.reason in reasons  # sqlite3's name for it, or psycopg's
    assert json.loads(kept.payload)["cost_nano_usd"] == PLAIN.cost_nano_usd
    assert json.loads(kept.payload)["costs"] == list(msgspec.structs.astuple(PLAIN.costs))


def test_many_refused_rows_are_all_found(ledger: Ledger) -> None:
    bad = {0, 1, 17, 63, 64, 99}
    rows = [make_call(n, operation_id=None) if n in bad else make_call(n) for n in range(100)]
    assert ledger.ship(rows, {}) == Shipped(94, 6)
    assert ledger.ship(rows, {}) == Shipped(0, 6)
    assert ledger.quarantined() == 6
    assert ledger.known([make_call_id(n) for n in range(100)]) == {(make_call_id(n), 1) for n in range(100)}


def test_known_tells_attempts_apart_and_takes_any_number(ledger: Ledger) -> None:
    ledger.ship([make_call(n) for n in range(1200)] + [make_call(7, attempt=2)], {})
    asked = [make_call_id(n) for n in range(600, 3000)]
    assert ledger.known(asked) == {(make_call_id(n), 1) for n in range(600, 1200)}
    assert ledger.known([make_call_id(7)]) == {(make_call_id(7), 1), (make_call_id(7), 2)}
    assert ledger.known([]) == set()


def test_a_price_snapshot_is_written_once(ledger: Ledger) -> None:
    ledger.add_price_snapshot("litellm-1.109.1", "litellm 1.109.1", "2026-11-20", "ab" * 32)
    ledger.add_price_snapshot("litellm-1.109.1", "another word", "2026-11-21", "cd" * 32)
    with ledger.reading() as connection:
        assert [tuple(row) for row in connection.execute(select(schema.price_snapshots))] == [
            ("litellm-1.109.1", "litellm 1.109.1", "2026-11-20", "ab" * 32)
        ]


@only_postgres
def test_postgres_refuses_nul_bytes_which_no_text_of_its_can_hold(ledger: Ledger) -> None:
    bad = make_call(1, user="a\x00b", finish_reason="\x00")
    assert ledger.ship([make_call(0), bad, make_call(2)], {"relay-0": AT}) == Shipped(2, 1)
    assert stored(ledger) == [make_call(0), make_call(2)]
    with ledger.reading() as connection:
        kept = connection.execute(select(schema.quarantine)).one()
    assert (kept.call_id, kept.reason) == (bad.call_id, "DataError")
    assert json.loads(kept.payload)["user"] == "a\x00b"


@pytest.mark.parametrize("value", ["\\N", "\\.", "a\tb\nc\rd\\", "", '"', "'", "%s", "\x01", "é😀"])
def test_text_that_means_something_to_a_loader_is_only_text(ledger: Ledger, value: str) -> None:
    row = make_call(team=value, user=value, finish_reason=value)
    assert ledger.ship([row], {}) == Shipped(1, 0)
    assert stored(ledger) == [row]


@only_sqlite
def test_sqlite_files_are_private_and_commits_are_synced(ledger: Ledger, tmp_path: Path) -> None:
    ledger.ship([PLAIN], {})
    directory = tmp_path / "data"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {
        "ledger.sqlite3": 0o600,
        "ledger.sqlite3-wal": 0o600,
        "ledger.sqlite3-shm": 0o600,
    }
    with ledger.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_readers_see_one_moment_and_do_not_block_the_writer(ledger: Ledger, ledger_url: str) -> None:
    ledger.ship([make_call(0)], {})
    with Ledger.open(ledger_url, read_only=True) as reader, reader.reading() as connection:
        count = select(schema.calls.c.call_id)
        assert len(connection.execute(count).all()) == 1
        ledger.ship([make_call(1)], {})
        assert len(connection.execute(count).all()) == 1
        assert reader.known([make_call_id(1)]) == {(make_call_id(1), 1)}


def test_a_reader_cannot_write(ledger: Ledger, ledger_url: str) -> None:
    with Ledger.open(ledger_url, read_only=True) as reader, pytest.raises(LedgerUnavailable):
        reader.ship([PLAIN], {})
    assert stored(ledger) == []


@only_sqlite
def test_a_locked_ledger_is_unavailable_and_nothing_changes(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("submeter.store.engine.BUSY_TIMEOUT_S", 0.05)
    with Ledger.open(ledger_url) as ledger:
        ledger.migrate()
        other = sqlite3.connect(tmp_path / "data" / "ledger.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match=r"^OperationalError$"):
            ledger.ship([PLAIN], {"relay-0": AT})
        other.execute("ROLLBACK")
        other.close()
        assert ledger.cursors() == {}
        assert ledger.ship([PLAIN], {"relay-0": AT}) == Shipped(1, 0)


def test_a_server_that_is_not_there_is_unavailable_and_readers_say_what_to_check(tmp_path: Path) -> None:
    url = f"postgresql://submeter:hunter2@/ledger?host={tmp_path}"
    with Ledger.open(url) as ledger, pytest.raises(LedgerUnavailable, match=r"^OperationalError$"):
        ledger.ship([PLAIN], {"relay-0": AT})
    with pytest.raises(UsageError, match=r"cannot be read \(OperationalError\): check --data-dir or --ledger"):
        Ledger.open(url, read_only=True)


def test_a_path_with_url_characters_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a ?b=#1%20&mode=memory" / "ledger.sqlite3"
    with Ledger.open(str(path)) as ledger:
        ledger.migrate()
        ledger.ship([PLAIN], {})
    with Ledger.open(str(path), read_only=True) as ledger:
        assert stored(ledger) == [PLAIN]
    assert path.stat().st_size > 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://user:hunter2@host/db", "starts with sqlite:/// or postgresql://, not mysql://"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("/dev/null/ledger.sqlite3", "cannot write the ledger"),
    ],
)
def test_a_url_that_cannot_be_opened_says_why_and_keeps_its_password(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Ledger.open(url)
    assert "hunter2" not in str(caught.value)


def test_postgres_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'submeter\[postgres\]'"):
        Ledger.open("postgresql://user:hunter2@host/db")


def test_reading_a_ledger_that_is_not_there_says_to_serve(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no ledger at .*: start `submeter serve`"):
        Ledger.open(str(tmp_path / "ledger.sqlite3"), read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_reading_something_that_is_no_ledger_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_text("not a database, but long enough to be taken for one at first sight " * 20)
    with pytest.raises(UsageError, match=r"cannot be read \(DatabaseError\)"):
        Ledger.open(str(path), read_only=True)
