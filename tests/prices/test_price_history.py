"""Importing over a snapshot: what a call cost when it was made stays what it cost."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.pricebook import Bracket, PriceBook, PriceEntry
from submeter.prices.history import continue_history, in_force

JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)


def entry(model: str, price: str, **changes: object) -> PriceEntry:
    usual = PriceEntry(
        model=model, provider="p", tiers={"standard": (Bracket(0, {"output_text": Decimal(price)}),)}, checked_on=JUNE
    )
    return msgspec.structs.replace(usual, **changes)


def price_on(entries: list[PriceEntry], day: date, model: str = "m") -> str | None:
    at_ns = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9
    found = PriceBook(tuple(entries)).find(model, "p", at_ns)
    return None if found is None else str(found.tiers["standard"][0].usd_per_million["output_text"])


def test_a_changed_price_ends_the_day_before_and_the_new_one_begins() -> None:
    found = continue_history([entry("m", "1")], [entry("m", "2")], JULY)
    assert found == [
        entry("m", "1", valid_until=date(2026, 6, 30)),
        entry("m", "2", valid_from=JULY),
    ]
    assert [price_on(found, day) for day in (JUNE, date(2026, 6, 30), JULY)] == ["1", "1", "2"]


def test_an_unchanged_price_stays_as_it_was_and_is_marked_as_checked() -> None:
    before = [entry("m", "1", valid_until=date(2026, 6, 30)), entry("m", "2", valid_from=JULY)]
    found = continue_history(before, [entry("m", "2", checked_on=AUGUST, max_output_tokens=5)], AUGUST)
    assert found == [before[0], entry("m", "2", valid_from=JULY, checked_on=AUGUST, max_output_tokens=5)]


def test_a_removed_model_ends_and_may_come_back() -> None:
    gone = continue_history([entry("m", "1")], [], JULY)
    assert gone == [entry("m", "1", valid_until=date(2026, 6, 30))]
    assert in_force(gone) == []
    back = continue_history(gone, [entry("m", "1")], AUGUST)
    assert [price_on(back, day) for day in (JUNE, JULY, AUGUST)] == ["1", None, "1"]


def test_a_new_model_has_its_price_for_all_time() -> None:
    assert continue_history([], [entry("m", "1")], JULY) == [entry("m", "1")]


def test_an_import_can_be_repeated_and_a_later_day_corrected() -> None:
    once = continue_history([entry("m", "1")], [entry("m", "2")], JULY)
    assert continue_history(once, [entry("m", "2")], JULY) == once
    corrected = continue_history(once, [entry("m", "3")], JULY)
    assert corrected == continue_history([entry("m", "1")], [entry("m", "3")], JULY)


maps = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3"]))


@given(st.lists(st.tuples(maps, st.integers(0, 3)), min_size=1, max_size=5))
def test_after_any_imports_each_day_has_the_price_that_was_last_said_of_it(
    imports: list[tuple[dict[str, str], int]],
) -> None:
    entries: list[PriceEntry] = []
    said: dict[tuple[str, int], str | None] = {}
    day = 0
    for prices, later in imports:
        day += later
        known = {name for name, _ in said}
        for name in {"a", "b"}:
            days = range(day, 20) if name in known else range(20)
            said |= {(name, at): prices.get(name) for at in days if name in known or name in prices}
        after = [entry(name, price) for name, price in prices.items()]
        entries = continue_history(entries, after, JUNE + timedelta(days=day))
    for (name, at), price in said.items():
        assert price_on(entries, JUNE + timedelta(days=at), name) == price
