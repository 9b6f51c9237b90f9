"""``submeter reconcile``: what it asks for, what it prints, how it ends."""

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from reconcile.admin_apis import AdminApi, in_thread
from reconcile.invoices import COST, DAY, Bill, bucket, call, cost_result, fill, lost_call, page
from submeter.cli import app
from submeter.core import when
from submeter.errors import UsageError
from submeter.store.ledger import Ledger
from submeter.store.versions import select_version

ROWS = [call(1, "plain"), call(2, "plain"), call(3, "plain", DAY + 1)]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    fill(tmp_path / "data" / "ledger.sqlite3", ROWS)
    return tmp_path / "data"


def run(data_dir: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["reconcile", *map(str, arguments), "--data-dir", str(data_dir)])


def document(data_dir: Path, *arguments: str | Path, code: int = 0) -> Any:
    result = run(data_dir, *arguments, "--json")
    assert result.exit_code == code, result.exception
    return json.loads(result.stdout)


def refused(data_dir: Path, *arguments: str | Path) -> str:
    result = run(data_dir, *arguments)
    assert isinstance(result.exception, UsageError), result.output
    return str(result.exception)


def save(directory: Path, raw: bytes, name: str = "invoice.json") -> Path:
    path = directory / name
    path.write_bytes(raw)
    return path


def test_a_clean_invoice(data_dir: Path, tmp_path: Path) -> None:
    file = save(tmp_path, Bill(ROWS).pages())
    found = document(data_dir, file)
    assert found["differences"] == []
    assert found["total"] == {
        "invoice_nano_usd": 3 * COST,
        "confirmed_nano_usd": 3 * COST,
        "estimated_nano_usd": 0,
        "estimated_low_nano_usd": 0,
        "estimated_high_nano_usd": 0,
        "indeterminate_low_nano_usd": 0,
        "indeterminate_high_nano_usd": 0,
        "difference_nano_usd": 0,
        "lines": 8,
        "matched_lines": 8,
    }
    result = run(data_dir, file)
    assert result.exit_code == 0
    assert "100 % of 8 lines" in result.stdout
    assert "$0.01125 confirmed, 3 calls" in result.stdout
    assert "likely cause" not in result.stdout


def test_a_difference_in_the_table_and_in_json(data_dir: Path, tmp_path: Path) -> None:
    bill = Bill(ROWS)
    bill.change(DAY, "plain", "0.9")
    file = save(tmp_path, bill.pages())
    result = run(data_dir, file)
    assert result.exit_code == 1
    (line,) = (line for line in result.stdout.splitlines() if "price drift" in line)
    for words in ("2025-11-20", "plain", "$0.00675", "$0.0075", "-$0.00075", "10 % off every token"):
        assert words in line
    assert "50 % of 8 lines" in result.stdout
    (difference,) = document(data_dir, file, code=1)["differences"]
    assert {name: difference[name] for name in ("day", "model", "kind", "cause", "difference_nano_usd")} == {
        "day": "2025-11-20",
        "model": "plain",
        "kind": "price_drift",
        "cause": "discount",
        "difference_nano_usd": -2 * COST // 10,
    }
    assert difference["token_difference"] == dict.fromkeys(difference["token_difference"], 0) | {
        "cache_write_tokens": None
    }


def test_a_tolerance_is_per_day_and_model(data_dir: Path, tmp_path: Path) -> None:
    bill = Bill(ROWS)
    bill.change(DAY, "plain", "0.9")
    file = save(tmp_path, bill.pages())
    assert run(data_dir, file, "--tolerance-usd", "0.0007").exit_code == 1
    found = document(data_dir, file, "--tolerance-usd", "0.001")
    assert [entry["cause"] for entry in found["matched"]] == ["rounding", None]
    for wrong in ("-1", "much", "1e99", ""):
        assert "--tolerance-usd" in refused(data_dir, file, "--tolerance-usd", wrong)


