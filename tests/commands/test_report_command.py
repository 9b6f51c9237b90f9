"""``submeter report``: what it refuses in one line, what it says where, and what it leaves behind."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from submeter.commands import report_output, reporting
from submeter.commands.report import app
from submeter.core.week import Week, last_complete
from submeter.errors import UsageError
from submeter.prices.load import load_book
from submeter.report import alternatives, trace
from submeter.report.analyse import Request
from submeter.report.document import Missing, Report, Restated
from submeter.report.synthetic import generate, write_csv, write_ledger
from submeter.store.ledger import Ledger

W46, W47 = Week.parse("2026-W46"), Week.parse("2026-W47")
CALLS = 400


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a ledger of two synthetic weeks, and the same rows as ``trace.csv`` in it."""
    directory = tmp_path_factory.mktemp("recorded")
    rows = list(generate([W46, W47], load_book((), Path("nowhere")), calls_per_week=CALLS, seed=3))
    with Ledger.open(str(directory / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        assert write_ledger(ledger, rows) == len(rows)
    write_csv(directory / "trace.csv", rows)
    return directory


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBMETER_CONFIG", "")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, UsageError), result.output
    assert result.stdout == ""
    return str(result.exception)


def over(recorded: Path, *arguments: object) -> Result:
    """Over its CSV, so that nothing is kept."""
    result = run("--trace", recorded / "trace.csv", *arguments)
    assert result.exit_code == 0, result.exception
    return result


def as_json(recorded: Path, *arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(over(recorded, "--week", W47, "--json", "-", *arguments).stdout)
    return found


# ---- what it refuses ---------------------------------------------------------------------------------------------


def test_no_ledger_and_an_empty_one(tmp_path: Path) -> None:
    assert "submeter serve" in refused("--data-dir", tmp_path)
    with Ledger.open(str(tmp_path / "ledger.sqlite3")) as ledger:
        ledger.migrate()
    said = "no calls in the ledger yet: send some through submeter serve, or give recorded ones with --trace FILE"
    assert refused("--data-dir", tmp_path) == said
    assert refused("--data-dir", tmp_path, "--week", "2026-W47") == said
    assert refused("init", "--data-dir", tmp_path) == said
    assert not (tmp_path / "reports").exists()
    assert not Path("alternatives.yaml").exists()


def test_a_trace_without_calls() -> None:
    Path("none.csv").write_text("started_at,input_tokens,output_tokens\n")
    assert refused("--trace", "none.csv") == "no calls in --trace: give a file with a row for each call"


@pytest.mark.parametrize(
    ("week", "said"),
    [
        ("2026-47", "a week is written as in 2026-W47 (ISO 8601, UTC), not '2026-47'"),
        ("2026-W54", "there is no week 2026-W54: the weeks of a year are W01 to W52, of some to W53"),
    ],
)
def test_a_week_that_is_none(recorded: Path, week: str, said: str) -> None:
    assert refused("--week", week, "--data-dir", recorded) == said


def test_a_week_without_calls_names_one_that_has_some(recorded: Path) -> None:
    newest = trace.default_week(trace_of(recorded), reporting.time.time_ns())
    said = f"no calls in week 2026-W40: try --week {newest}, which has some"
    assert refused("--week", "2026-W40", "--data-dir", recorded) == said
    assert refused("--week", "2026-W40", "--trace", recorded / "trace.csv") == said
    assert refused("init", "--week", "2026-W40", "--data-dir", recorded) == said


def trace_of(recorded: Path) -> trace.Trace:
    return reporting.trace_files.read(recorded / "trace.csv")


def test_a_configuration_that_does_not_load(recorded: Path) -> None:
    Path("mine.yaml").write_text("enginer_usd_per_week: 1500\n")
    said = refused("--config", "mine.yaml", "--trace", recorded / "trace.csv")
    assert said.startswith("mine.yaml")
    assert "did you mean engineer_usd_per_week" in said
    assert "missing.yaml" in refused("--config", "missing.yaml", "--trace", recorded / "trace.csv")


def test_a_model_and_a_gpu_that_there_are_not(recorded: Path) -> None:
    part = "workloads: [{name: all, equivalents: [{model: %s, build: [{gpu: %s}]}]}]\n"
    Path("alternatives.yaml").write_text(part % ("llama-3.3-70", "h100_sxm"))
    said = refused("--trace", recorded / "trace.csv")
    assert "alternatives.yaml: workloads[0].equivalents[0]" in said
    assert "unknown model 'llama-3.3-70'; did you mean llama-3.3-70b?" in said
    Path("alternatives.yaml").write_text(part % ("llama-3.3-70b", "h100_sx"))
    assert "unknown GPU 'h100_sx'; did you mean h100_sxm?" in refused("--trace", recorded / "trace.csv")


@pytest.mark.parametrize("option", ["--html", "--json"])
def test_where_it_cannot_write_is_said_before_anything_is_read(option: str, tmp_path: Path) -> None:
    said = refused(option, "nowhere/f", "--trace", "never-read.csv")
    assert said == f"{option}: there is no directory nowhere: make it, or name another file"
    said = refused(option, tmp_path, "--trace", "never-read.csv")
    assert said == f"{option}: {tmp_path} is a directory: name a file in it"


@pytest.mark.parametrize("path", ["-", "same.txt"])
def test_two_documents_do_not_go_into_one_file(path: str) -> None:
    said = f"--html and --json cannot both go to {path}: name a file for one of them"
    assert refused("--html", path, "--json", path) == said


def test_an_option_before_a_command_is_not_passed_over(recorded: Path) -> None:
    said = refused("--data-dir", recorded, "init")
    assert said == "--data-dir stands before init: submeter report init --help shows what it takes"


# ---- what it says, and where -------------------------------------------------------------------------------------


def test_json_has_stdout_for_itself(recorded: Path) -> None:
    result = over(recorded, "--json", "-")
    assert json.loads(result.stdout)["week"] in result.stderr
    assert "no alternatives.yaml here" in result.stderr


def test_html_can_have_it_too(recorded: Path) -> None:
    result = over(recorded, "--week", W47, "--html", "-", "--json", "figures.json")
    assert result.stdout.startswith("<!doctype html>")
    assert json.loads(Path("figures.json").read_bytes())["week"] == "2026-W47"
    assert "JSON: figures.json" in result.stderr


def test_files_are_named_and_the_tally_is_told(recorded: Path) -> None:
    result = over(recorded, "--week", W47, "--html", "report.html")
    assert "HTML: report.html" in result.stderr
    assert result.stdout.startswith("SYNTHETIC, 2026-W47: ")
    assert "NOT COMPARABLE" in result.stdout


def test_without_configuration_page_one_and_no_build(recorded: Path) -> None:
    shown = over(recorded, "--week", W47).stdout
    assert shown.startswith("! Synthetic traffic: ")
    assert "Week 2026-W47, 2026-11-16 to 2026-11-22" in shown
    assert "For BUILD to win, each alone, you would have to believe" in shown
    found = as_json(recorded)
    assert found["synthetic"] is True
    assert {each["build_usd"] for each in found["workloads"]} == {None}
    assert {each["verdict"] for each in found["workloads"]} == {"NOT COMPARABLE"}
    dearest = sorted(found["workloads"], key=lambda each: -each["buy_usd"])
    rows = [shown.index(f"\n {each['name']} ") for each in dearest]
    assert rows == sorted(rows)
    for each in found["workloads"]:
        assert f": {each['why'][0]}\n" in shown
    assert "submeter report --week 2026-W47 --html report.html" in shown


def test_the_file_of_this_directory_is_taken_and_that_is_said(recorded: Path) -> None:
    Path("alternatives.yaml").write_text("workloads: [{name: everything}]\n")
    result = over(recorded, "--week", W47)
    assert "alternatives: alternatives.yaml of this directory" in result.stderr
    assert [each["name"] for each in as_json(recorded)["workloads"]] == ["everything"]
    Path("other.yaml").write_text("workloads: [{name: all of it}]\n")
    assert [each["name"] for each in as_json(recorded, "--config", "other.yaml")["workloads"]] == ["all of it"]


def test_the_week_that_is_taken_is_said(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(week: Week) -> str:
        monkeypatch.setattr(reporting.time, "time_ns", lambda: week.start_ns + 10**9)
        return over(recorded, "--json", "-").stderr

    assert "week 2026-W46 (2026-11-09 to 2026-11-15), the last one that is over;" in at(W47)
    assert "week 2026-W47 (2026-11-16 to 2026-11-22), the last one that is over;" in at(W47.next())
    assert "week 2026-W47 (2026-11-16 to 2026-11-22), the newest with calls;" in at(W47.next(5))
    monkeypatch.setattr(reporting.time, "time_ns", lambda: W46.start_ns + 10**9)
    assert last_complete(W46.start_ns + 10**9) == W46.previous()
    assert "the newest with calls, which is not over yet" in over(recorded, "--json", "-").stderr


# ---- what it leaves behind ---------------------------------------------------------------------------------------


def test_a_report_of_the_ledger_is_kept_and_one_of_a_file_is_not(recorded: Path, tmp_path: Path) -> None:
    over(recorded, "--data-dir", tmp_path, "--week", W47)
    assert not (tmp_path / "reports").exists()
    (tmp_path / "ledger.sqlite3").write_bytes((recorded / "ledger.sqlite3").read_bytes())
    assert run("--data-dir", tmp_path, "--week", W47, "--json", "now.json").exit_code == 0
    kept = tmp_path / "reports" / "2026-W47.json"
    assert kept.read_bytes() == Path("now.json").read_bytes()


def test_a_report_that_cannot_be_kept_is_still_one(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes((recorded / "ledger.sqlite3").read_bytes())
    (tmp_path / "reports").write_text("in the way")
    result = run("--data-dir", tmp_path, "--week", W47, "--json", "-")
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["week"] == "2026-W47"
    assert f"not kept in {tmp_path}" in result.stderr


def test_a_file_that_is_there_is_replaced_whole(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("report.json").write_text("as it was")

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        said = refused("--trace", recorded / "trace.csv", "--week", W47, "--json", "report.json")
    assert said == "--json: cannot write report.json (No space left on device): mend it, or name another file"
    assert Path("report.json").read_text() == "as it was"
    assert [path.name for path in Path().iterdir()] == ["report.json"]
    with Path("report.json").open() as reader:
        over(recorded, "--week", W47, "--json", "report.json")
        assert reader.read() == "as it was"
    assert json.loads(Path("report.json").read_bytes())["week"] == "2026-W47"


# ---- what is analysed --------------------------------------------------------------------------------------------


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Request:
    """What ``analyse`` is handed."""
    handed: list[Request] = []

    def stop(request: Request, _: object) -> Report:
        handed.append(request)
        raise UsageError("enough")

    with monkeypatch.context() as patched:
        patched.setattr(reporting.analysing, "analyse", stop)
        assert refused(*arguments) == "enough"
    return handed[0]


def test_the_calls_of_the_week_and_of_the_one_before(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_file = trace_of(recorded)
    for source in (("--data-dir", recorded), ("--trace", recorded / "trace.csv")):
        found = asked(monkeypatch, *source, "--week", W47, "--seed", 7)
        assert len(found.trace) == len(of_file.week(W47))
        assert sum(each.asked for each in found.before.values()) == len(of_file.week(W46))
        assert sum(day.calls for day in found.days) == of_file.upstream_call.sum()
        assert (found.week, found.seed) == (W47, 7)
        assert asked(monkeypatch, *source, "--week", W46).before == {}


def test_earlier_reports_are_those_of_the_ledger_alone(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes((recorded / "ledger.sqlite3").read_bytes())
    assert run("--data-dir", tmp_path, "--week", W46).exit_code == 0
    found = asked(monkeypatch, "--data-dir", tmp_path, "--week", W47)
    assert [past.week for past in found.history.before] == ["2026-W46"]
    found = asked(monkeypatch, "--data-dir", tmp_path, "--week", W47, "--trace", recorded / "trace.csv")
    assert found.history.before == ()


def test_prices_and_upstreams_are_those_of_the_settings(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("submeter.yaml").write_text(
        'prices: [{model: ours, usd_per_million: {input: "1", output: "2"}}]\n'
        "upstreams: {ours: {base_url: 'http://127.0.0.1:9/v1', provider: openai}}\n"
    )
    monkeypatch.delenv("SUBMETER_CONFIG")
    found = asked(monkeypatch, "--trace", recorded / "trace.csv", "--week", W47)
    assert found.book.find("ours", None, W47.start_ns) is not None
    assert found.origins["ours"].provider == "openai"


# ---- init --------------------------------------------------------------------------------------------------------


def test_init_writes_a_file_that_loads_and_never_over_another(recorded: Path) -> None:
    result = run("init", "--trace", recorded / "trace.csv", "--week", W47)
    assert result.exit_code == 0, result.exception
    assert "submeter report --week 2026-W47 --html report.html" in result.stdout
    found = alternatives.load(Path("alternatives.yaml"))
    assert found.engineer_usd_per_week is None
    assert found.workloads
    Path("alternatives.yaml").write_text("mine")
    said = "alternatives.yaml is there already: --force replaces it, --out FILE writes another"
    assert refused("init", "--trace", recorded / "trace.csv") == said
    assert Path("alternatives.yaml").read_text() == "mine"
    assert run("init", "--trace", recorded / "trace.csv", "--force").exit_code == 0
    assert alternatives.load(Path("alternatives.yaml")).workloads == found.workloads


def test_init_elsewhere_says_how_to_use_it(recorded: Path) -> None:
    result = run("init", "--trace", recorded / "trace.csv", "--week", W47, "--out", "other.yaml")
    assert "submeter report --week 2026-W47 --config other.yaml --html report.html" in result.stdout


# ---- the table ---------------------------------------------------------------------------------------------------


def report_of(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """As ``analyse`` made it."""
    made: list[Report] = []
    monkeypatch.setattr(report_output, "print_report", made.append)
    over(recorded, "--week", W47)
    monkeypatch.undo()
    return made[0]


def test_what_is_pending_missing_restated_or_odd_is_shown(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(recorded, monkeypatch)
    first = msgspec.structs.replace(
        report.workloads[0],
        name="\x1b[31mred",
        verdict="BUILD IF QUALITY HOLDS",
        pending=True,
        standing="BUY",
        buy_usd=Decimal("1234.567"),
        buy_best_usd=Decimal("12.5"),
        rent_open_usd=None,
        build_usd=Decimal("1000.4"),
        p_build_cheaper=0.934,
        why=("BUILD is cheaper in 93 % of draws.", "RENT-OPEN is withheld."),
        missing=(Missing("evidence", "quality: {…}"), Missing("days", None)),
    )
    changed = msgspec.structs.replace(
        report,
        synthetic=False,
        workloads=(report.workloads[1], first),
        restated=(
            Restated("buy_usd", "1.10", "1.20"),
            Restated("workloads.w.verdict", "BUY", "TOO CLOSE"),
            Restated("workloads.v.verdict", "", "BUY"),
        ),
        warnings=("prices are old",),
        unexplained=("gpt-4o, 3 calls: no price",),
    )
    report_output.print_report(changed)
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith(" \\x1b[31mred "))
    assert row.split("  ")[-1].strip() == "BUY stands"
    assert shown.index(row) < shown.index(f"\n {report.workloads[1].name} "), "the dearest first"
    for cell in ("$1,234.57", "$12.50", "–", "$1,000", "93 %", "BUILD IF QUALITY HOLDS"):
        assert cell in row
    lines = [line.strip() for line in shown.splitlines()]
    assert "\\x1b[31mred: BUILD is cheaper in 93 % of draws." in lines
    assert "RENT-OPEN is withheld." not in shown
    assert lines[lines.index("\\x1b[31mred: evidence") + 1] == "quality: {…}"
    at = lines.index("restated: 3 figures of this week's earlier report have changed")
    assert lines[at + 1 : at + 3] == ["buy_usd: 1.10 → 1.20", "workloads.w.verdict: BUY → TOO CLOSE"]
    assert not any(line.startswith("workloads.v") for line in lines)
    assert "! prices are old" in lines
    assert "! gpt-4o, 3 calls: no price" in lines
