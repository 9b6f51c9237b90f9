"""``submeter calls``, ``cost`` and ``latency``: what they print, in every form, and how they end."""

import csv
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from store.ledger_rows import PLAIN, START_NS, make_call, make_call_id
from submeter.cli import app
from submeter.commands import tables
from submeter.commands.settled import wait_until_settled
from submeter.core.record import CallRow, Finish, Start
from submeter.errors import UsageError
from submeter.journal.writer import JournalWriter
from submeter.store import queries
from submeter.store.ledger import Ledger

NOW_NS = time.time_ns()
GPT_COST = 730 * 2500 + 200 * 1250 + 70 * 2500 + 10 * 10_000

ROWS = [
    make_call(0, started_at_ns=NOW_NS - 3_000_000_000),
    make_call(1, started_at_ns=NOW_NS - 2_000_000_000, model_served="claude-x", team="=cmd()", cost_nano_usd=123_000),
    make_call(
        2,
        started_at_ns=NOW_NS - 1_000_000_000,
        team="a [red]b\x1b[31m",
        outcome="client_gone",
        cost_state="estimated",
        cost_nano_usd=2_000,
        cost_low_nano_usd=1_000,
        cost_high_nano_usd=5_000,
    ),
    make_call(3, started_at_ns=NOW_NS, cache="hit", cost_nano_usd=0, saved_nano_usd=GPT_COST, ttft_ns=None),
]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return fill(tmp_path / "data", ROWS)