def test_settling_and_undoing_it(data_dir: Path, tmp_path: Path) -> None:
    lost = lost_call(9, "plain", DAY + 1)
    ledger_url = str(data_dir / "ledger.sqlite3")
    fill(ledger_url, [lost])
    bill = Bill(ROWS)
    bill.costs[DAY + 1].append(cost_result("plain, input", Decimal(777_000)))
    bill.usage.clear()
    file = save(tmp_path, bill.pages())
    assert document(data_dir, file, code=1)["differences"][0]["kind"] == "within_bounds"
    found = document(data_dir, file, "--settle")
    assert (found["settled"], found["differences"]) == ({"version": "v1", "calls": 1}, [])
    assert found["total"]["confirmed_nano_usd"] == 3 * COST + 777_000
    result = run(data_dir, file, "--settle")
    assert (result.exit_code, "settled in" in result.stdout) == (0, False)
    with Ledger.open(ledger_url) as ledger:
        select_version(ledger, None)
    assert "reprice --select original" in run(data_dir, file, "--settle").stdout


def test_a_file_may_have_the_day_that_is_not_over_and_is_told_so(tmp_path: Path) -> None:
    today = time.time_ns() // when.DAY_NS
    rows = [call(1, "plain", today - 1), call(2, "plain", today)]
    fill(tmp_path / "ledger.sqlite3", rows)
    found = document(tmp_path, save(tmp_path, Bill(rows).pages(today - 1, today)))
    assert (found["since"], found["until"]) == (when.day(today - 1), when.day(today + 1))
    assert found["notes"] == [f"{when.day(today)} is not over yet (UTC): calls may be missing on either side"]
    assert found["differences"] == []
    alone = save(tmp_path, Bill(rows[:1]).pages(today - 1, today - 1), "yesterday.json")
    assert "no day in common" in refused(tmp_path, alone, "--since", when.day(today))


def test_a_period_within_and_beyond_the_export(data_dir: Path, tmp_path: Path) -> None:
    file = save(tmp_path, Bill(ROWS[:2]).pages(DAY, DAY))
    assert document(data_dir, file)["since"] == "2025-11-20"
    found = document(data_dir, file, "--until", "2025-11-22", code=1)
    assert "other days are missing in it" in found["notes"][0]
    assert [entry["kind"] for entry in found["differences"]] == ["missing_there"]


CSV = """Date,Model,Key,In,Out,Cost
2025-11-20,our model,key_a,{},200,0.0075
2025-11-21,our model,key_a,1200,100,0.00375
"""


def test_any_csv_with_columns_and_a_map(data_dir: Path, tmp_path: Path) -> None:
    file = save(tmp_path, CSV.format(2400).encode(), "bill.csv")
    columns = "day=Date,model=Model,input_tokens=In,output_tokens=Out,amount=Cost"
    names = save(tmp_path, b'models: {"our model": plain}\nupstreams: [openai]\n', "map.yaml")
    assert document(data_dir, file, "--columns", columns, "--map", names)["source"] == "CSV"
    whole = save(tmp_path, f"models: {{our model: plain}}\ncolumns: {{{columns.replace('=', ': ')}}}\n".encode())
    assert document(data_dir, file, "--map", whole)["differences"] == []
    short = save(tmp_path, CSV.format(2399).encode(), "short.csv")
    (difference,) = document(data_dir, short, "--map", whole, code=1)["differences"]
    assert (difference["kind"], difference["cause"], difference["rows"]) == ("token_drift", "not_billed", [2])
    assert "line 2: input_tokens" in refused(
        data_dir, save(tmp_path, CSV.format("x").encode(), "x.csv"), "--map", whole
    )


def test_keys_are_compared_where_the_map_names_them(tmp_path: Path) -> None:
    rows = [call(1, "plain", key_id="aaaa"), call(2, "plain", key_id="bbbb")]
    fill(tmp_path / "ledger.sqlite3", rows)
    bill = Bill(rows)
    for kind in (bill.costs, bill.usage):
        kind[DAY] = [{**result, "api_key_id": "key_other"} for result in kind[DAY]]
    file = save(tmp_path, bill.pages())
    assert document(tmp_path, file)["differences"] == []
    keys = save(tmp_path, b'keys: {key_other: "aaaa"}\n', "map.yaml")
    found = document(tmp_path, file, "--map", keys, code=1)["differences"]
    assert {entry["key"]: entry["kind"] for entry in found} == {"aaaa": "token_drift", "bbbb": "missing_there"}
    for result in bill.costs[DAY]:
        result["api_key_id"] = None
    file = save(tmp_path, bill.pages())
    assert document(tmp_path, file, "--map", keys)["notes"] == [
        "not every line names a key: all keys are compared together"
    ]


