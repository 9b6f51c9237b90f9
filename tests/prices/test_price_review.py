"""What changed between snapshots, and what cannot be right."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from submeter.core.pricebook import Bracket, PriceEntry
from submeter.prices.review import Finding, check, compare, describe_change
from submeter.prices.snapshot import Snapshot

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def entry(model: str, mode: str = "chat", **prices: str) -> PriceEntry:
    found = {name: Decimal(price) for name, price in prices.items()}
    return PriceEntry(model=model, provider="p", mode=mode, tiers={"standard": (Bracket(0, found),)})


def snapshot(imported_at: str) -> Snapshot:
    return Snapshot(
        id="s", source="", source_version="", source_sha256="", sha256="", imported_at=imported_at, entries=()
    )


def kinds(*entries: PriceEntry, imported_at: str = "2026-11-20T00:00:00Z") -> list[tuple[str, str]]:
    return [(finding.kind, finding.subject) for finding in check(snapshot(imported_at), entries, NOW)]


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


def test_output_far_below_input_and_half_free_models_are_nonsense() -> None:
    assert kinds(
        entry("fine", input_uncached="1", output_text="4"),
        entry("about-the-same", input_uncached="1", output_text="0.5"),
        entry("slip", input_uncached="10", output_text="0.4"),
        entry("half-free", input_uncached="0", output_text="4"),
        entry("half-paid", input_uncached="1", output_text="0"),
        entry("free", input_uncached="0", output_text="0"),
        entry("embedding", mode="embedding", input_uncached="1", output_text="0"),
    ) == [("cheap_output", "p/slip"), ("zero_price", "p/half-free"), ("zero_price", "p/half-paid")]


def test_a_snapshot_is_stale_after_fourteen_days() -> None:
    assert kinds(imported_at="2026-11-10T00:00:00Z") == []
    (stale,) = check(snapshot("2026-11-09T00:00:00Z"), [], NOW)
    assert stale == Finding(
        "stale", "s", "imported 15 days ago: run submeter prices import with a newer litellm, a file or a URL"
    )
