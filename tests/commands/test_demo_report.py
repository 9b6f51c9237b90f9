"""The made-up week at the end of the demo: real verdicts, marked as synthetic, the same each time."""

from pathlib import Path

import msgspec
import pytest

from submeter.commands import demo_report
from submeter.core.week import Week
from submeter.demo import week
from submeter.meter.families import REPORT_GAUGES, REPORT_OPTION, REPORT_P_BUILD, REPORT_RECORDED, REPORT_VERDICT
from submeter.meter.weekly import NewestReport, gauges
from submeter.report import document, history
from submeter.report.document import Report

WEEK = Week.parse("2026-W47")


def quiet(_text: str, _share: float) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return week.make_report(tmp_path_factory.mktemp("week"), WEEK, quiet)


def test_each_workload_has_its_verdict_and_the_report_says_that_it_is_made_up(report: Report) -> None:
    assert {each.name: each.verdict for each in report.workloads} == {
        "support": "RENT-OPEN",
        "coder": "NOT COMPARABLE",
        "router": "RENT-OPEN",
        "contracts": "BUY",
    }
    assert report.synthetic
    assert report.days_of_data == 14
    (support,) = [each for each in report.workloads if each.name == "support"]
    assert support.fleet is not None, "a fleet was simulated"


def test_the_same_week_gives_the_same_bytes(report: Report, tmp_path: Path) -> None:
    assert document.encode(week.make_report(tmp_path, WEEK, quiet)) == document.encode(report)


def test_a_few_lines_are_printed_and_a_page_written(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo_report.print_report(report)
    printed = capsys.readouterr().out
    assert "SYNTHETIC" in printed
    assert len(printed.splitlines()) <= 12
    assert [line.split()[-1] for line in printed.splitlines() if line.lstrip().startswith("support")] == ["RENT-OPEN"]
    demo_report.write_page(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "synthetic" in page.lower()


def test_a_meter_understands_it_and_shows_it_once_it_is_not_synthetic(report: Report, tmp_path: Path) -> None:
    """The report is a real one, of ``analyse``: the meter's own structs fit it."""
    history.store(tmp_path, report)
    assert NewestReport(tmp_path).look() is None
    history.store(tmp_path, msgspec.structs.replace(report, synthetic=False))
    shown = gauges(NewestReport(tmp_path).look())
    assert set(shown) == set(REPORT_GAUGES)
    assert {name for (name,) in shown[REPORT_VERDICT]} == {"support", "coder", "contracts"}
    assert shown[REPORT_RECORDED][()] == float(report.buy_usd)
    assert {option for name, option in shown[REPORT_OPTION] if name == "support"} == {"buy", "rent", "build"}
    assert shown[REPORT_P_BUILD]["support",] == 0
