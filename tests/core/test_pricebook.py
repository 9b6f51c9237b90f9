"""Which entry prices a call, and which rate a token of each class has."""

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest

from submeter.core.pricebook import _MAX_REMEMBERED, Bracket, OffPeak, PriceBook, PriceEntry, Rates, Window
from submeter.core.record import TOKEN_CLASSES


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


NOON = ns("2026-11-24T12:00:00")


def bracket(above_tokens: int = 0, /, **prices: str) -> Bracket:
    return Bracket(above_tokens, {name: Decimal(price) for name, price in prices.items()})


def entry(
    model: str,
    provider: str | None = "openai",
    *,
    first: date | None = None,
    last: date | None = None,
    tiers: dict[str, tuple[Bracket, ...]] | None = None,
    **prices: str,
) -> PriceEntry:
    return PriceEntry(
        model=model,
        provider=provider,
        valid_from=first,
        valid_until=last,
        tiers={"standard": (bracket(**prices),)} if tiers is None else tiers,
    )


def rate(rates: Rates | None, name: str) -> Decimal | None:
    assert rates is not None
    return rates[TOKEN_CLASSES.index(name)]


def found(book: PriceBook, model: str, provider: str | None = "openai", at_ns: int = NOON) -> tuple[str, str] | None:
    match = book.match(model, provider, at_ns)
    return None if match is None else (match.entry.model, match.rule)


SNAPSHOT = PriceBook(
    (
        entry("gpt-4o", input_uncached="2.5"),
        entry("gpt-4o-2024-05-13", input_uncached="5"),
        entry("claude-haiku-4-5", "anthropic", input_uncached="1"),
        entry("ft:gpt-4o-2024-08-06", input_uncached="3.75"),
    )
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", ("gpt-4o", "exact")),
        ("gpt-4o-2024-05-13", ("gpt-4o-2024-05-13", "exact")),
        ("gpt-4o-2031-01-01", ("gpt-4o", "undated")),
        ("gpt-4o-20310101", ("gpt-4o", "undated")),
        ("gpt-4o-latest", ("gpt-4o", "latest")),
        ("ft:gpt-4o-2024-08-06:acme::abc", ("ft:gpt-4o-2024-08-06", "fine-tune")),
        ("gpt-4o-mini", None),  # never a prefix
        ("gpt-4o-0513", None),
        ("GPT-4o", None),
        ("claude-haiku-4-5", None),  # another provider's
        ("", None),
    ],
)
def test_the_snapshot_is_asked_by_name_and_then_by_its_alias_rules(model: str, expected: object) -> None:
    assert found(SNAPSHOT, model) == expected


def test_without_a_provider_only_the_overlay_can_price() -> None:
    assert found(SNAPSHOT, "gpt-4o", None) is None
    book = PriceBook(SNAPSHOT.snapshot, (entry("gpt-*", None, input_uncached="1"),))
    assert found(book, "gpt-4o", None) == ("gpt-*", "overlay glob")


def test_the_most_specific_overlay_wins_then_the_latest_then_the_last_written() -> None:
    january, june = date(2026, 1, 1), date(2026, 6, 1)
    book = PriceBook(
        SNAPSHOT.snapshot,
        (
            entry("gpt-4o", None, input_uncached="1"),
            entry("gpt-*", None, first=june, input_uncached="2"),
            entry("gpt-4*", None, first=january, input_uncached="3"),
            entry("gpt-4*", None, first=june, input_uncached="4"),
            entry("gpt-4*", None, first=june, input_uncached="5"),
        ),
    )
    assert found(book, "gpt-4o") == ("gpt-4o", "overlay")
    match = book.match("gpt-4.1", "openai", NOON)
    assert match is not None
    assert match.entry.tiers["standard"][0].usd_per_million == {"input_uncached": Decimal(5)}
    assert found(book, "gpt-5") == ("gpt-*", "overlay glob")


def test_an_overlay_holds_from_the_first_instant_of_its_first_day_to_the_last_of_its_last() -> None:
    own = entry("m", None, first=date(2026, 1, 1), last=date(2026, 1, 31), input_uncached="1")
    book = PriceBook((entry("m", input_uncached="9"),), (own,))
    assert found(book, "m", at_ns=ns("2026-01-01T00:00:00") - 1) == ("m", "exact")
    assert found(book, "m", at_ns=ns("2026-01-01T00:00:00")) == ("m", "overlay")
    assert found(book, "m", at_ns=ns("2026-02-01T00:00:00") - 1) == ("m", "overlay")
    assert found(book, "m", at_ns=ns("2026-02-01T00:00:00")) == ("m", "exact")


def test_the_last_day_of_the_calendar_is_a_last_day() -> None:
    book = PriceBook((), (entry("m", None, last=date.max, input_uncached="1"),))
    assert found(book, "m") == ("m", "overlay")


def test_dated_snapshot_entries_are_tried_latest_first() -> None:
    old = entry("m", last=date(2026, 6, 30), input_uncached="9")
    new = entry("m", first=date(2026, 7, 1), input_uncached="1")
    book = PriceBook((old, new))
    assert book.find("m", "openai", ns("2026-06-30T23:59:59")) is old
    assert book.find("m", "openai", ns("2026-07-01T00:00:00")) is new


