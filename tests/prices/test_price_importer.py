"""litellm's price map → our entries: each rule of reading on a small map, and the shipped snapshot's known prices."""

import json
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core.cost import price_call
from submeter.core.pricebook import Bracket, PriceBook, PriceEntry
from submeter.core.record import TOKEN_CLASSES, TokenClasses
from submeter.errors import UsageError
from submeter.prices.extras import parse_hours
from submeter.prices.importer import Compiled, compile_map

CHAT = '"mode": "chat", "litellm_provider": "openai"'


def compiled(text: str) -> Compiled:
    return compile_map(text.encode())


def only(text: str) -> PriceEntry:
    entries = compiled(text).entries
    assert len(entries) == 1
    return entries[0]


def prices(*brackets: Bracket) -> dict[int, dict[str, str]]:
    return {b.above_tokens: {name: str(price) for name, price in b.usd_per_million.items()} for b in brackets}


def test_a_price_keeps_its_decimals_and_never_becomes_a_float() -> None:
    entry = only(f'{{"m": {{{CHAT}, "input_cost_per_token": 1.5E-7, "output_cost_per_token": 6e-07}}}}')
    (standard,) = entry.tiers["standard"]
    assert prices(standard) == {0: {"input_uncached": "0.15", "output_text": "0.6"}}
    assert all(type(price) is Decimal for price in standard.usd_per_million.values())
    assert (entry.model, entry.provider, entry.mode) == ("m", "openai", "chat")


def test_binary_dust_is_rounded_away() -> None:
    entry = only(f'{{"m": {{{CHAT}, "input_cost_per_token": 1.3200000000000002E-7}}}}')
    assert prices(*entry.tiers["standard"]) == {0: {"input_uncached": "0.132"}}


def test_suffixes_name_tier_context_and_ttl_in_any_combination_of_the_map() -> None:
    entry = only(f"""{{"m": {{{CHAT},
        "input_cost_per_token": 2e-6, "input_cost_per_token_above_272k_tokens": 4e-6,
        "input_cost_per_token_above_272k_tokens_priority": 8e-6, "input_cost_per_token_batches": 1e-6,
        "cache_creation_input_token_cost": 2.5e-6, "cache_creation_input_token_cost_above_12hr": 5e-6,
        "cache_creation_input_token_cost_above_12hr_above_272k_tokens_flex": 7e-6,
        "cache_read_input_token_cost_flex": 1e-7, "output_cost_per_reasoning_token": 9e-6,
        "input_cost_per_audio_token": 3e-6, "output_cost_per_audio_token": 4e-6, "input_cost_per_image_token": 5e-6
    }}}}""")
    assert {tier: prices(*brackets) for tier, brackets in entry.tiers.items()} == {
        "standard": {
            0: {
                "input_uncached": "2",
                "cache_write_30m": "2.5",
                "cache_write_12h": "5",
                "input_audio": "3",
                "input_image": "5",
                "reasoning": "9",
                "output_audio": "4",
            },
            272_000: {"input_uncached": "4"},
        },
        "batch": {0: {"input_uncached": "1"}},
        "flex": {0: {"cached_read": "0.1"}, 272_000: {"cache_write_12h": "7"}},
        "priority": {272_000: {"input_uncached": "8"}},
        "fast": {272_000: {"input_uncached": "8"}},  # OpenAI's other name of it
    }


def test_the_plain_write_price_is_that_of_the_default_ttl() -> None:
    text = '{{"{key}": {{"mode": "chat", "litellm_provider": "{provider}", "cache_creation_input_token_cost": 1e-6}}}}'
    for key, provider, name in (
        ("claude-x", "anthropic", "cache_write_5m"),
        ("us.anthropic.claude-x-v1:0", "bedrock", "cache_write_5m"),
        ("m", "mistral", "cache_write"),
    ):
        entry = only(text.format(key=key, provider=provider))
        assert prices(*entry.tiers["standard"]) == {0: {name: "1"}}


def test_a_list_of_context_ranges_becomes_brackets() -> None:
    entry = only("""{"dashscope/q": {"mode": "chat", "litellm_provider": "dashscope", "tiered_pricing": [
        {"input_cost_per_token": 5e-8, "output_cost_per_token": 4e-7, "range": [0, 256000.0]},
        {"input_cost_per_token": 2.5e-7, "output_cost_per_reasoning_token": 2e-6, "range": [256000.0, 1000000.0]}]}}""")
    assert prices(*entry.tiers["standard"]) == {
        0: {"input_uncached": "0.05", "output_text": "0.4"},
        256_000: {"input_uncached": "0.25", "reasoning": "2"},
    }


