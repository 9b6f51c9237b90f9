"""The newest weekly report on /metrics: what is shown of it, when it is read, and what is left alone."""

import logging
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as read_text

from harness.processes import running
from harness.raw import ask
from report.report_stub import make_bare_workload, make_report, make_workload
from submeter.core.verdicts import VERDICTS
from submeter.core.week import Week
from submeter.meter.families import REPORT_GAUGES, REPORT_OPTIONS, REPORT_WORKLOADS
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import Metrics
from submeter.meter.weekly import DIRECTORY, NewestReport, WeeklyReport
from submeter.report.document import Flip, Report, VerdictName, encode

WEEK = "2026-W47"


def report_of(week: str = WEEK, **changes: Any) -> Report:
    return make_report(week=week, starts=Week.parse(week).monday.isoformat(), **{"synthetic": False} | changes)


def store(data_dir: Path, report: Report) -> Path:
    """Whole, by a rename, as ``submeter report`` does."""
    path = data_dir / DIRECTORY / f"{report.week}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".new")
    whole.write_bytes(encode(report))
    whole.replace(path)
    return path


def shown(report: WeeklyReport | None) -> dict[tuple[str, ...], float]:
    metrics = Metrics(LabelSets({}, []))
    metrics.weekly_report = report
    return of_report(metrics.exposition()[0].decode())


def of_report(exposition: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("submeter_report_"), *_said(sample.labels)): sample.value
        for family in read_text(exposition)
        for sample in family.samples
        if sample.name.startswith("submeter_report_")
    }