def fill(directory: Path, rows: list[CallRow]) -> Path:
    with Ledger.open(str(directory / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        ledger.ship(rows, {})
    return directory


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def output(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_calls_json_is_one_object_per_line_oldest_first(data_dir: Path) -> None:
    lines = lines_of(output("calls", "--json", "--data-dir", data_dir))
    assert [line["call_id"] for line in lines] == [make_call_id(number) for number in range(4)]
    assert all(tuple(line) == queries.CALL_KEYS for line in lines)
    assert lines[0]["cost_nano_usd"] == GPT_COST
    assert lines[0]["class"] == "interactive"


def test_calls_json_gives_all_and_last_the_newest(tmp_path: Path) -> None:
    data_dir = fill(tmp_path, [make_call(number) for number in range(50)])
    assert len(lines_of(output("calls", "--json", "--data-dir", data_dir))) == 50
    newest = lines_of(output("calls", "--json", "--last", "2", "--data-dir", data_dir))
    assert [line["call_id"] for line in newest] == [make_call_id(48), make_call_id(49)]
    since = lines_of(output("calls", "--json", "--since", "2025-11-20T00:00:00.000047Z", "--data-dir", data_dir))
    assert [line["call_id"] for line in since] == [make_call_id(number) for number in (47, 48, 49)]
    assert START_NS + 47 * 1000 == 1_763_596_800_000_047_000


def test_calls_reads_a_ledger_named_by_itself(data_dir: Path) -> None:
    for url in (f"sqlite:///{data_dir}/ledger.sqlite3", f"{data_dir}/ledger.sqlite3"):
        assert len(lines_of(output("calls", "--json", "--ledger", url))) == 4


def test_the_table_of_calls_shows_the_newest_twenty_and_obeys_no_text(tmp_path: Path) -> None:
    rows = [make_call(number, started_at_ns=NOW_NS - 10**10 + number) for number in range(30)]
    hostile = msgspec.structs.replace(ROWS[2], call_id=make_call_id(30))
    text = output("calls", "--data-dir", fill(tmp_path, [*rows, hostile]))
    shown = [number for number in range(31) if make_call_id(number) in text]
    assert shown == list(range(11, 31))
    assert "\x1b" not in text
    assert r"a [red]b\x1b[31m" in text
    assert "client gone" in text
    assert "~$0.000002" in text


def test_one_call_in_full(data_dir: Path) -> None:
    (call,) = json.loads(output("calls", "show", make_call_id(0), "--json", "--data-dir", data_dir))
    assert call["tokens"]["cache_write_1h"] == 30
    assert sum(call["costs_nano_usd"].values()) == GPT_COST
    text = output("calls", "--data-dir", data_dir, "show", make_call_id(0))
    for words in (("input_uncached", "730", "$0.001825"), ("ttft", "100 ms"), ("cost", "$0.00235")):
        assert any(all(word in line for word in words) for line in text.splitlines()), words


def test_an_unknown_call_says_what_to_do(data_dir: Path) -> None:
    result = run("calls", "show", "nothing", "--data-dir", data_dir)
    assert isinstance(result.exception, UsageError)
    assert "no such call in the ledger" in str(result.exception)


def test_cost_json_has_lines_and_their_total(data_dir: Path) -> None:
    document = json.loads(output("cost", "--by", "team,model", "--json", "--data-dir", data_dir))
    assert document["by"] == ["team", "model"]
    assert document["until"] is None
    assert list(document["lines"][0])[:3] == ["team", "model", "calls"]
    confirmed = {line["team"]: line["confirmed_nano_usd"] for line in document["lines"]}
    assert confirmed == {"search": GPT_COST, "=cmd()": 123_000, "a [red]b\x1b[31m": 0}
    total = document["total"]
    assert (total["calls"], total["hits"], total["exact_calls"], total["estimated_calls"]) == (4, 1, 2, 1)
    assert total["confirmed_nano_usd"] == GPT_COST + 123_000
    assert [total[f"estimated{bound}_nano_usd"] for bound in ("_low", "", "_high")] == [1_000, 2_000, 5_000]
    assert total["saved_nano_usd"] == GPT_COST
    assert total["input_tokens"] == 3 * 1000


def test_cost_without_keys_is_the_total(data_dir: Path) -> None:
    document = json.loads(output("cost", "--by", "", "--json", "--data-dir", data_dir))
    assert document["lines"] == [document["total"]]


def test_cost_csv_is_exact_and_runs_no_formula(data_dir: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(output("cost", "--by", "team", "--csv", "--data-dir", data_dir))))
    assert {row["team"]: row["confirmed_nano_usd"] for row in rows} == {
        "search": str(GPT_COST),
        "'=cmd()": "123000",
        "a [red]b\x1b[31m": "0",
    }


def test_the_cost_table_ends_with_its_coverage(data_dir: Path) -> None:
    text = output("cost", "--by", "model", "--data-dir", data_dir)
    assert "Cost, last 7d" in text
    found = [" ".join(line.split()) for line in text.splitlines()]
    assert f"confirmed {tables.usd_exact(GPT_COST + 123_000)} 2 calls" in found
    assert "estimated $0.000002, between $0.000001 and $0.000005 1 call" in found
    assert "indeterminate between $0.00 and $0.00 0 calls" in found
    assert "in no figure no price known 0 calls" in found
    assert f"cache hits saved {tables.usd_exact(GPT_COST)} 1 call" in found
    assert "25.0 % of 4 cacheable calls, 25.0 % of all" in found
    assert "all 4 calls" in found


def test_a_period_without_calls_is_empty_in_every_form(data_dir: Path) -> None:
    before = ("--since", "2020-01-01", "--until", "2020-01-02", "--data-dir", data_dir)
    document = json.loads(output("cost", "--json", *before))
    assert document["lines"] == []
    assert (document["since"], document["until"]) == (
        "2020-01-01T00:00:00.000000000Z",
        "2020-01-02T00:00:00.000000000Z",
    )
    assert json.loads(output("latency", "--json", *before))["lines"] == []
    assert "no calls that went upstream and ended well" in output("latency", *before)
    assert "0 calls" in output("cost", *before)


def test_latency_json_counts_calls_that_went_upstream_and_ended_well(data_dir: Path) -> None:
    document = json.loads(output("latency", "--by", "model", "--json", "--data-dir", data_dir))
    assert {line["model"]: line["n"] for line in document["lines"]} == {"gpt-4o-2024-08-06": 1, "claude-x": 1}
    line = document["lines"][0]
    assert line["ttft"] == {"n": 1, "p50_ns": 100_000_000, "p95_ns": 100_000_000, "p99_ns": 100_000_000}
    assert line["tpot"]["p50_ns"] == (1_000_000_000 - 100_000_000) // (10 - 1)
    assert line["e2e"]["p50_ns"] == 1_000_000_000
    assert line["overhead"]["p50_ns"] == 80_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cost", "--by", "modl"), "--by: cannot group by 'modl': did you mean model"),
        (("latency", "--by", "team,team"), "--by: cannot group by 'team' twice"),
        (("cost", "--since", "yesterday"), "--since: write 7d"),
        (("cost", "--until", "soon"), "--until: write 7d"),
        (("calls", "--since", "2026-02-30"), "--since: there is no such time"),
        (("cost", "--json", "--csv"), "exclude each other"),
    ],
)
def test_wrong_options_name_the_right_ones(data_dir: Path, arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments, "--data-dir", data_dir)
    assert isinstance(result.exception, UsageError)
    assert says in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("command", [("calls",), ("calls", "show", "x"), ("cost",), ("latency",)])