def test_xais_threshold_belongs_to_the_higher_bracket() -> None:
    entry = only("""{"xai/g": {"mode": "chat", "litellm_provider": "xai",
        "input_cost_per_token": 1e-6, "input_cost_per_token_above_200k_tokens": 2e-6}}""")
    cost = [price_call(TokenClasses(count), entry, None) for count in (199_999, 200_000)]
    assert [c.total if c else None for c in cost] == [199_999 * 1000, 200_000 * 2000]


@pytest.mark.parametrize(
    ("key", "provider", "expected"),
    [
        ("gpt-4o", "openai", ("openai", "gpt-4o")),
        ("gpt-3.5-turbo-instruct", "text-completion-openai", ("openai", "gpt-3.5-turbo-instruct")),
        ("groq/llama-x", "groq", ("groq", "llama-x")),
        ("azure/us/gpt-4o", "azure", ("azure", "us/gpt-4o")),
        ("vertex_ai/claude-x", "vertex_ai-anthropic_models", ("vertex_ai", "claude-x")),
        ("amazon.nova", "bedrock_converse", ("bedrock", "amazon.nova")),
        ("together_ai/openai/oss", "together_ai", ("together_ai", "openai/oss")),
    ],
)
def test_a_model_is_named_as_its_provider_names_it(key: str, provider: str, expected: tuple[str, str]) -> None:
    fields = {"mode": "chat", "litellm_provider": provider, "input_cost_per_token": 1}
    entry = only(json.dumps({key: fields}))
    assert (entry.provider, entry.model) == expected


def test_what_would_be_wrong_or_is_not_understood_is_counted_by_name() -> None:
    sizes = '"search_context_cost_per_query": {"low": 0.005, "high": 0.014}'
    result = compiled(f"""{{
        "sample_spec": {{{CHAT}, "input_cost_per_token": 1}},
        "a": {{{CHAT}, "input_cost_per_token": 1e-6, {sizes}, "supports_x": true}},
        "b": {{{CHAT}, "input_cost_per_token": "1e-6", "input_dbu_cost_per_token": 1e-6,
            "output_cost_per_token": 1e-6}},
        "c": {{{CHAT}, "input_cost_per_token": 1e-6, "off_peak_pricing": {{"hours_utc": "noon"}},
            "provider_specific_entry": {{"us": 1.1, "moon": 3, "schema": "titan"}}}},
        "pictures": {{"mode": "image_generation"}},
        "by-citation": {{{CHAT}, "input_cost_per_token": 1e-6, "citation_cost_per_token": 1e-6}},
        "perplexity/sonar": {{"mode": "chat", "litellm_provider": "perplexity", "input_cost_per_token": 1e-6, {sizes}}},
        "zero": {{{CHAT}, "input_cost_per_token": 0, "output_cost_per_token": 0.0}},
        "bare": {{{CHAT}, "max_input_tokens": 5}},
        "no-provider": {{"mode": "chat", "input_cost_per_token": 1e-6}},
        "negative": {{{CHAT}, "input_cost_per_token": -1e-6}}
    }}""")
    assert [entry.model for entry in result.entries] == ["a", "b", "c"]
    assert result.left_out == {
        "mode image_generation": 1,
        "priced by the citation token, which no usage names apart": 1,
        "priced by the search context, which no answer names": 1,
        "all prices zero: free, or unknown to the map": 1,
        "without a price per token": 2,
        "without a provider": 1,
    }
    assert result.not_understood == {
        "search_context_cost_per_query": 1,  # its sizes differ
        "input_cost_per_token": 1,  # as text
        "input_dbu_cost_per_token": 1,
        "off_peak_pricing": 1,
        "provider_specific_entry.moon": 1,
    }


def test_a_tier_that_nobody_has_heard_of_is_a_tier() -> None:
    entry = only(f'{{"m": {{{CHAT}, "input_cost_per_token": 2e-6, "input_cost_per_token_lunar": 1e-6}}}}')
    assert prices(*entry.tiers["lunar"]) == {0: {"input_uncached": "1"}}


def test_cached_audio_and_drawn_images_are_classes() -> None:
    entry = only(f"""{{"m": {{{CHAT}, "cache_read_input_audio_token_cost": 1e-6,
        "cache_read_input_audio_token_cost_flex": 5e-7, "output_cost_per_image_token": 3e-5}}}}""")
    assert {tier: prices(*brackets) for tier, brackets in entry.tiers.items()} == {
        "standard": {0: {"cached_audio": "1", "output_image": "30"}},
        "flex": {0: {"cached_audio": "0.5"}},
    }


def test_fees_by_the_request_and_by_the_search() -> None:
    entry = only(f"""{{"m": {{{CHAT}, "input_cost_per_request": 0.005, "output_cost_per_token": 1e-6,
        "search_context_cost_per_query": {{"low": 0.01, "medium": 0.01, "high": 0.01}}}}}}""")
    assert entry.fees == {"request": Decimal("0.005"), "web_search": Decimal("0.01")}
    cost = price_call(TokenClasses(output_text=10), entry, None, web_searches=2)
    assert cost is not None
    assert cost.total == 5_000_000 + 2 * 10_000_000 + 10 * 1000


