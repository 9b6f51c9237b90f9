"""Prices that cannot be right, and old ones."""

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest

from submeter.core.pricebook import Bracket, PriceEntry
from submeter.prices.load import load_snapshot
from submeter.prices.nonsense import Finding, check
from submeter.prices.snapshot import Snapshot

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def bracket(above_tokens: int = 0, **prices: str) -> Bracket:
    return Bracket(above_tokens, {name: Decimal(price) for name, price in prices.items()})


def entry(model: str, mode: str = "chat", **prices: str) -> PriceEntry:
    return PriceEntry(model=model, provider="p", mode=mode, tiers={"standard": (bracket(**prices),)})


def snapshot(imported_at: str = "2026-11-20T00:00:00Z", *entries: PriceEntry) -> Snapshot:
    return Snapshot(
        id="s", source="", source_version="", source_sha256="", sha256="", imported_at=imported_at, entries=entries
    )


def kinds(*entries: PriceEntry, imported_at: str = "2026-11-20T00:00:00Z") -> list[tuple[str, str]]:
    return [(finding.kind, finding.subject) for finding in check(snapshot(imported_at), entries, NOW)]


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


@pytest.mark.parametrize(
    ("name", "price", "found"),
    [
        ("cached_read", "2", []),
        ("cached_read", "2.01", ["dear_cache"]),
        ("cache_write_1h", "6", []),
        ("cache_write_1h", "6.01", ["dear_cache"]),
    ],
)
def test_cached_input_is_not_dearer_than_input_nor_a_write_many_times_as_dear(
    name: str, price: str, found: list[str]
) -> None:
    assert [kind for kind, _ in kinds(entry("m", input_uncached="2", **{name: price}))] == found


def test_a_tier_ten_times_as_dear_and_a_context_six_times_as_dear_are_slips() -> None:
    tiers = {
        "standard": (bracket(input_uncached="1", output_text="4"), bracket(1000, input_uncached="6", output_text="8")),
        "priority": (bracket(input_uncached="10", output_text="8"),),
        "batch": (bracket(input_uncached="9.9", output_text="8"),),
    }
    odd = PriceEntry(model="m", provider="p", tiers=tiers)
    assert [(f.kind, f.text) for f in check(snapshot(), [odd], NOW)] == [
        ("dear_context", "standard above 1,000 tokens is 6 times as dear for input_uncached: 6"),
        ("dear_tier", "priority is 10 times as dear for input_uncached: 10"),
    ]


def test_a_tenfold_change_since_the_last_snapshot_is_a_slip() -> None:
    before = [entry("up", output_text="1"), entry("down", output_text="1"), entry("fine", output_text="1")]
    after = [entry("up", output_text="10"), entry("down", output_text="0.1"), entry("fine", output_text="9")]
    previous = snapshot("2026-11-01T00:00:00Z", *before)
    found = check(snapshot(), [*after, entry("new", output_text="50")], NOW, previous=previous)
    assert [(f.kind, f.subject) for f in found] == [("jump", "p/up"), ("jump", "p/down")]
    assert found[0].text == "output_text changed 10-fold since the last snapshot"


def own(model: str, first: date | None = None, last: date | None = None, **changes: object) -> PriceEntry:
    usual = PriceEntry(model=model, valid_from=first, valid_until=last, tiers={"standard": (bracket(output_text="1"),)})
    return msgspec.structs.replace(usual, **changes)


def test_own_entries_that_hold_on_the_same_days_are_named() -> None:
    june, july = date(2026, 6, 30), date(2026, 7, 1)
    apart = [own("m", last=june), own("m", july), own("m", provider="azure"), own("n")]
    assert check(snapshot(), [], NOW, overlay=apart) == []
    (found,) = check(snapshot(), [], NOW, overlay=[own("m", last=july), own("m", july)])
    assert (found.kind, found.subject) == ("overlap", "m")


def test_a_discount_on_nothing_is_named() -> None:
    known = snapshot("2026-11-20T00:00:00Z", entry("gpt-5", output_text="1"))

    def found(overlay: PriceEntry) -> list[str]:
        return [finding.kind for finding in check(known, [], NOW, overlay=[overlay])]

    tenth = {"tiers": {}, "discount": Decimal("0.1")}
    assert found(own("gpt-*", **tenth)) == []
    assert found(own("gpt-*", provider="p", **tenth)) == []
    assert found(own("gpt-*", provider="other", **tenth)) == ["matches_nothing"]
    assert found(own("gtp-*", **tenth)) == ["matches_nothing"]
    assert found(own("our-own-model")) == []
    assert found(own("gpt-5")) == []


def test_a_name_that_is_nearly_a_listed_one_is_taken_for_a_slip() -> None:
    known = snapshot("2026-11-20T00:00:00Z", entry("claude-sonnet-5", output_text="1"))
    (found,) = check(known, [], NOW, overlay=[own("claude-sonet-5")])
    assert (found.kind, found.text) == ("matches_nothing", "no list has this model; is claude-sonnet-5 meant?")


def test_the_prices_of_the_large_providers_make_sense() -> None:
    shipped = load_snapshot()
    large = [each for each in shipped.entries if each.provider in ("openai", "anthropic", "gemini", "mistral", "xai")]
    assert len(large) > 200
    assert check(shipped, large, datetime.fromisoformat(shipped.imported_at)) == []
