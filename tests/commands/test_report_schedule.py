"""``submeter report schedule``: cron, systemd and Kubernetes understand what it prints, and it runs this submeter."""

import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from submeter.commands import report_schedule
from submeter.commands.report import app

MONDAY = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
CRONJOB = Path(__file__).parents[2] / "deploy/kubernetes/base/cronjob.yaml"
POD = yaml.safe_load(CRONJOB.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]
ARGUMENTS_OF_THE_POD = tuple(POD["containers"][0]["args"])
COMMAND = ("/opt/submeter/bin/submeter", *report_schedule.ARGUMENTS)


def cron(hours: float, directory: str = "/srv/submeter", **environ: str) -> str:
    zone = timezone(timedelta(hours=hours))
    at = MONDAY.astimezone(zone)
    return report_schedule.cron(COMMAND, Path(directory), at, environ)


@pytest.mark.parametrize(
    ("hours", "when"),
    [(0, "0 6 * * 1"), (1, "0 7 * * 1"), (-8, "0 22 * * 0"), (5.5, "30 11 * * 1"), (14, "0 20 * * 1")],
)
def test_monday_six_utc_in_the_time_of_the_machine(hours: float, when: str) -> None:
    words = "/opt/submeter/bin/submeter report --html report.html"
    assert cron(hours) == f"{when} cd /srv/submeter && {words}\n"


def test_a_percent_sign_would_end_the_line_for_cron_and_a_space_the_word_for_the_shell() -> None:
    line = cron(0, "/srv/100% ours")
    assert line.split(" ", 5)[5].startswith(r"cd '/srv/100\% ours' && ")
    assert shlex.split(line.replace(r"\%", "%"))[6] == "/srv/100% ours"


def test_settings_that_a_crontab_does_not_have_are_named_and_never_shown() -> None:
    note, line, end = cron(0, SUBMETER_LEDGER="postgresql://me:secret@h/d", SUBMETER_PORT="1", HOME="/x").split("\n")
    assert note == "# set here, and not in a crontab unless you write them there: SUBMETER_LEDGER, SUBMETER_PORT"
    assert line.startswith("0 6 * * 1 ")
    assert end == ""


def test_this_week_has_a_monday() -> None:
    at = report_schedule._monday().astimezone(UTC)
    assert (at.isoweekday(), at.hour, at.minute) == (1, 6, 0)


def units(directory: Path, text: str) -> list[Path]:
    """The files that it says it is."""
    found = re.split(r"^# /etc/systemd/system/(submeter-report\.\w+).*\n", text, flags=re.MULTILINE)
    assert found[0] == ""
    files = [directory / name for name in found[1::2]]
    for file, body in zip(files, found[2::2], strict=True):
        file.write_text(body)
    return files


@pytest.mark.parametrize("name", ["plain", "100% of it"])
def test_systemd_takes_the_units(tmp_path: Path, name: str) -> None:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    program = tmp_path / name / "submeter"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = report_schedule.systemd((str(program), *report_schedule.ARGUMENTS), tmp_path / name, "root")
    service, timer = units(tmp_path, text)
    assert (service.name, timer.name) == ("submeter-report.service", "submeter-report.timer")
    ended = subprocess.run(
        [found, "verify", str(service), str(timer)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_timer_means_monday_at_six_utc() -> None:
    calendar = re.search(r"OnCalendar=(.*)", report_schedule.SYSTEMD.format(command="", directory="", user="", hour=6))
    assert calendar is not None
    assert calendar[1] == "Mon *-*-* 06:00:00 UTC"


def test_kubernetes_is_what_is_deployed() -> None:
    assert CRONJOB.read_text() == report_schedule.KUBERNETES
    job = yaml.safe_load(report_schedule.KUBERNETES)
    assert (job["spec"]["schedule"], job["spec"]["timeZone"]) == ("0 6 * * 1", "Etc/UTC")


@pytest.mark.parametrize("arguments", [report_schedule.ARGUMENTS, ARGUMENTS_OF_THE_POD])
def test_what_is_scheduled_is_a_command_that_there_is(arguments: tuple[str, ...]) -> None:
    known = {option for each in typer.main.get_command(app).params for option in each.opts}
    assert {word for word in arguments if word.startswith("--")} <= known


def test_the_command_prints_the_line_of_this_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["schedule"])
    assert shown.exit_code == 0, shown.output
    assert f" cd {shlex.quote(str(tmp_path))} && {shlex.quote(report_schedule.program()[0])} " in shown.output


def test_the_program_is_the_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "submeter"
    program.write_text("")
    monkeypatch.setattr(sys, "argv", [str(program), "report"])
    assert report_schedule.program() == (str(program),)
    monkeypatch.setattr(sys, "argv", ["/elsewhere/cli.py"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert report_schedule.program() == (str(program),)
    program.unlink()
    assert report_schedule.program() == (str(tmp_path / "python"), "-m", "submeter.cli")
