"""The caller's own prices: what is read, and the one line for each mistake."""

from datetime import date, datetime
from decimal import Decimal

import pytest

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
    ],
)
def test_a_mistake_is_one_line_that_names_the_entry_and_the_fix(item: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_overlay([item])
    assert "\n" not in str(raised.value)


def test_the_second_entry_is_named_as_the_second() -> None:
    with pytest.raises(UsageError, match="prices: entry 2"):
        parse_overlay([own(), own(source=5)])