def test_what_is_remembered_of_callers_names_is_bounded() -> None:
    book = PriceBook()
    for number in range(_MAX_REMEMBERED + 10):
        assert book.find(f"made-up-{number}", "openai", NOON) is None
    assert len(book._remembered) <= _MAX_REMEMBERED


@pytest.mark.parametrize("name", [None, "auto", "default", "standard", "on_demand"])
def test_names_of_the_standard_tier(name: str | None) -> None:
    assert rate(entry("m", input_uncached="0.15").rates(name, 5), "input_uncached") == 150


def test_a_tier_that_the_entry_does_not_have_has_no_rates() -> None:
    priced = entry("m", tiers={"standard": (bracket(output_text="2"),), "batch": (bracket(output_text="1"),)})
    assert priced.rates("scale", 5) is None
    assert rate(priced.rates("batch", 5), "output_text") == 1000
    assert rate(priced.rates("batches", 5), "output_text") == 1000


@pytest.mark.parametrize(
    ("wanted", "prices", "nano_per_token"),
    [
        ("cached_read", {"input_uncached": "2"}, 2000),
        ("cached_read", {"input_uncached": "2", "cached_read": "0"}, 0),  # free is a price
        ("cache_write", {"input_uncached": "2", "cache_write_5m": "2.5", "cache_write_1h": "4"}, 2500),
        ("cache_write", {"input_uncached": "2", "cache_write_30m": "2.5", "cache_write_12h": "4"}, 2500),
        ("cache_write", {"input_uncached": "2"}, 2000),
        ("cache_write_30m", {"input_uncached": "2"}, 2000),
        ("cache_write_1h", {"input_uncached": "2", "cache_write": "3"}, 3000),
        ("cache_write_1h", {"input_uncached": "2", "cache_write_5m": "2.5"}, None),
        ("cache_write_12h", {"input_uncached": "2", "cache_write_30m": "2.5"}, None),
        ("cache_write_5m", {"input_uncached": "2"}, None),
        ("input_image", {"input_uncached": "2"}, 2000),
        ("input_audio", {"input_uncached": "2"}, None),
        ("reasoning", {"output_text": "8"}, 8000),
        ("reasoning", {"output_text": "8", "reasoning": "9"}, 9000),
        ("output_audio", {"output_text": "8"}, None),
        ("output_text", {"input_uncached": "2"}, None),
        ("input_uncached", {"output_text": "8"}, None),
    ],
)
def test_stand_ins(wanted: str, prices: dict[str, str], nano_per_token: int | None) -> None:
    priced = entry("m", tiers={"standard": (bracket(**prices),)})
    assert rate(priced.rates(None, 5), wanted) == nano_per_token


def test_anthropic_never_writes_its_cache_at_the_input_price() -> None:
    assert rate(entry("claude-x", "anthropic", input_uncached="1").rates(None, 5), "cache_write") is None


LONG = entry(
    "m",
    tiers={
        "standard": (
            bracket(input_uncached="1", cached_read="0.1", output_text="4", reasoning="4"),
            bracket(200_000, input_uncached="2", output_text="6"),
        ),
        "flex": (bracket(input_uncached="0.5", output_text="2"),),
    },
)


def test_the_bracket_is_chosen_by_the_whole_input_above_its_threshold() -> None:
    assert rate(LONG.rates(None, 200_000), "input_uncached") == 1000
    assert rate(LONG.rates(None, 200_001), "input_uncached") == 2000
    assert rate(LONG.rates(None, 200_001), "output_text") == 6000
    assert rate(LONG.rates(None, 0), "output_text") == 4000


def test_in_a_bracket_a_stand_in_counts_only_if_it_is_the_price_of_the_class_at_the_base() -> None:
    assert rate(LONG.rates(None, 200_001), "reasoning") == 6000  # the base bills it as output: so does this
    assert rate(LONG.rates(None, 200_001), "cached_read") is None  # a discount of unknown size


def test_a_tier_without_a_bracket_that_the_standard_has_is_unknown_there() -> None:
    assert rate(LONG.rates("flex", 200_000), "output_text") == 2000
    assert rate(LONG.rates("flex", 200_001), "output_text") is None


def test_a_tier_with_prices_above_a_threshold_only_is_unknown_below_it() -> None:
    odd = entry("m", tiers={"standard": (bracket(output_text="1"),), "flex": (bracket(1000, output_text="2"),)})
    assert rate(odd.rates("flex", 1000), "output_text") is None
    assert rate(odd.rates("flex", 1001), "output_text") == 2000


# ---- what is applied to a price --------------------------------------------------------------------------------

NIGHT = OffPeak(
    (Window((1, 2, 3, 4, 5), 22 * 60, 24 * 60), Window((6, 7), 0, 24 * 60)),
    {"standard": (bracket(input_uncached="1"),)},
)
DEEP = msgspec.structs.replace(
    entry("deep", tiers={"standard": (bracket(input_uncached="2"),), "batch": (bracket(input_uncached="0.7"),)}),
    off_peak=NIGHT,
)


