"""The caller's own prices: what is read, and the one line for each mistake."""

import contextlib
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.pricebook import Bracket, OffPeak, PriceBook, PriceEntry, Window
from submeter.errors import UsageError
from submeter.prices.overlay import parse_overlay


def own(**changes: object) -> dict[str, object]:
    return {"model": "my-*", "usd_per_million": {"input": "0.15"}, **changes}


def test_the_documented_example() -> None:
    (entry,) = parse_overlay(
        [
            {
                "model": "my-model*",
                "from": date(2026, 1, 1),
                "until": "2026-12-31",
                "source": "contract 2026-17",
                "usd_per_million": {
                    "input": "0.15",
                    "cached_input": "0.075",
                    "cache_write": "0.1875",
                    "output": "0.60",
                    "reasoning": "0.60",
                    "cache_write_1h": "0.3",
                },
                "max_output_tokens": 4096,
                "max_input_tokens": 32768,
            }
        ]
    )
    (bracket,) = entry.tiers["standard"]
    assert bracket.usd_per_million == {
        "input_uncached": Decimal("0.15"),
        "cached_read": Decimal("0.075"),
        "cache_write": Decimal("0.1875"),
        "output_text": Decimal("0.60"),
        "reasoning": Decimal("0.60"),
        "cache_write_1h": Decimal("0.3"),
    }
    assert (entry.model, entry.provider, entry.source) == ("my-model*", None, "contract 2026-17")
    assert (entry.valid_from, entry.valid_until) == (date(2026, 1, 1), date(2026, 12, 31))
    assert (entry.max_output_tokens, entry.max_input_tokens) == (4096, 32768)


def test_zero_and_whole_numbers_are_prices() -> None:
    (entry,) = parse_overlay([own(usd_per_million={"input": 0, "output": "0", "reasoning": 3})])
    assert entry.tiers["standard"][0].usd_per_million == {
        "input_uncached": Decimal(0),
        "output_text": Decimal(0),
        "reasoning": Decimal(3),
    }


def test_every_key_of_a_contract() -> None:
    (entry,) = parse_overlay(
        [
            own(
                provider="azure",
                checked_on="2026-11-20",
                tiers={"batches": {"input": "0.075"}, "flex": {"output": "0.3", "cached_audio": "0.1"}},
                above=[{"input_tokens": 272_000, "usd_per_million": {"input": "0.3"}}],
                usd_per_request={"request": "0.005", "web_search": "0.01"},
                regions={"eu": "1.1"},
                off_peak={
                    "hours_utc": ["16:30-00:30"],
                    "weekdays": [1, 2],
                    "usd_per_million": {"input": "0.05", "output_image": "3"},
                },
            )
        ]
    )
    assert (entry.provider, entry.checked_on) == ("azure", date(2026, 11, 20))
    assert entry.tiers == {
        "standard": (
            Bracket(0, {"input_uncached": Decimal("0.15")}),
            Bracket(272_000, {"input_uncached": Decimal("0.3")}),
        ),
        "batch": (Bracket(0, {"input_uncached": Decimal("0.075")}),),
        "flex": (Bracket(0, {"output_text": Decimal("0.3"), "cached_audio": Decimal("0.1")}),),
    }
    assert entry.fees == {"request": Decimal("0.005"), "web_search": Decimal("0.01")}
    assert entry.regions == {"eu": Decimal("1.1")}
    quiet = {"input_uncached": Decimal("0.05"), "output_image": Decimal(3)}
    assert entry.off_peak == OffPeak(
        (Window((1, 2), 16 * 60 + 30, 1440), Window((1, 2), 0, 30)),
        {"standard": (Bracket(0, quiet), Bracket(272_000, quiet))},
    )


