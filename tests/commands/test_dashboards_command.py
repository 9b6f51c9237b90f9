"""``submeter dashboards``: files that are written and checked, and a push as people see it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.grafana import ADMIN, EDITOR, Grafana
from harness.processes import submeter
from submeter.commands import dashboards_files
from submeter.commands.dashboards import app
from submeter.commands.dashboards_files import products
from submeter.errors import UsageError

WRONG = "glsa_wrong0123456789"
PASSWORD = "s3cret-of-the-ledger"
BOARDS = sorted(path for path in products() if path.startswith("grafana/"))


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    with Grafana() as server:
        yield server


def run(*arguments: str | Path, **environ: str) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, words, env={"GRAFANA_TOKEN": None, **environ}, standalone_mode=False)


def exit_code(result: Result) -> int:
    assert result.exception is None, result.exception
    return result.return_value or 0


def complaint(*arguments: str | Path, **environ: str) -> str:
    result = run(*arguments, **environ)
    assert isinstance(result.exception, UsageError), result.output
    assert str(result.exception).isprintable()
    return str(result.exception)


def push(grafana: Grafana, *flags: str, token: str = EDITOR) -> Result:
    grafana.asked.clear()
    return run("push", "--url", grafana.url, *flags, GRAFANA_TOKEN=token, GRAFANA_POSTGRES_PASSWORD=PASSWORD)


def changes(result: Result) -> dict[str, str]:
    return {change["uid"]: change["action"] for change in json.loads(result.stdout)["changes"]}


# -- build and check -------------------------------------------------------------------------------------------------


def test_build_writes_what_differs_and_names_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "boards"
    result = run("build", "--out", out)
    assert result.stdout.splitlines() == [f"{out}/{path}" for path in products()]
    assert {path: (out / path).read_text() for path in products()} == products()
    (out / BOARDS[0]).write_text("{}")
    untouched = (out / BOARDS[1]).stat().st_mtime_ns
    assert run("build", "--out", out).stdout.splitlines() == [f"{out}/{BOARDS[0]}"]
    assert (out / BOARDS[1]).stat().st_mtime_ns == untouched
    assert run("build", "--out", out).stdout == f"{out}: everything was as it should be\n"


def test_build_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "grafana").write_text("a file")
    assert complaint("build", "--out", tmp_path).startswith(f"cannot read {tmp_path}/grafana/")
    assert complaint("build", "--out", "/dev/null/x")


def test_check_finds_what_differs(tmp_path: Path) -> None:
    run("build", "--out", tmp_path)
    assert exit_code(run("check", "--dir", tmp_path)) == 0
    (tmp_path / BOARDS[0]).write_text("{}")
    (tmp_path / BOARDS[1]).unlink()
    (tmp_path / "grafana" / "budget.json").write_text("{}")
    result = run("check", "--dir", tmp_path)
    assert exit_code(result) == 1
    assert set(result.stdout.splitlines()) == {
        f"{tmp_path}/{BOARDS[0]} differs",
        f"{tmp_path}/{BOARDS[1]} is missing",
        f"{tmp_path}/grafana/budget.json is not built any more",
    }
    assert f"submeter dashboards build --out {tmp_path}" in result.stderr


def test_check_of_no_directory(tmp_path: Path) -> None:
    assert f"{tmp_path}/none is no directory" in complaint("check", "--dir", tmp_path / "none")


def test_promtool_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: apt-get install prometheus")
    run("build", "--out", tmp_path / "good")
    assert run("check", "--dir", tmp_path / "good").stdout.endswith(", and promtool agrees\n")
    rules = "groups: [{name: a, rules: [{alert: A, expr: 'sum('}]}]"
    monkeypatch.setattr(dashboards_files, "products", lambda: {"prometheus/alerts.yml": rules})
    run("build", "--out", tmp_path / "bad")
    result = run("check", "--dir", tmp_path / "bad")
    assert exit_code(result) == 1
    assert "differs" not in result.stdout
    assert "could not parse expression" in result.stdout
    assert all(line.startswith("promtool: ") for line in result.stdout.splitlines())


def test_without_promtool_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("build", "--out", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("check", "--dir", tmp_path)
    assert exit_code(result) == 0
    assert "promtool is not installed" in result.stderr
    assert result.stdout.endswith(f"{len(products())} files as they would be built now\n")


@pytest.mark.parametrize("command", [("build",), ("check",), ("push", "--url", "http://g")])
def test_without_the_extra(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards_files, "find_spec", lambda name: None)
    assert "pip install 'submeter[grafana]'" in complaint(*command)


# -- push ------------------------------------------------------------------------------------------------------------


def test_all_boards_are_pushed_once(grafana: Grafana) -> None:
    result = push(grafana)
    assert exit_code(result) == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["created", "folder"],
        *[["created", "board"]] * len(BOARDS),
    ]
    assert sorted(grafana.contents.boards) == sorted(json.loads(products()[path])["uid"] for path in BOARDS)
    result = push(grafana)
    assert exit_code(result) == 0
    assert result.stdout.endswith("nothing to change\n")
    assert grafana.writes == []


def test_a_dry_run_shows_what_differs_and_exits_with_1(grafana: Grafana) -> None:
    push(grafana)
    held = grafana.contents.boards["submeter-cost"]["dashboard"]
    held["title"] = "Mine [bold]\x1b[31m"
    result = push(grafana, "--dry-run")
    assert exit_code(result) == 1
    assert '        title: "Mine [bold]\\u001b[31m" → "Submeter: Cost"\n' in result.stdout
    assert "1 change to make: nothing was written" in result.stdout
    assert grafana.writes == []
    result = push(grafana)
    assert exit_code(result) == 0
    assert "updated board        Submeter: Cost\n" in result.stdout
    assert exit_code(push(grafana, "--dry-run")) == 0


def test_a_long_list_of_differences_is_cut(grafana: Grafana) -> None:
    push(grafana)
    held = grafana.contents.boards["submeter-cost"]["dashboard"]
    held["panels"] = []
    held |= {f"key{number}": 1 for number in range(30)}
    result = push(grafana, "--dry-run")
    assert "more: --json has them all" in result.stdout
    document = json.loads(push(grafana, "--dry-run", "--json").stdout)
    (changed,) = [change for change in document["changes"] if change["action"] == "update"]
    assert len(changed["differences"]) > 30
    assert {"path": "key0", "grafana": 1, "ours": None} in changed["differences"]


def test_json_says_what_was_done(grafana: Grafana) -> None:
    result = push(grafana, "--json")
    document = json.loads(result.stdout)
    assert (document["url"], document["dry_run"], document["changed"]) == (grafana.url, False, len(BOARDS) + 1)
    assert document["changes"][0] == {
        "kind": "folder",
        "uid": "submeter",
        "name": "Submeter",
        "action": "create",
        "differences": [],
    }
    assert set(changes(push(grafana, "--json")).values()) == {"same"}


def test_data_sources_and_folder_by_options(grafana: Grafana) -> None:
    flags = ("--folder", "LLM", "--prometheus-url", "http://p:9090", "--postgres-url", "postgresql://reader@db/ledger")
    result = push(grafana, *flags, token=ADMIN)
    assert exit_code(result) == 0
    assert grafana.contents.folders["submeter"]["title"] == "LLM"
    assert grafana.contents.sources["submeter-prometheus"]["url"] == "http://p:9090"
    assert grafana.contents.secrets["submeter-postgres"] == {"password": PASSWORD}
    assert PASSWORD not in result.output
    assert exit_code(push(grafana, *flags, "--dry-run", token=ADMIN)) == 0
    result = push(grafana, *flags, "--force", "--json", token=ADMIN)
    assert changes(result)["submeter-postgres"] == "update"
    assert PASSWORD not in result.output


def test_boards_of_others_stay_unless_forced(grafana: Grafana) -> None:
    grafana.add_board({"uid": "submeter-cost", "title": "Mine", "tags": []}, "")
    result = push(grafana)
    assert "--force" in str(result.exception)
    assert grafana.writes == []
    assert exit_code(push(grafana, "--force")) == 0
    assert grafana.contents.boards["submeter-cost"]["dashboard"]["title"] == "Submeter: Cost"


def test_without_a_token(grafana: Grafana) -> None:
    assert "set GRAFANA_TOKEN" in complaint("push", "--url", grafana.url)
    assert "set GRAFANA_TOKEN" in complaint("push", "--url", grafana.url, GRAFANA_TOKEN=" \n")
    assert grafana.asked == []


def test_a_token_with_a_newline_as_files_have_it(grafana: Grafana) -> None:
    assert exit_code(push(grafana, token=f"{EDITOR}\n")) == 0


# -- as a process ----------------------------------------------------------------------------------------------------


def test_a_wrong_token_is_one_line_and_exit_code_2(grafana: Grafana) -> None:
    done = submeter("dashboards", "push", "--url", grafana.url, GRAFANA_TOKEN=WRONG)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"submeter: {grafana.url} does not take the token in GRAFANA_TOKEN (401)")
    assert WRONG not in done.stderr


def test_a_push_and_a_dry_run_as_processes(grafana: Grafana) -> None:
    asked: dict[str, Any] = {"GRAFANA_TOKEN": EDITOR}
    command = ("dashboards", "push", "--url", grafana.url)
    assert submeter(*command, "--dry-run", **asked).returncode == 1
    assert grafana.writes == []
    done = submeter(*command, **asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert submeter(*command, "--dry-run", **asked).returncode == 0