def _said(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(labels[name] for name in ("workload", "option") if name in labels)


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_a_report_is_gauges(tmp_path: Path) -> None:
    flips = (
        Flip(factor="api_price", now=1, flips_at=(1.01,)),
        Flip(factor="volume", now=1, flips_at=(0.2, 3.5, 8.0)),
    )
    support = make_workload(
        buy_usd=Decimal("2760.5"), buy_best_usd=Decimal(2410), rent_open_usd=Decimal("1711.4"),
        build_usd=Decimal("1312.75"), verdict="BUILD", pending=True, standing="RENT-OPEN", p_build_cheaper=0.97,
        flips=flips,
    )  # fmt: skip
    drafts = make_bare_workload(buy_usd=Decimal("12.25"), buy_best_usd=None, verdict="BUY", flips=())
    store(tmp_path, report_of(workloads=(drafts, support), buy_usd=Decimal("2772.75")))
    assert shown(NewestReport(tmp_path).look()) == {
        ("week_timestamp_seconds",): Week.parse(WEEK).start_ns / 10**9,
        ("recorded_usd",): 2772.75,
        ("option_usd", "support", "buy"): 2410,
        ("option_usd", "support", "rent"): 1711.4,
        ("option_usd", "support", "build"): 1312.75,
        ("verdict", "support"): VERDICTS.index("RENT-OPEN"),
        ("build_cheaper_probability", "support"): 0.97,
        ("break_even_volume_ratio", "support"): 3.5,  # as 0.2 is a fifth
        ("option_usd", "drafts", "buy"): 12.25,
        ("verdict", "drafts"): VERDICTS.index("BUY"),
    }


def test_the_verdicts_are_those_of_reports_and_keep_their_numbers() -> None:
    assert set(VERDICTS) == set(get_args(VerdictName))
    assert VERDICTS == ("NOT COMPARABLE", "TOO CLOSE", "BUY", "RENT-OPEN", "BUILD IF QUALITY HOLDS", "BUILD")


def test_the_costliest_workloads_fill_their_lines_and_no_more(tmp_path: Path) -> None:
    flips = (Flip(factor="volume", now=1, flips_at=(2.0,)),)
    many = [make_workload(f"w{number}", buy_usd=Decimal(number), flips=flips) for number in range(9)]
    store(tmp_path, report_of(workloads=tuple(many)))
    found = shown(NewestReport(tmp_path).look())
    assert len(found) == sum(family.most for family in REPORT_GAUGES) <= 20
    assert {key[1] for key in found if len(key) > 1} == {"w8", "w7", "w6"}
    assert len([key for key in found if key[0] == "option_usd"]) == REPORT_WORKLOADS * len(REPORT_OPTIONS)


@pytest.mark.parametrize("name", ['a"b', "line\nbreak", "é", "x" * 101, "<b>", ""])
def test_what_is_no_name_is_shown_by_its_place(tmp_path: Path, name: str) -> None:
    dearest = make_workload("chat / (no prompt) / gpt-4o (not matched)", buy_usd=Decimal(9))
    store(tmp_path, report_of(workloads=(make_workload(name, buy_usd=Decimal(1)), dearest)))
    names = {key[1] for key in shown(NewestReport(tmp_path).look()) if len(key) > 1}
    assert names == {"chat / (no prompt) / gpt-4o (not matched)", "workload 2"}


# -- when it is read -------------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose bytes were read."""
    read: list[str] = []
    bytes_of = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path.name)
        return bytes_of(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    return read


def test_a_report_is_read_once_and_again_when_it_changes(tmp_path: Path, reads: list[str]) -> None:
    newest = NewestReport(tmp_path)
    assert newest.look() is None
    store(tmp_path, report_of("2026-W46"))
    assert [newest.look() for _ in range(3)] == [newest.look()] * 3
    assert reads == ["2026-W46.json"]

    store(tmp_path, report_of("2026-W46", buy_usd=Decimal(7)))
    assert shown(newest.look())[("recorded_usd",)] == 7

    path = store(tmp_path, report_of("2026-W47", buy_usd=Decimal(8)))
    assert shown(newest.look())[("recorded_usd",)] == 8
    assert reads == ["2026-W46.json"] * 2 + ["2026-W47.json"]

    path.unlink()
    assert shown(newest.look())[("recorded_usd",)] == 7


# -- what is left alone ----------------------------------------------------------------------------------------------


def test_what_is_no_report_is_said_once_and_the_one_before_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store(tmp_path, report_of("2026-W40"))
    reports = tmp_path / DIRECTORY
    (reports / "2026-W41.json").write_bytes(b"\xff{}")
    (reports / "2026-W42.json").write_bytes(encode(report_of("2026-W40")))
    (reports / "2026-W43.json").write_bytes(encode(report_of("2026-W43"))[:-100])
    (reports / "2026-W44.json").mkdir()
    os.mkfifo(reports / "2026-W45.json")
    (reports / "2026-W46.json").symlink_to(reports / "nowhere")
    newer = msgspec.json.decode(encode(report_of("2026-W47"))) | {"schema": 2}
    (reports / "2026-W47.json").write_bytes(msgspec.json.encode(newer))
    store(tmp_path, report_of("2026-W48", synthetic=True))
    for name in ("2026-W49.json.new", "notes.txt", "W50.json", "2026-W51.html"):
        (reports / name).write_bytes(b"foreign")

    newest = NewestReport(tmp_path)
    with caplog.at_level(logging.INFO):
        found = [newest.look() for _ in range(3)]
    assert {each.week for each in found if each is not None} == {"2026-W40"}
    said = [record.message for record in caplog.records]
    assert [line[:13] for line in said] == [f"2026-W{number}.json" for number in (48, 47, 43, 42, 41)]
    assert "its calls are synthetic" in said[0]
    assert all("is no weekly report" in line for line in said[1:])

    (reports / "2026-W41.json").write_bytes(b"other garbage")
    newest.look()
    assert len(caplog.records) == len(said) + 1, "it has changed"


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2000), st.integers(0, 255))
def test_whatever_bytes_are_there_nothing_breaks(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, at: int, byte: int
) -> None:
    data_dir = tmp_path_factory.mktemp("garbage")
    (data_dir / DIRECTORY).mkdir()
    whole = msgspec.json.encode(msgspec.json.decode(encode(report_of())))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    for number, content in enumerate((garbage, changed)):
        (data_dir / DIRECTORY / f"2026-W{46 + number}.json").write_bytes(content)
    found = shown(NewestReport(data_dir).look())
    assert len(found) <= sum(family.most for family in REPORT_GAUGES)


def test_a_directory_that_cannot_be_read_is_no_report(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).write_text("a file")
    assert NewestReport(tmp_path).look() is None


def test_reading_a_report_takes_no_numpy(tmp_path: Path) -> None:
    store(tmp_path, report_of())
    child = (
        "import pathlib, sys, submeter.meter.weekly as weekly; "
        f"sys.exit(weekly.NewestReport(pathlib.Path({str(tmp_path)!r})).look() is None or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", child], check=False).returncode == 0


def test_a_report_that_is_stored_while_the_meter_runs_is_on_metrics(tmp_path: Path) -> None:
    with running(tmp_path) as (_, unit):
        unit.wait_ops()
        assert of_report(ask(unit.ops_port, "GET", "/metrics").body.decode()) == {}
        store(unit.data_dir, report_of(buy_usd=Decimal("41.5")))
        assert of_report(ask(unit.ops_port, "GET", "/metrics").body.decode())[("recorded_usd",)] == 41.5