def test_a_discount_is_taken_off_the_price_beneath() -> None:
    overlay = parse_overlay([{"model": "m*", "discount_percent": "15", "source": "contract 9"}])
    beneath = PriceEntry(
        model="m-1", provider="openai", source="list", tiers={"standard": (Bracket(0, {"input_uncached": Decimal(2)}),)}
    )
    match = PriceBook((beneath,), overlay).match("m-1", "openai", 0)
    assert match is not None
    assert match.entry.tiers["standard"][0].usd_per_million == {"input_uncached": Decimal("1.70")}
    assert match.text == "exact, 15 % off by overlay glob"
    assert match.entry.source == "contract 9; list"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("gpt-4o", "entry 1 must be a mapping with model and usd_per_million"),
        ({"usd_per_million": {"input": "1"}}, "entry 1 needs model"),
        (own(model=5), "entry 1 needs model"),
        (own(modle="x"), r"entry 1 \(my-\*\): unknown key modle; did you mean model\?"),
        (own(usd_per_million=None), r'entry 1 \(my-\*\) needs usd_per_million: \{input: "0.15"'),
        (own(usd_per_million={}), "needs usd_per_million"),
        (own(usd_per_million={"imput": "1"}), r"usd_per_million: unknown key imput; did you mean input\?"),
        (own(usd_per_million={"input": 0.15}), r'usd_per_million\.input: write it as a string: "0.15"'),
        (own(usd_per_million={"input": "cheap"}), r"usd_per_million\.input must be a decimal string"),
        (own(usd_per_million={"input": "-1"}), "must be a decimal string"),
        (own(usd_per_million={"input": "NaN"}), "must be a decimal string"),
        (own(usd_per_million={"input": "1e9"}), "must be a decimal string"),
        (own(usd_per_million={"input": True}), "must be a decimal string"),
        (own(usd_per_million={"input": "0.1234567890123456"}), "has more than 15 decimals: round it"),
        (own(usd_per_million={"input": "1", "input_uncached": "1"}), "input_uncached is given twice"),
        (own(until="2026-13-01"), "until must be a day"),
        (own(until=datetime(2026, 1, 1, 5)), "until must be a day"),  # noqa: DTZ001 - as a YAML reader may give it
        (own(until=20260101), "until must be a day"),
        ({**own(until="2025-12-31"), "from": "2026-01-01"}, "until 2025-12-31 is before from 2026-01-01: swap them"),
        (own(max_output_tokens="4096"), "max_output_tokens must be a whole number above 0"),
        (own(max_output_tokens=0), "max_output_tokens must be a whole number above 0"),
        (own(source=5), "source must be text"),
        (own(provider=""), "provider must be text"),
        (own(checked_on="soon"), "checked_on must be a day"),
        (own(discount_percent="15"), "usd_per_million and discount_percent exclude each other"),
        ({"model": "m", "discount_percent": "101"}, 'discount_percent must be a decimal string from "0" to "100"'),
        ({"model": "m", "discount_percent": 12.5}, 'discount_percent: write it as a string: "12.5"'),
        ({"model": "m", "discount": "1"}, "unknown key discount"),
        (own(tiers=[]), "tiers must be a mapping such as"),
        (own(tiers={"batch": {}}), r"tiers\.batch needs prices"),
        (own(tiers={"batch": {"inptu": "1"}}), r"tiers\.batch: unknown key inptu; did you mean input\?"),
        (own(tiers={"default": {"input": "1"}}), r"tiers\.default is the standard tier"),
        (own(tiers={"batch": {"input": "1"}, "batches": {"input": "1"}}), r"tiers\.batches is given twice"),
        (own(above={}), "above must be a list such as"),
        (own(above=[5]), "above 1 must be a mapping such as"),
        (own(above=[{"usd_per_million": {"input": "1"}}]), "above 1 needs input_tokens"),
        (own(above=[{"input_tokens": 5, "usd_per_million": {"input": "1"}}] * 2), "above 2 repeats input_tokens 5"),
        (own(above=[{"input_token": 5}]), "above 1: unknown key input_token; did you mean input_tokens"),
        (own(usd_per_request={"search": "1"}), "usd_per_request: unknown key search"),
        (own(usd_per_request={"request": 0.1}), r"usd_per_request\.request: write it as a string"),
        (own(regions="eu"), "regions must be a mapping such as"),
        (own(regions={"eu": "-1"}), r"regions\.eu must be a decimal string"),
        (own(off_peak="night"), "off_peak must be a mapping such as"),
        (own(off_peak={"usd_per_million": {"input": "1"}}), "hours_utc must be a list of hours"),
        (own(off_peak={"hours_utc": ["9-5"], "usd_per_million": {"input": "1"}}), "hours_utc must be a list of hours"),
        (own(off_peak={"hours_utc": ["09:00-10:00"]}), "off_peak needs usd_per_million"),
        (
            own(off_peak={"hours_utc": ["09:00-10:00"], "weekdays": [0], "usd_per_million": {"input": "1"}}),
            r"weekdays must be a list of 1 \(Monday\) to 7",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_entry_and_the_fix(item: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_overlay([item])
    assert "\n" not in str(raised.value)


def test_the_second_entry_is_named_as_the_second() -> None:
    with pytest.raises(UsageError, match="prices: entry 2"):
        parse_overlay([own(), own(source=5)])


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(
    ["model", "usd_per_million", "tiers", "above", "usd_per_request", "regions", "off_peak", "discount_percent", "from"]
)


@given(st.dictionaries(keys, yaml_values, max_size=5))
def test_any_yaml_is_an_entry_or_one_line_that_names_the_fix(item: dict[str, object]) -> None:
    with contextlib.suppress(UsageError):  # anything else is a traceback for the person at the terminal
        parse_overlay([{"model": "m", "usd_per_million": {"input": "1"}, **item}])