def test_googles_fee_counts_only_where_it_is_by_the_search() -> None:
    google = '"mode": "chat", "litellm_provider": "gemini", "input_cost_per_token": 1e-6'
    search = '"search_context_cost_per_query": {"low": 0.035, "high": 0.035}'
    assert only(f'{{"gemini/m": {{{google}, {search}}}}}').fees == {}
    each = only(f'{{"gemini/m": {{{google}, {search}, "web_search_billing_unit": "per_query"}}}}')
    assert each.fees == {"web_search": Decimal("0.035")}


def test_regions_multiply() -> None:
    entry = only(f"""{{"m": {{{CHAT}, "input_cost_per_token": 1e-6, "regional_processing_uplift_multiplier_eu": 1.1,
        "regional_endpoint_uplift_multiplier": 1.2, "provider_specific_entry": {{"us": 1.1}}}}}}""")
    assert entry.regions == {"eu": Decimal("1.1"), "us": Decimal("1.1"), "regional": Decimal("1.2")}
    in_eu = PriceBook((entry,)).match("m", "openai", 0, "eu")
    assert in_eu is not None
    cost = price_call(TokenClasses(1000), in_eu.entry, None)
    assert (cost.total if cost else None, in_eu.text) == (1000 * 1100, "exact, region eu × 1.1")


def test_fast_multiplies_every_standard_price_exactly() -> None:
    entry = only("""{"claude-x": {"mode": "chat", "litellm_provider": "anthropic", "input_cost_per_token": 1.1e-6,
        "cache_read_input_token_cost": 1.1e-7, "input_cost_per_token_above_200k_tokens": 2.2e-6,
        "provider_specific_entry": {"fast": 2.5}}}""")
    assert prices(*entry.tiers["fast"]) == {
        0: {"input_uncached": "2.75", "cached_read": "0.275"},
        200_000: {"input_uncached": "5.5", "cached_read": "0.55"},
    }


def test_openais_priority_is_also_called_fast() -> None:
    text = '"input_cost_per_token": 1e-6, "input_cost_per_token_priority": 2e-6'
    assert prices(*only(f'{{"m": {{{CHAT}, {text}}}}}').tiers["fast"]) == {0: {"input_uncached": "2"}}
    other = f'{{"azure/m": {{"mode": "chat", "litellm_provider": "azure", {text}}}}}'
    assert "fast" not in only(other).tiers


def test_prices_that_the_providers_own_page_derives() -> None:
    text = '{{"{key}": {{"mode": "chat", "litellm_provider": "{provider}", "input_cost_per_token": 1e-6, {more}}}}}'
    fireworks = only(text.format(key="m", provider="fireworks_ai", more='"output_cost_per_token": 1e-6'))
    assert prices(*fireworks.tiers["standard"])[0]["cached_read"] == "0.5"
    listed = only(text.format(key="m", provider="fireworks_ai", more='"cache_read_input_token_cost": 1e-7'))
    assert prices(*listed.tiers["standard"])[0]["cached_read"] == "0.1"
    gemini = only(text.format(key="gemini/gemini-x", provider="gemini", more='"cache_read_input_token_cost": 1e-7'))
    assert prices(*gemini.tiers["standard"])[0] == {
        "input_uncached": "1",
        "cached_read": "0.1",
        "input_audio": "1",
        "cached_audio": "0.1",
    }
    more = '"cache_creation_input_token_cost_above_1hr": {hour}, "input_cost_per_token_batches": 5e-7'
    claude = only(text.format(key="claude-x", provider="anthropic", more=more.format(hour="2e-6")))
    assert prices(*claude.tiers["batch"])[0] == {"input_uncached": "0.5", "cache_write_1h": "1"}
    odd = only(text.format(key="claude-x", provider="anthropic", more=more.format(hour="3e-6")))
    assert prices(*odd.tiers["batch"])[0] == {"input_uncached": "0.5"}


OFF_PEAK = """{{"m": {{{chat}, "input_cost_per_token": 2e-6, "output_cost_per_token": 4e-6,
    "off_peak_pricing": {{"input_cost_per_token": 1e-6, {calendar} "windows": [
        {{"hours_utc": ["22:30-01:00"], "weekdays": [1, 5]}}, {{"hours_utc": "00:00-00:00", "weekdays": [6]}}]}}}}}}"""
"""22:30 to 1:00 on Mondays and Fridays, and all Saturday."""


