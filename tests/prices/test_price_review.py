"""What changed between snapshots."""

from datetime import date
from decimal import Decimal

import msgspec

from submeter.core.pricebook import Bracket, OffPeak, PriceEntry, Window
from submeter.prices.review import Diff, compare, describe_change


def entry(model: str, mode: str = "chat", **prices: str) -> PriceEntry:
    found = {name: Decimal(price) for name, price in prices.items()}
    return PriceEntry(model=model, provider="p", mode=mode, tiers={"standard": (Bracket(0, found),)})


def test_a_diff_names_what_came_went_and_changed() -> None:
    same, gone, before = entry("same", output_text="1"), entry("gone"), entry("changed", output_text="1")
    new, after = entry("new"), entry("changed", output_text="2")
    renamed_source = msgspec.structs.replace(same, source="elsewhere")
    diff = compare([same, gone, before], [renamed_source, new, after])
    assert (diff.added, diff.removed, diff.changed) == ([new], [gone], [(before, after)])


def test_a_change_is_told_price_by_price() -> None:
    before = entry("m", input_uncached="1.50", output_text="2")
    after = PriceEntry(
        model="m",
        provider="p",
        max_output_tokens=5,
        tiers={
            "standard": (
                Bracket(0, {"input_uncached": Decimal(1)}),
                Bracket(1000, {"input_uncached": Decimal(2)}),
            ),
            "flex": (Bracket(0, {"input_uncached": Decimal("0.5")}),),
        },
    )
    assert describe_change(before, after) == (
        "input_uncached 1.50 → 1, output_text 2 → –, max_output_tokens None → 5, "
        "input_uncached >1000 – → 2, input_uncached flex – → 0.5"
    )


def test_a_big_jump_is_told_with_its_factor_and_comes_first() -> None:
    small = entry("a", output_text="1"), entry("a", output_text="1.5")
    big = entry("b", output_text="2", input_uncached="3"), entry("b", output_text="0.2", input_uncached="7.5")
    assert describe_change(*small) == "output_text 1 → 1.5"
    assert describe_change(*big) == "output_text 2 → 0.2 (× 0.1), input_uncached 3 → 7.5 (× 2.5)"
    diff = compare([small[0], big[0]], [small[1], big[1]])
    assert diff.changed == [big, small]


def test_fees_regions_and_hours_are_told_too() -> None:
    before = entry("m", output_text="1")
    quiet = OffPeak((Window((1,), 0, 60),), {"standard": (Bracket(0, {"output_text": Decimal("0.5")}),)})
    after = msgspec.structs.replace(
        before, fees={"web_search": Decimal("0.01")}, regions={"eu": Decimal("1.1")}, off_peak=quiet
    )
    assert describe_change(before, after) == (
        "output_text off-peak – → 0.5, web_search fee – → 0.01, region eu – → 1.1, off-peak hours"
    )


def test_only_what_is_in_force_is_compared() -> None:
    old = msgspec.structs.replace(entry("m", output_text="1"), valid_until=date(2026, 1, 31))
    new = msgspec.structs.replace(entry("m", output_text="2"), valid_from=date(2026, 2, 1))
    diff = compare([old, new], [old, msgspec.structs.replace(new, checked_on=date(2026, 3, 1))])
    assert diff == Diff([], [], [])