def test_an_export_without_models_is_compared_by_whole_days(data_dir: Path, tmp_path: Path) -> None:
    results = [bucket(DAY + at, [cost_result(None, Decimal(calls * COST))]) for at, calls in ((0, 2), (1, 1))]
    found = document(data_dir, save(tmp_path, json.dumps(page(results)).encode()))
    assert found["notes"] == ["the export names no models: whole days are compared"]
    assert [entry["model"] for entry in found["matched"]] == [None, None]


def test_dated_and_undated_names_are_the_same_model(tmp_path: Path) -> None:
    rows = [call(1, "plain-2025-01-31"), call(2, "plain", model_served=None)]
    assert [row.cost_nano_usd for row in rows] == [COST, COST]
    fill(tmp_path / "ledger.sqlite3", rows)
    for name in ("plain-2025-01-31", "plain", "plain-latest"):
        bill = Bill([])
        bill.add(DAY, name, 2, 2)
        assert document(tmp_path, save(tmp_path, bill.pages()))["differences"] == [], name


def test_the_provider_is_asked_with_the_key_of_a_variable(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bill = Bill(ROWS)
    days = range(DAY, DAY + 2)
    paths = {"costs": bill.costs, "usage/completions": bill.usage, "usage/embeddings": {}}
    api = AdminApi(
        {f"/v1/organization/{name}": [bucket(day, kind.get(day, [])) for day in days] for name, kind in paths.items()}
    )
    asked = ("--provider", "openai", "--since", "2025-11-20", "--until", "2025-11-22", "--key-env", "MY_KEY")
    monkeypatch.setenv("MY_KEY", "admin")
    with in_thread(api) as base_url:
        found = document(data_dir, *asked, "--base-url", base_url)
    assert (found["source"], found["differences"]) == ("OpenAI costs and usage (API)", [])
    assert found["total"]["matched_lines"] == 8
    monkeypatch.delenv("MY_KEY")
    assert refused(data_dir, *asked) == "MY_KEY holds no admin key: export it, or name its variable with --key-env"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either a FILE or --provider"),
        (("a.json", "--provider", "openai"), "and not both"),
        (("--provider", "cohere"), "--provider is openai or anthropic"),
        (("nothing.json",), "cannot read nothing.json"),
        (("a.json", "--since", "soon"), "--since: "),
        (("a.json", "--columns", "day"), "what=column pairs"),
        (("a.json", "--columns", "day=Date"), "nothing to compare"),
        (("a.json", "--columns", "amont=Cost"), "did you mean amount"),
        (("a.json", "--columns", "amount=Cost"), "which column has the day"),
        (("a.json", "--columns", "day=D,amount=C,amount_cents=C"), "keep one of the two"),
        (("a.json", "--map", "nothing.yaml"), "give the right one with --map"),
    ],
)
def test_what_is_asked_wrongly_is_said(data_dir: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(data_dir, *arguments)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("key: {a: b}\n", "map.yaml line 1: key: no part of a map file; did you mean keys"),
        ("keys: {a: 12}\n", "map.yaml: keys: "),
        ("columns: {day: Date, amont: Cost}\n", "map.yaml line 1: columns.amont: no column of an invoice"),
        ("upstreams: openai\n", "upstreams takes a list"),
        ("upstreams: [other]\n", "there is no upstream other"),
    ],
)
def test_a_map_file_that_is_wrong_names_its_line(data_dir: Path, tmp_path: Path, text: str, words: str) -> None:
    file = save(tmp_path, Bill(ROWS).pages())
    assert words in refused(data_dir, file, "--map", save(tmp_path, text.encode(), "map.yaml"))
