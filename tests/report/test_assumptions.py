"""The assumptions ledger: one name, one value, one age."""

from datetime import date

import pytest

from submeter.report.assumptions import HARDWARE_DAYS, Assumptions


def test_a_figure_keeps_its_source_and_its_order() -> None:
    assumed = Assumptions(date(2026, 11, 23))
    first = assumed.add("b", "rent", "2.95", "USD/GPU-hour", source="an index", by="catalog", as_of=date(2026, 11, 1))
    assumed.add("a", "ratio", 1, "", source="nobody said otherwise", by="prior")
    assert first == "b"
    assert [each.id for each in assumed.listed()] == ["b", "a"]
    assert (assumed["a"].value, assumed["a"].as_of, assumed["a"].stale) == ("1", None, False)


@pytest.mark.parametrize(("days", "as_of", "stale"), [
    (90, date(2026, 8, 25), False),  # 90 days before
    (90, date(2026, 8, 24), True),
    (HARDWARE_DAYS, date(2025, 10, 20), False),  # 399 days before
    (HARDWARE_DAYS, date(2025, 10, 18), True),
    (90, date(2027, 1, 1), False),
])  # fmt: skip
def test_a_figure_is_stale_beyond_its_age(days: int, as_of: date, stale: bool) -> None:
    assumed = Assumptions(date(2026, 11, 23))
    assumed.add("x", "x", "1", "", source="s", by="catalog", as_of=as_of, stale_after_days=days)
    assert assumed["x"].stale is stale
    assert [each.id for each in assumed.stale()] == (["x"] if stale else [])


def test_the_same_figure_twice_is_one_and_another_of_its_name_has_a_number() -> None:
    assumed = Assumptions(date(2026, 11, 23))
    ids = [assumed.add("x", "x", value, "USD", source="s", by="prior") for value in ("1", "1", "2", "3", "2")]
    assert ids == ["x", "x", "x#2", "x#3", "x#2"]
    assert [each.value for each in assumed.listed()] == ["1", "2", "3"]
