"""``submeter export``: files that say to the nano-dollar what the ledger says, or none at all."""

import csv
import random
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from pyarrow import parquet
from typer.testing import CliRunner, Result

from store.ledger_rows import PLAIN, START_NS, make_call, make_random_call
from submeter.commands.export import export
from submeter.core import when
from submeter.core.record import CallRow
from submeter.errors import UsageError
from submeter.store import queries, schema
from submeter.store.export import files
from submeter.store.ledger import Ledger
from submeter.store.versions import NewCost, add_version

app = typer.Typer()
app.command()(export)

DAY_NS = 86_400 * 10**9
NANO = Decimal("1e-9")


@pytest.fixture
def rows() -> list[CallRow]:
    dice = random.Random(3)
    return [make_random_call(number, dice) for number in range(2500)]


@pytest.fixture
def data_dir(tmp_path: Path, rows: list[CallRow]) -> Path:
    return fill(tmp_path / "data", rows)


def fill(directory: Path, rows: list[CallRow]) -> Path:
    with opened(directory) as ledger:
        ledger.migrate()
        ledger.ship(rows, {})
    return directory


def opened(data_dir: Path) -> Ledger:
    return Ledger.open(str(data_dir / "ledger.sqlite3"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def export_to(directory: Path, kind: str, data_dir: Path, *flags: str) -> str:
    result = run(f"--{kind}", directory, "--data-dir", data_dir, *flags)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def total(values: Iterator[int | None]) -> int:
    return sum(value for value in values if value is not None)


def test_parquet_has_every_column_of_every_call(data_dir: Path, rows: list[CallRow], tmp_path: Path) -> None:
    said = export_to(tmp_path / "out", "parquet", data_dir)
    assert said.splitlines()[0] == f"{tmp_path}/out/calls.parquet  2,500 rows"
    table = parquet.read_table(tmp_path / "out" / "calls.parquet")
    assert table.column_names == [*schema.CALL_COLUMNS, "started_at", "cost_usd"]
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert types["cost_usd"] == "decimal128(38, 9)"
    assert types["started_at"] == "timestamp[ns, tz=UTC]"
    assert (types["cost_nano_usd"], types["stream"], types["temperature"]) == ("int64", "bool", "double")
    oldest_first = sorted(rows, key=lambda row: (row.started_at_ns, row.call_id))
    found = table.select(schema.CALL_COLUMNS).to_pylist()
    assert [tuple(line.values()) for line in found] == [schema.call_values(row) for row in oldest_first]
    dollars = [None if row.cost_nano_usd is None else row.cost_nano_usd * NANO for row in oldest_first]
    assert table["cost_usd"].to_pylist() == dollars
    assert table["started_at"].cast("int64").to_pylist() == [row.started_at_ns for row in oldest_first]


def test_csv_says_the_same_as_text(data_dir: Path, rows: list[CallRow], tmp_path: Path) -> None:
    export_to(tmp_path, "csv", data_dir)
    lines = {line["call_id"]: line for line in read_csv(tmp_path / "calls.csv")}
    assert len(lines) == len(rows)
    for row in rows:
        line = lines[row.call_id]
        assert tuple(line)[:-2] == schema.CALL_COLUMNS
        assert line["cost_nano_usd"] == ("" if row.cost_nano_usd is None else str(row.cost_nano_usd))
        assert line["cost_usd"] == ("" if row.cost_nano_usd is None else f"{row.cost_nano_usd * NANO:.9f}")
        assert line["team"] == ("" if row.team is None else row.team)
        assert (line["stream"], line["temperature"]) == ("true" if row.stream else "false", "0.5")
        assert line["started_at"] == when.rfc3339(row.started_at_ns)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_days_and_calls_add_up_to_what_cost_says(
    data_dir: Path, rows: list[CallRow], tmp_path: Path, kind: str
) -> None:
    export_to(tmp_path, kind, data_dir)
    if kind == "csv":
        text = read_csv(tmp_path / "daily.csv")
        daily = [{name: int(value) for name, value in line.items() if value.isdecimal()} for line in text]
        dollars = [Decimal(line["cost_usd"]) for line in text]
    else:
        daily = parquet.read_table(tmp_path / "daily.parquet").to_pylist()
        dollars = [line["cost_usd"] for line in daily]
    with opened(data_dir) as ledger:
        summary = queries.summary(ledger)
    for name in queries.CostLine.__struct_fields__[1:]:
        assert sum(line[name] for line in daily) == getattr(summary, name), name
    assert sum(dollars) == summary.cost_nano_usd * NANO
    bought = [row for row in rows if row.cache in ("miss", "bypass")]
    assert sum(dollars) / NANO == total(row.cost_nano_usd for row in bought)


def test_a_day_has_one_row_for_each_name(tmp_path: Path) -> None:
    rows = [
        make_call(0),
        make_call(1),
        make_call(2, team=None, cost_nano_usd=None, cost_state="unpriced"),
        make_call(3, started_at_ns=START_NS + DAY_NS),
    ]
    export_to(tmp_path, "csv", fill(tmp_path / "data", rows), "--what", "daily")
    assert not (tmp_path / "calls.csv").exists()
    first, unpriced, next_day = read_csv(tmp_path / "daily.csv")
    assert list(first)[:7] == ["day", "model", "team", "app", "prompt", "prompt_version", "upstream"]
    assert list(first.values())[:7] == ["2025-11-20", "gpt-4o-2024-08-06", "search", "web", "greet", "v1", "openai"]
    assert (first["calls"], first["cost_nano_usd"]) == ("2", str(2 * PLAIN.cost_nano_usd))
    assert first["cost_usd"] == f"{2 * PLAIN.cost_nano_usd * NANO:.9f}"
    assert (unpriced["team"], unpriced["unpriced_calls"], unpriced["cost_usd"]) == ("", "1", "0.000000000")
    assert (next_day["day"], next_day["calls"]) == ("2025-11-21", "1")


def test_the_costs_are_those_of_the_selected_version(tmp_path: Path) -> None:
    data_dir = fill(tmp_path / "data", [PLAIN])
    cost = NewCost.of(make_call(0, cost_nano_usd=5, price_rule="dated"))
    with opened(data_dir) as ledger:
        add_version(ledger, "reprice", "", None, None, None, [cost], select=True)
    export_to(tmp_path, "csv", data_dir)
    (call,) = read_csv(tmp_path / "calls.csv")
    assert (call["cost_nano_usd"], call["cost_usd"], call["price_rule"]) == ("5", "0.000000005", "dated")
    assert read_csv(tmp_path / "daily.csv")[0]["cost_nano_usd"] == "5"


def test_a_period_is_exported_alone(data_dir: Path, rows: list[CallRow], tmp_path: Path) -> None:
    export_to(tmp_path, "csv", data_dir, "--since", "2025-11-21", "--until", "2025-11-23")
    inside = {row.call_id for row in rows if START_NS + DAY_NS <= row.started_at_ns < START_NS + 3 * DAY_NS}
    assert {line["call_id"] for line in read_csv(tmp_path / "calls.csv")} == inside
    assert {line["day"] for line in read_csv(tmp_path / "daily.csv")} == {"2025-11-21", "2025-11-22"}


def test_an_empty_ledger_gives_empty_tables(tmp_path: Path) -> None:
    data_dir = fill(tmp_path / "data", [])
    export_to(tmp_path, "csv", data_dir)
    export_to(tmp_path, "parquet", data_dir)
    assert read_csv(tmp_path / "calls.csv") == read_csv(tmp_path / "daily.csv") == []
    assert parquet.read_table(tmp_path / "calls.parquet").num_rows == 0


def test_csv_keeps_any_text_and_runs_no_formula(tmp_path: Path) -> None:
    texts = ["=cmd()", "+1", "-1", "@a", "\tx", "\rx", 'a "b", c\nd', "é😀", "a=b", "'"]
    data_dir = fill(tmp_path / "data", [make_call(number, team=text) for number, text in enumerate(texts)])
    export_to(tmp_path, "csv", data_dir)
    guarded = [f"'{text}" for text in texts[:6]]
    assert [line["team"] for line in read_csv(tmp_path / "calls.csv")] == [*guarded, *texts[6:]]
    assert {line["team"] for line in read_csv(tmp_path / "daily.csv")} == {*guarded, *texts[6:]}


def test_more_rows_than_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROWS_PER_BATCH", 100)
    export_to(tmp_path, "parquet", fill(tmp_path / "data", [make_call(number) for number in range(350)]))
    file = parquet.ParquetFile(tmp_path / "calls.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)] == [100, 100, 100, 50]
    file.close()


def test_files_that_are_there_are_replaced_only_by_force(data_dir: Path, tmp_path: Path) -> None:
    old = tmp_path / "daily.csv"
    old.write_text("mine")
    result = run("--csv", tmp_path, "--data-dir", data_dir)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(f"already there: {old}; --force replaces")
    assert old.read_text() == "mine"
    assert not (tmp_path / "calls.csv").exists()
    export_to(tmp_path, "csv", data_dir, "--force")
    assert old.read_text().startswith("day,")
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_export_that_fails_leaves_what_was_there(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f"calls.{kind}").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(files.FORMATS, kind, full)
    result = run(f"--{kind}", out, "--data-dir", data_dir, "--force")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(f"cannot write {out}/calls.{kind} (No space left on device)")
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(f"calls.{kind}", "old")]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "nowhere to write: name a directory with --parquet DIR or --csv DIR"),
        (("--csv", "a", "--parquet", "b"), "--parquet and --csv exclude each other"),
        (("--csv", "a", "--what", "calls,days"), "--what takes calls and daily, comma-separated, not 'calls,days'"),
        (("--csv", "a", "--what", ","), "--what takes calls and daily"),
        (("--csv", "a", "--since", "yesterdayish"), "--since: "),
    ],
)
def test_wrong_usage_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*flags)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(says)
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = run("--parquet", tmp_path)
    assert isinstance(result.exception, UsageError)
    assert "pip install 'submeter[parquet]', or use --csv DIR" in str(result.exception)
