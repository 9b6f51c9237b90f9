"""Stored reports: kept whole, read with patience, compared field by field, scored."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.report_stub import make_bare_workload, make_report, make_small_workload, make_workload
from submeter.core.week import Week
from submeter.report.document import Forecast, Rented, Report, Restated, encode
from submeter.report.history import History, load, point, regret, restated, store, trend
from submeter.report.verdict import Kind

WEEK = Week.parse("2026-W47")
REPORT = make_report()
BEFORE = WEEK.previous()


def file_of(data_dir: Path, week: Week) -> Path:
    return data_dir / "reports" / f"{week}.json"


def written(data_dir: Path, week: Week, content: bytes | Mapping[str, object]) -> None:
    path = file_of(data_dir, week)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def past(week: Week, **workload: object) -> dict[str, object]:
    """As an older Submeter may have written it."""
    return {"week": week.text, "schema": 0, "workloads": [{"name": "support", "buy_usd": 10.5, **workload}]}


# ---- kept ------------------------------------------------------------------------------------------------------


def test_a_report_is_kept_and_read_again(tmp_path: Path) -> None:
    report = make_report(week=BEFORE.text)
    path = store(tmp_path, report)
    assert path == file_of(tmp_path, BEFORE)
    assert path.read_bytes() == encode(report)
    assert path.stat().st_mode & 0o777 == 0o600
    history = load(tmp_path, WEEK)
    assert history.warnings == ()
    support = history.newest("support")
    assert support is not None
    assert (support.calls, support.buy_usd, support.verdict) == (212_480, Decimal("2758.56"), "BUILD IF QUALITY HOLDS")
    assert support.standing == "RENT-OPEN"
    assert history.same_week is None
    assert load(tmp_path, BEFORE).same_week == encode(report)


def test_what_the_next_week_is_held_against_is_read_as_it_was_stored(tmp_path: Path) -> None:
    forecast = Forecast(kind="build", low=Decimal("0.10"), high=Decimal("1234.50"))
    rented = Rented(
        replicas=4,
        idle_replicas=2,
        gpus=2,
        usd_per_gpu_hour=Decimal("2.950"),
        week_usd=Decimal("7447.123456789"),
        objective_s=(0.8, 0.04),
        estimator="llama-3.3-70b on 2 x h100_sxm, fp8",
    )
    store(tmp_path, make_report(week=BEFORE.text, workloads=(make_workload(forecast=forecast, rented=rented),)))
    support = load(tmp_path, WEEK).last_week("support")
    assert support is not None
    assert (support.forecast, support.rented) == (forecast, rented)
    found = regret(load(tmp_path, WEEK), "support", {"build": Decimal("1234.50")})
    assert found is not None
    assert (found.within, found.regret_usd) == (True, 0)
    # That of the stub, a week that was within, and this one.
    assert (found.weeks_scored, found.weeks_within) == (2, 2)


def test_a_later_report_replaces_an_earlier_one_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, make_report(seed=1))
    store(tmp_path, make_report(seed=2))
    assert json.loads(file_of(tmp_path, WEEK).read_bytes())["seed"] == 2

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        store(tmp_path, make_report(seed=3))
    assert json.loads(file_of(tmp_path, WEEK).read_bytes())["seed"] == 2
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["2026-W47.json"]


def test_without_a_data_directory_nothing_is_read_and_nothing_kept() -> None:
    assert store(None, make_report()) is None
    assert load(None, WEEK) == History(WEEK)


# ---- read ------------------------------------------------------------------------------------------------------


def test_an_older_report_counts_with_what_it_has(tmp_path: Path) -> None:
    written(tmp_path, BEFORE, past(BEFORE))
    support = load(tmp_path, WEEK).newest("support")
    assert support is not None
    assert (support.buy_usd, support.verdict, support.forecast) == (Decimal("10.5"), None, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"week": "2026-W46", "workloads": [{"name": "support"}]}',
        b'{"week": "2026-W46", "workloads": [{"name": "support", "buy_usd": 1, "verdict": "PERHAPS"}]}',
        b'{"week": "2026-W01", "workloads": []}',
        b'{"week": "2026-W46", "workloads": [{"na',
    ],
)
def test_garbage_is_warned_of_and_the_other_weeks_are_read(tmp_path: Path, content: bytes) -> None:
    written(tmp_path, BEFORE, content)
    written(tmp_path, BEFORE.previous(), past(BEFORE.previous()))
    history = load(tmp_path, WEEK)
    assert [each.week for each in history.before] == ["2026-W45"]
    assert len(history.warnings) == 1
    assert "2026-W46.json is not a report that can be read, and is left out: " in history.warnings[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["week", "workloads", "name", "restated"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_of_a_stored_file_break_a_report(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    data_dir = tmp_path_factory.getbasetemp() / "fuzzed"
    data_dir.mkdir(exist_ok=True)
    written(data_dir, BEFORE, content)
    history = load(data_dir, WEEK)
    assert len(history.warnings) + len(history.before) == 1
    assert restated(History(WEEK, same_week=content), REPORT)


def test_the_newest_report_says_what_stands_and_only_that_of_the_week_before_what_was_forecast(tmp_path: Path) -> None:
    written(tmp_path, BEFORE.previous(2), past(BEFORE.previous(2), verdict="BUY"))
    written(tmp_path, BEFORE.previous(), past(BEFORE.previous(), verdict="BUILD"))
    written(tmp_path, WEEK.next(), past(WEEK.next(), verdict="RENT-OPEN"))
    history = load(tmp_path, WEEK)
    newest = history.newest("support")
    assert newest is not None
    assert newest.verdict == "BUILD"
    assert history.last_week("support") is None
    assert history.newest("unheard of") is None


# ---- restated --------------------------------------------------------------------------------------------------


def rerun(first: Report, second: Report) -> tuple[Restated, ...]:
    return restated(History(WEEK, same_week=encode(first)), second)


def test_the_first_report_of_a_week_restates_nothing_and_neither_does_an_equal_one(tmp_path: Path) -> None:
    report = make_report(restated=())
    assert restated(load(tmp_path, WEEK), report) == ()
    store(tmp_path, report)
    assert restated(load(tmp_path, WEEK), report) == ()


def test_late_rows_are_told_field_by_field_with_before_and_after() -> None:
    first = make_report(workloads=(make_workload(), make_bare_workload()), restated=())
    second = make_report(
        workloads=(make_small_workload(), make_workload(buy_usd=Decimal("2800.10")), make_bare_workload()),
        buy_usd=Decimal("2800.10"),
        warnings=(),
    )
    found = rerun(first, second)
    assert found[:1] == (Restated("buy_usd", "2758.56", "2800.10"),)
    assert Restated("workloads.support.buy_usd", "2758.56", "2800.10") in found
    assert Restated("workloads.extraction.buy_usd", "", "611.02") in found
    assert Restated("warnings.0", "12 calls have no known cost: their bounds are in the band.", "") in found
    assert not [each for each in found if "drafts" in each.field or "staircase" in each.field]


def test_a_rerun_that_finds_nothing_new_says_the_same_again(tmp_path: Path) -> None:
    store(tmp_path, make_report(restated=()))
    late = make_report(buy_usd=Decimal(3000))
    late = msgspec.structs.replace(late, restated=restated(load(tmp_path, WEEK), late))
    store(tmp_path, late)
    again = make_report(buy_usd=Decimal(3000))
    again = msgspec.structs.replace(again, restated=restated(load(tmp_path, WEEK), again))
    assert again.restated == (Restated("buy_usd", "2758.56", "3000"),)
    assert encode(again) == encode(late)


def test_a_stored_file_that_cannot_be_read_is_said_to_be_made_anew() -> None:
    found = restated(History(WEEK, same_week=b"{"), make_report())
    assert found == (Restated("report", "a file that cannot be read", "made anew"),)


# ---- trend -----------------------------------------------------------------------------------------------------


def test_the_trend_is_of_twelve_weeks_the_oldest_first_and_fills_up_from_the_ledger(tmp_path: Path) -> None:
    for number in (1, 3, 11, 12):
        week = WEEK.previous(number)
        written(tmp_path, week, past(week, calls=number, rent_open_usd=4, verdict="BUY"))
    found = trend(load(tmp_path, WEEK), {WEEK.previous(2).text: (7, Decimal("0.70"))}, (make_workload(),))
    assert [(each.week, each.calls, each.verdict) for each in found] == [
        ("2026-W36", 11, "BUY"),
        ("2026-W44", 3, "BUY"),
        ("2026-W45", 7, None),
        ("2026-W46", 1, "BUY"),
        ("2026-W47", 212_480, "BUILD IF QUALITY HOLDS"),
    ]
    assert (found[0].buy_usd, found[0].rent_open_usd, found[0].build_usd) == (Decimal("10.5"), Decimal(4), None)


def test_a_point_sums_what_all_workloads_have() -> None:
    both = point("2026-W47", (make_workload(), make_small_workload()))
    assert (both.buy_usd, both.rent_open_usd) == (Decimal("3369.58"), Decimal("1711.40") + Decimal("427.85"))
    assert both.verdict == "BUILD IF QUALITY HOLDS"
    assert point("2026-W47", (make_workload(), make_bare_workload())).rent_open_usd is None
    assert point("2026-W47", ()).verdict is None


# ---- regret ----------------------------------------------------------------------------------------------------

COSTS: dict[Kind, Decimal] = {"buy": Decimal(1000), "rent": Decimal(700), "build": Decimal(650)}


def scored(tmp_path: Path, costs: Mapping[Kind, Decimal] = COSTS, **forecast: Any) -> Any:
    written(tmp_path, BEFORE, past(BEFORE, forecast={"kind": "rent", "low": 600.5, "high": 700} | forecast))
    return regret(load(tmp_path, WEEK), "support", costs)


def test_last_weeks_interval_is_scored_and_what_was_advised_held_against_the_cheapest(tmp_path: Path) -> None:
    found = scored(tmp_path)
    assert (found.forecast_low_usd, found.forecast_high_usd) == (Decimal("600.5"), Decimal(700))
    assert (found.actual_usd, found.within, found.regret_usd) == (Decimal(700), True, Decimal(50))
    assert (found.weeks_scored, found.weeks_within) == (1, 1)
    assert not scored(tmp_path, high=699.99).within
    assert scored(tmp_path, kind="build").regret_usd == 0


def test_scores_add_up_over_the_weeks(tmp_path: Path) -> None:
    for number, within in ((2, True), (3, False), (4, True)):
        week = WEEK.previous(number)
        written(tmp_path, week, past(week, regret={"within": within}))
    found = scored(tmp_path, low=701, high=800)
    assert (found.weeks_scored, found.weeks_within) == (4, 2)


def test_nothing_is_scored_without_a_forecast_or_a_cost(tmp_path: Path) -> None:
    assert regret(load(tmp_path, WEEK), "support", COSTS) is None
    assert scored(tmp_path, {"buy": Decimal(1000)}) is None
    written(tmp_path, BEFORE, past(BEFORE))
    assert regret(load(tmp_path, WEEK), "support", COSTS) is None
