"""The first command: it ends by itself, and its ledger equals the provider's invoice to the nano-dollar."""

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.processes import children, submeter


def test_demo_once_json() -> None:
    run = submeter("demo", "--once", "--json", timeout_s=90)
    assert run.returncode == 0, run.stderr
    outcome = json.loads(run.stdout)
    assert outcome["calls"] == 150
    assert outcome["ledger_nano_usd"] == outcome["invoice_nano_usd"] > 0
    assert 0 < outcome["cache_hits"] < 150
    assert outcome["ttft_ms_p50"] > 0
    assert outcome["synthetic"] is True
    assert not any("scripted" in _command(pid) for pid in children(os.getpid())), "nothing is left running"


def test_demo_for_people_ends_by_itself_when_stdout_is_no_terminal() -> None:
    run = submeter("demo", timeout_s=90)
    assert run.returncode == 0, run.stderr
    for word in ("gpt-4o-mini", "claude-haiku-4-5", "TTFT p50", "cache hits", "equal to the nano-dollar"):
        assert word in run.stdout
    assert "synthetic" in run.stdout
    _, _, report = run.stdout.partition("SYNTHETIC week ")
    assert "RENT-OPEN" in report, "it ends with it"
    assert "Traceback" not in run.stderr


def test_demo_reads_nothing_of_the_users_configuration(tmp_path: Path) -> None:
    (tmp_path / "submeter.yaml").write_text("no such key: 1\n")
    run = subprocess.run(
        [sys.executable, "-m", "submeter.cli", "demo", "--once", "--json"],
        cwd=tmp_path,
        env=os.environ | {"SUBMETER_PORT": "4199", "SUBMETER_DATA_DIR": str(tmp_path / "mine")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "mine").exists()


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
