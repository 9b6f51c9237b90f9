"""litellm's price map → our entries: each rule of reading on a small map, and the shipped snapshot's known prices."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core.cost import price_tokens
from submeter.core.pricebook import Bracket, PriceEntry
from submeter.core.record import TOKEN_CLASSES, TokenClasses
from submeter.errors import UsageError
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
    cost = [price_tokens(TokenClasses(count), entry, None) for count in (199_999, 200_000)]
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
    result = compiled(f"""{{
        "sample_spec": {{{CHAT}, "input_cost_per_token": 1}},
        "a": {{{CHAT}, "input_cost_per_token": 1e-6, "search_context_cost_per_query": {{}}, "supports_x": true}},
        "b": {{{CHAT}, "input_cost_per_token": "1e-6", "citation_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}},
        "pictures": {{"mode": "image_generation"}},
        "by-the-hour": {{{CHAT}, "input_cost_per_token": 1e-6, "off_peak_pricing": {{}}}},
        "by-the-call": {{{CHAT}, "input_cost_per_token": 1e-6, "input_cost_per_request": 1}},
        "zero": {{{CHAT}, "input_cost_per_token": 0, "output_cost_per_token": 0.0}},
        "bare": {{{CHAT}, "max_input_tokens": 5}},
        "no-provider": {{"mode": "chat", "input_cost_per_token": 1e-6}},
        "negative": {{{CHAT}, "input_cost_per_token": -1e-6}}
    }}""")
    assert [entry.model for entry in result.entries] == ["a", "b"]
    assert result.left_out == {
        "mode image_generation": 1,
        "priced by the hour of the day": 1,
        "priced by the request": 1,
        "all prices zero: free, or unknown to the map": 1,
        "without a price per token": 2,
        "without a provider": 1,
    }
    assert result.not_understood == {
        "search_context_cost_per_query": 1,
        "input_cost_per_token": 1,  # as text
        "citation_cost_per_token": 1,
    }


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
    ]
)
plausible = st.sampled_from(["chat", "openai", "xai", 1e-6, 0, [{"range": [0, 5], "input_cost_per_token": 1e-6}]])


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
