"""The unit files, looked at by systemd's own tools; systemd itself runs nowhere here."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from submeter.cli import app
from submeter.config import load_settings
from submeter.serve import METER_STOP_S, TRANSLATOR_STOP_S

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
TEXT = (SYSTEMD / "submeter.service").read_text()
REPORT = (SYSTEMD / "submeter-report.service").read_text()
TIMER = (SYSTEMD / "submeter-report.timer").read_text()
MOST_EXPOSED = 1.5
"""Of 10; what is left is that it speaks to the network, and reads its code from the host's file system."""
both = pytest.mark.parametrize("text", [TEXT, REPORT], ids=["serve", "report"])


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program}: apt-get install systemd")
    return subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, check=False)


def analyzed(directory: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Of a copy whose program is there."""
    program = directory / "submeter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = directory / "submeter.service"
    unit.write_text(text.replace("/opt/submeter/bin/submeter", str(program)))
    return run("systemd-analyze", *arguments, str(unit))


@both
def test_it_is_valid(tmp_path: Path, text: str) -> None:
    ended = analyzed(tmp_path, text, "verify")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("KillMode=mixed", "KillMode=gently"),
        ("ProtectSystem=strict", "ProtectSystems=strict"),
        ("ExecStart=/opt", "ExecStart=opt"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@all-services"),
    ],
)
def test_a_broken_copy_is_not(tmp_path: Path, right: str, wrong: str) -> None:
    assert right in TEXT
    ended = analyzed(tmp_path, TEXT.replace(right, wrong), "verify")
    assert ended.returncode != 0 or ended.stderr


def exposure(directory: Path, text: str) -> float:
    ended = analyzed(directory, text, "security", "--offline=true", "--no-pager")
    found = re.search(r"Overall exposure level for submeter\.service: (\d+\.\d)", ended.stdout)
    assert found, ended.stderr
    return float(found[1])


@both
def test_it_is_hardened(tmp_path: Path, text: str) -> None:
    assert exposure(tmp_path, text) <= MOST_EXPOSED
    assert exposure(tmp_path, text.replace("CapabilityBoundingSet=", "")) > MOST_EXPOSED


# -- the weekly report -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "wrong"), [("OnCalendar=Mon *-*-*", "OnCalendar=Mo *-*-*"), ("", "")])
def test_the_timer_starts_it_every_monday(tmp_path: Path, right: str, wrong: str) -> None:
    (tmp_path / "submeter-report.service").write_text(REPORT.replace("/opt/submeter/bin/submeter", "/bin/true"))
    timer = tmp_path / "submeter-report.timer"
    timer.write_text(TIMER.replace(right, wrong))
    ended = run("systemd-analyze", "verify", str(timer))
    assert (ended.returncode == 0 and ended.stderr == "") is (right == wrong), ended.stderr


def test_the_next_time_is_a_monday_and_the_week_is_over() -> None:
    when = re.search(r"^OnCalendar=(.+)$", TIMER, re.MULTILINE)
    assert when
    ended = run("systemd-analyze", "calendar", "--base-time=2026-11-24 12:00:00 UTC", when[1])
    assert "Mon 2026-11-30 06:00:00 UTC" in ended.stdout, ended.stdout + ended.stderr


def test_the_report_is_a_command_that_there_is() -> None:
    started = re.search(r"^ExecStart=/opt/submeter/bin/submeter (.+)$", REPORT, re.MULTILINE)
    assert started
    name, *arguments = started[1].split()
    with typer.main.get_command(app).commands[name].make_context(name, arguments) as context:
        assert context.params["html"] == Path("%S/submeter/report.html")


@pytest.mark.parametrize("key", ["Environment", "EnvironmentFile", "User", "StateDirectory", "StateDirectoryMode"])
def test_the_report_reads_and_keeps_where_the_meter_does(key: str) -> None:
    line = re.compile(rf"^{key}=.*$", re.MULTILINE)
    assert line.findall(REPORT) == line.findall(TEXT) != []


# -- submeter serve --------------------------------------------------------------------------------------------------


def test_it_gives_calls_in_flight_their_time(tmp_path: Path) -> None:
    settings = load_settings(Path("/dev/null"), environ={"HOME": str(tmp_path)})
    longest_s = settings.limits.shutdown_s + 5.0 + TRANSLATOR_STOP_S + METER_STOP_S
    stop = re.search(r"^TimeoutStopSec=(\d+)min$", TEXT, re.MULTILINE)
    assert stop
    assert int(stop[1]) * 60 >= longest_s + 5
    assert "\nKillMode=mixed\n" in TEXT


def test_its_user_can_be_made() -> None:
    ended = run("systemd-sysusers", "--dry-run", str(SYSTEMD / "submeter.sysusers"))
    assert ended.returncode == 0, ended.stderr
    assert "Creating user 'submeter'" in ended.stdout + ended.stderr


def test_its_settings_are_understood(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[A-Z_]+=)", "", (SYSTEMD / "submeter.env.example").read_text(), flags=re.MULTILINE)
    found = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    environ = {name: value or "s" * 40 for name, value in found.items()} | {"HOME": str(tmp_path)}
    settings = load_settings(SYSTEMD.parent / "submeter.yaml", environ=environ)
    settings.require_servable()
    assert settings.workers == 2