def input_price(book: PriceBook, model: str, at: str = "2026-11-24T12:00:00", region: str | None = None) -> Decimal:
    price = book.find(model, "openai", ns(at), region)
    assert price is not None
    return price.tiers["standard"][0].usd_per_million["input_uncached"]


@pytest.mark.parametrize(
    ("at", "usd"),
    [
        ("2026-11-24T21:59:59", "2"),  # a Tuesday
        ("2026-11-24T22:00:00", "1"),
        ("2026-11-24T23:59:59", "1"),
        ("2026-11-25T00:00:00", "2"),
        ("2026-11-27T23:59:59", "1"),  # Friday night,
        ("2026-11-28T00:00:00", "1"),  # the weekend,
        ("2026-11-29T23:59:59", "1"),
        ("2026-11-30T00:00:00", "2"),  # and Monday
        ("1970-01-03T12:00:00", "1"),  # a Saturday
        ("1970-01-02T12:00:00", "2"),
    ],
)
def test_off_peak_prices_hold_within_their_windows(at: str, usd: str) -> None:
    book = PriceBook((DEEP,))
    assert input_price(book, "deep", at) == Decimal(usd)
    match = book.match("deep", "openai", ns(at))
    assert match is not None
    assert match.text == ("exact, off-peak" if usd == "1" else "exact")
    assert match.entry.tiers["batch"] == (bracket(input_uncached="0.7"),)


def test_a_region_multiplies_every_price_exactly() -> None:
    priced = msgspec.structs.replace(
        entry("m", input_uncached="0.15", output_text="0.6"), regions={"eu": Decimal("1.1")}
    )
    book = PriceBook((priced,))
    match = book.match("m", "openai", NOON, "eu")
    assert match is not None
    assert match.entry.tiers["standard"][0].usd_per_million == {
        "input_uncached": Decimal("0.165"),
        "output_text": Decimal("0.66"),
    }
    assert (match.rule, match.text) == ("exact", "exact, region eu × 1.1")
    assert input_price(book, "m", region="moon") == Decimal("0.15")


def test_a_discount_is_taken_off_whatever_stands_beneath() -> None:
    discount = PriceEntry(model="*", source="contract 17", valid_from=date(2026, 11, 1), discount=Decimal("0.15"))
    own = entry("mine", None, input_uncached="4")
    book = PriceBook((DEEP, entry("gpt-4o", input_uncached="2.5")), (discount, own))
    assert input_price(book, "gpt-4o", "2026-10-31T12:00:00") == Decimal("2.5")
    assert input_price(book, "gpt-4o") == Decimal("2.125")
    assert input_price(book, "deep", "2026-11-28T12:00:00") == Decimal("0.85")
    assert input_price(book, "mine") == 4  # the more specific entry comes first
    match = book.match("deep", "openai", ns("2026-11-28T12:00:00"))
    assert match is not None
    assert match.text == "exact, off-peak, 15 % off by overlay glob"
    assert match.entry.source == "contract 17"
    assert book.match("unknown", "openai", NOON) is None


def test_discounts_stand_on_each_other_and_take_fees_along() -> None:
    base = msgspec.structs.replace(entry("gpt-4o", input_uncached="10"), fees={"web_search": Decimal("0.01")})
    half, tenth = (PriceEntry(model=name, discount=Decimal(off)) for name, off in (("gpt-*", "0.1"), ("*", "0.5")))
    match = PriceBook((base,), (half, tenth)).match("gpt-4o", "openai", NOON)
    assert match is not None
    assert match.entry.tiers["standard"][0].usd_per_million == {"input_uncached": Decimal("4.5")}
    assert match.entry.fees == {"web_search": Decimal("0.0045")}


def test_an_overlay_may_hold_at_one_provider_only() -> None:
    ours = entry("gpt-4o", "azure", input_uncached="1")
    book = PriceBook((entry("gpt-4o", input_uncached="2.5"),), (ours,))
    assert found(book, "gpt-4o", "openai") == ("gpt-4o", "exact")
    assert found(book, "gpt-4o", "azure") == ("gpt-4o", "overlay")
    assert found(book, "gpt-4o", None) is None


def test_of_two_overlays_the_one_that_names_the_provider_wins() -> None:
    anywhere, there = entry("m*", None, input_uncached="1"), entry("m*", "azure", input_uncached="2")
    for overlay in ((anywhere, there), (there, anywhere)):
        match = PriceBook((), overlay).match("mine", "azure", NOON)
        assert match is not None
        assert match.entry is there


def test_cached_audio_without_a_price_has_no_discount() -> None:
    priced = entry("a", input_uncached="1", cached_read="0.1", input_audio="8").rates(None, 1)
    assert rate(priced, "cached_audio") == 8000
    assert rate(entry("a", input_uncached="1", cached_read="0.1").rates(None, 1), "cached_audio") is None