@pytest.mark.parametrize(
    ("at", "utc", "china"),
    [
        ("2026-11-23T22:29:59", 2, 2),  # Monday
        ("2026-11-23T22:30:00", 1, 2),  # a Tuesday in China
        ("2026-11-23T00:59:59", 1, 1),
        ("2026-11-23T01:00:00", 2, 2),
        ("2026-11-22T22:30:00", 2, 1),  # Sunday, a Monday in China
        ("2026-11-28T12:00:00", 1, 1),  # Saturday
        ("2026-11-28T16:00:00", 1, 2),  # Saturday, a Sunday in China
        ("2026-11-27T16:00:00", 2, 1),  # Friday, a Saturday in China
    ],
)
def test_off_peak_hours_are_utc_on_the_calendar_that_the_map_names(at: str, utc: int, china: int) -> None:
    at_ns = int(datetime.fromisoformat(f"{at}+00:00").timestamp()) * 10**9
    for calendar, expected in (("", utc), ('"weekday_timezone": "Asia/Shanghai",', china)):
        entry = only(OFF_PEAK.format(chat=CHAT, calendar=calendar))
        match = PriceBook((entry,)).match("m", "openai", at_ns)
        assert match is not None
        assert prices(*match.entry.tiers["standard"]) == {0: {"input_uncached": str(expected), "output_text": "4"}}
        assert match.applied == (("off-peak",) if expected == 1 else ())


def test_a_calendar_that_is_not_known_is_not_guessed() -> None:
    result = compiled(OFF_PEAK.format(chat=CHAT, calendar='"weekday_timezone": "Europe/Berlin",'))
    assert result.entries[0].off_peak is None
    assert result.not_understood == {"off_peak_pricing": 1}


@pytest.mark.parametrize("text", ["", "9-10", "09:00", "25:00-01:00", "10:60-11:00", "-1:00-02:00", "٠٩:00-10:00"])
def test_hours_that_are_none_are_no_window(text: str) -> None:
    assert parse_hours(text, [1]) == ()


def test_the_day_of_the_import_is_when_a_price_was_checked() -> None:
    text = f'{{"m": {{{CHAT}, "input_cost_per_token": 1e-6}}}}'
    assert compile_map(text.encode(), date(2026, 11, 24)).entries[0].checked_on == date(2026, 11, 24)


def test_of_two_names_for_one_model_the_one_with_the_provider_is_kept() -> None:
    for keys in (("d", "deepseek/d"), ("deepseek/d", "d")):
        fields = {"mode": "chat", "litellm_provider": "deepseek"}
        result = compiled(json.dumps({key: {**fields, "input_cost_per_token": len(key)} for key in keys}))
        assert [str(b.usd_per_million) for b in result.entries[0].tiers["standard"]] == [
            str({"input_uncached": Decimal(len("deepseek/d") * 10**6)})
        ]
        assert result.left_out == {"second name with other prices: deepseek d": 1}


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "{}", '{"m": 5}', '{"m": {"x": NaN}}', "[" * 100_000])
def test_what_is_no_price_map_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(UsageError, match=r"model_prices_and_context_window\.json"):
        compiled(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
field_names = st.sampled_from(
    [
        "mode",
        "litellm_provider",
        "input_cost_per_token",
        "output_cost_per_token_above_128k_tokens_flex",
        "tiered_pricing",
        "max_input_tokens",
        "source",
        "off_peak_pricing",
        "search_context_cost_per_query",
        "provider_specific_entry",
        "regional_endpoint_uplift_multiplier",
        "input_cost_per_request",
    ]
)
plausible = st.sampled_from(
    [
        "chat",
        "openai",
        "xai",
        1e-6,
        0,
        [{"range": [0, 5], "input_cost_per_token": 1e-6}],
        {"us": 1.1, "fast": 2},
        {"low": 0.01, "high": 0.01},
        {"windows": [{"hours_utc": "10:00-09:00", "weekdays": [1]}], "input_cost_per_token": 1e-7},
    ]
)


@given(
    st.dictionaries(st.text(max_size=9), st.dictionaries(field_names, plausible | json_values, max_size=7), max_size=4)
)
@settings(deadline=None)
def test_any_json_compiles_to_prices_or_is_refused(found: object) -> None:
    try:
        entries = compiled(json.dumps(found)).entries
    except UsageError:
        return
    for entry in entries:
        for brackets in entry.tiers.values():
            for bracket in brackets:
                assert set(bracket.usd_per_million) <= set(TOKEN_CLASSES)
                assert all(price.is_finite() and price >= 0 for price in bracket.usd_per_million.values())
        assert set(entry.rate_cards) == set(entry.tiers)
        assert all(number.is_finite() and number >= 0 for number in (*entry.fees.values(), *entry.regions.values()))
        PriceBook((entry,)).find(entry.model, entry.provider, 0)