def test_without_a_ledger_every_command_says_to_serve(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = run(*command, "--data-dir", tmp_path / "none")
    assert isinstance(result.exception, UsageError)
    assert "start `submeter serve`" in str(result.exception)
    assert not (tmp_path / "none").exists()


def begin(journal: JournalWriter, number: int) -> Start:
    start = Start(make_call_id(number), 1, f"op-{number}", "chat/completions", "openai", START_NS)
    journal.start(start)
    return start


def test_settled_waits_for_the_calls_in_the_journal(data_dir: Path) -> None:
    journal = JournalWriter(data_dir / "journal" / "relay-0")
    start = begin(journal, 9)
    journal.finish(Finish(start.call_id, 1, "ok", 200))
    journal.close()
    missing = run("calls", "--settled", "--timeout-s", "0", "--json", "--data-dir", data_dir)
    assert missing.exit_code == 1
    assert missing.stdout == ""
    assert "1 of 1 calls have not settled in 0 s" in missing.stderr
    meter = threading.Timer(0.3, fill, (data_dir, [make_call(9, started_at_ns=NOW_NS + 9)]))
    meter.start()
    lines = lines_of(output("calls", "--settled", "--last", "1", "--json", "--data-dir", data_dir))
    meter.join()
    assert [line["call_id"] for line in lines] == [make_call_id(9)]


def test_waiting_asks_only_for_what_is_missing_and_says_so_after_a_second(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("submeter.commands.settled.QUIET_S", 0.0)
    with Ledger.open(str(data_dir / "ledger.sqlite3"), read_only=True) as ledger:
        asked: list[set[str]] = []
        known = ledger.known

        def spy(call_ids: set[str]) -> set[tuple[str, int]]:
            asked.append(call_ids)
            return known(call_ids)

        monkeypatch.setattr(ledger, "known", spy)
        begun = {(make_call_id(0), 1), (make_call_id(0), 2), (make_call_id(77), 1)}
        assert wait_until_settled(ledger, begun, timeout_s=0.15) == 2
    assert asked[0] == {make_call_id(0), make_call_id(77)}
    assert "waiting for 2 calls to settle" in capsys.readouterr().err


def submeter(*arguments: str | Path) -> list[str]:
    """The command as a shell would run it."""
    return [sys.executable, "-m", "submeter.cli", *(str(argument) for argument in arguments)]


def test_the_real_command_prints_json_and_ends_with_0(data_dir: Path) -> None:
    ended = subprocess.run(submeter("calls", "--json", "--data-dir", data_dir), capture_output=True, check=True)
    assert len(ended.stdout.splitlines()) == 4
    assert ended.stderr == b""


def test_the_real_command_ends_with_2_and_one_line_without_a_ledger(tmp_path: Path) -> None:
    ended = subprocess.run(submeter("cost", "--data-dir", tmp_path), capture_output=True, check=False, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("submeter: no ledger at ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("form", ["--json", "--last=5000"])
def test_a_reader_that_has_enough_causes_no_traceback(tmp_path: Path, form: str) -> None:
    """More than a pipe holds, and a reader that leaves after one line, as ``head -1`` does."""
    data_dir = fill(tmp_path, [make_call(number) for number in range(500)])
    with subprocess.Popen(
        submeter("calls", form, "--data-dir", data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (None, "–"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (123_000, "$0.000123"),
        (123_456_789, "$0.1235"),
        (10_000_000, "$0.01"),
        (1_500_000_000, "$1.50"),
        (1_234_567_890_123, "$1,234.57"),
        (9_000_000_000_000_000_000, "$9,000,000,000.00"),
    ],
)
def test_dollars_read_well_at_any_size(nano_usd: int | None, text: str) -> None:
    assert tables.usd(nano_usd) == text


def test_exact_dollars_keep_every_digit() -> None:
    assert tables.usd_exact(1_234_567_890_123) == "$1,234.567890123"
    assert tables.usd_exact(9_223_372_036_854_775_807) == "$9,223,372,036.854775807"
    assert tables.usd_exact(500_000_000) == "$0.50"


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [(None, "–"), (80_000, "0.080"), (1_234_567, "1.235"), (12_345_678, "12.3"), (1_234_567_890, "1,235")],
)
def test_milliseconds_read_well_at_any_size(duration_ns: int | None, text: str) -> None:
    assert tables.ms(duration_ns) == text


def test_a_call_in_the_table_keeps_the_plain_rows_figures(data_dir: Path) -> None:
    lines = output("calls", "--last", "4", "--data-dir", data_dir).splitlines()
    (line,) = [line for line in lines if PLAIN.call_id in line]
    assert line.split()[2:] == [
        *(PLAIN.call_id, "search", "web", "gpt-4o-2024-08-06", "ok"),
        *("1,000", "10", "$0.00235", "100", "1,000"),
    ]
