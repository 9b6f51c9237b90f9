"""What providers made of OpenAI's and Anthropic's usage: what is inside, what is on top, what is said beside it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.record import TokenClasses
from submeter.core.usage import (
    MAX_SEARCHES,
    Usage,
    WrittenNumber,
    decode_block,
    read_chat,
    read_embeddings,
    read_messages,
    read_responses,
)

TOTALS: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 10}


def total(tokens: TokenClasses | None) -> int:
    assert tokens is not None
    return sum(msgspec.structs.astuple(tokens))


# ---- inside or on top ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "total_tokens", "text", "reasoning"),
    [
        (4, None, 6, 4),  # OpenAI's definition, where no total decides
        (4, 110, 6, 4),  # 100 + 10: the reasoning is in the completion
        (4, 114, 10, 4),  # 100 + 10 + 4: it is on top (xAI)
        (0, 110, 10, 0),
    ],
)
def test_the_total_decides_where_the_reasoning_is(
    named: int, total_tokens: int | None, text: int, reasoning: int
) -> None:
    block = {**TOTALS, "completion_tokens_details": {"reasoning_tokens": named}, "total_tokens": total_tokens}
    tokens = TokenClasses(input_uncached=100, output_text=text, reasoning=reasoning)
    assert read_chat(block) == Usage(tokens)
    assert total_tokens in (None, total(tokens))


def test_more_reasoning_than_completion_is_on_top_or_nonsense() -> None:
    details = {"reasoning_tokens": 317}
    xai = {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 331, "completion_tokens_details": details}
    assert read_chat(xai).tokens == TokenClasses(input_uncached=12, output_text=2, reasoning=317)
    assert read_chat({**xai, "total_tokens": 14}).problem == "completion details exceed the completion tokens"


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "google/gemini-2.5-pro", "models/Gemini-3"])
def test_what_geminis_total_has_on_top_is_thoughts(model: str) -> None:
    block = {**TOTALS, "total_tokens": 150}
    assert read_chat(block, model=model).tokens == TokenClasses(input_uncached=100, output_text=10, reasoning=40)
    assert (
        read_chat(block, model="gpt-5").problem == "total_tokens exceeds the prompt, the completion and the reasoning"
    )
    assert read_chat(block).tokens is None


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({"total_tokens": 109}, "total_tokens is less than its parts"),
        ({"total_tokens": 110.0}, "total_tokens is not a whole number"),
        (
            {"total_tokens": 113, "completion_tokens_details": {"reasoning_tokens": 4}},
            "total_tokens exceeds the prompt, the completion and the reasoning",
        ),
        ({"reasoning_tokens": 4}, "reasoning_tokens may be in the completion or on top of it"),
        (
            {"reasoning_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 5}},
            "reasoning_tokens has two values",
        ),
        ({"citation_tokens": 7}, "citation_tokens is billed and has no class"),
        ({"prompt_audio_seconds": 30}, "prompt_audio_seconds is billed and has no class"),
        ({"prompt_audio_seconds": WrittenNumber("1.5")}, "prompt_audio_seconds is billed and has no class"),
    ],
)
def test_what_cannot_be_decided_is_named(block: dict[str, Any], problem: str) -> None:
    assert read_chat({**TOTALS, **block}) == Usage(problem=problem)


def test_what_is_named_apart_and_empty_is_nothing() -> None:
    block = {**TOTALS, "prompt_audio_seconds": None, "citation_tokens": 0, "reasoning_tokens": 0}
    assert read_chat(block) == Usage(TokenClasses(input_uncached=100, output_text=10))


# ---- the cache under other names, and what is no text --------------------------------------------------------


@pytest.mark.parametrize("name", ["cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"])
def test_a_count_of_cached_tokens_beside_the_totals_is_the_same_count(name: str) -> None:
    tokens = TokenClasses(input_uncached=36, cached_read=64, output_text=10)
    assert read_chat({**TOTALS, name: 64}) == Usage(tokens)
    assert read_chat({**TOTALS, name: 64, "prompt_tokens_details": {"cached_tokens": 64}}) == Usage(tokens)
    assert read_chat({**TOTALS, name: 64, "prompt_tokens_details": {"cached_tokens": None}}) == Usage(tokens)
    twice = read_chat({**TOTALS, name: 64, "prompt_tokens_details": {"cached_tokens": 63}})
    assert twice == Usage(problem="cached_tokens has two values")


def test_a_gateways_cache_writes_are_anthropics_within_the_prompt() -> None:
    block = {
        **TOTALS,
        "prompt_tokens_details": {
            "cache_creation_tokens": 50,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 25},
        },
        "cache_creation_input_tokens": 50,
    }
    tokens = TokenClasses(
        input_uncached=100 - 50, cache_write=50 - 20 - 25, cache_write_5m=20, cache_write_1h=25, output_text=10
    )
    assert read_chat(block) == Usage(tokens)


def test_cached_audio_and_images_are_parts_of_the_audio_and_the_images() -> None:
    cached = {"text_tokens": 10, "audio_tokens": 30, "image_tokens": 5}
    details = {"cached_tokens": 45, "audio_tokens": 40, "image_tokens": 8, "cached_tokens_details": cached}
    tokens = TokenClasses(
        input_uncached=100 - 45 - (40 - 30) - (8 - 5),
        cached_read=45 - 30,
        cached_audio=30,
        input_audio=40 - 30,
        input_image=8 - 5,
        output_text=10,
    )
    assert read_chat({**TOTALS, "prompt_tokens_details": details}) == Usage(tokens)
    assert tokens.input_total == 100


@pytest.mark.parametrize(
    ("details", "problem"),
    [
        (
            {"cached_tokens": 9, "cached_tokens_details": {"audio_tokens": 10}, "audio_tokens": 10},
            "cached_tokens_details exceed the cached_tokens",
        ),
        (
            {"cached_tokens": 10, "cached_tokens_details": {"audio_tokens": 10}},
            "cached audio exceeds the audio_tokens",
        ),
        (
            {"cached_tokens": 10, "cached_tokens_details": {"image_tokens": 10}},
            "cached images exceed the image_tokens",
        ),
        ({"cached_tokens": 90, "image_tokens": 80}, "prompt details exceed the prompt tokens"),
    ],
)
def test_parts_of_the_cache_that_contradict_it_are_named(details: dict[str, Any], problem: str) -> None:
    assert read_chat({**TOTALS, "prompt_tokens_details": details}) == Usage(problem=problem)


def test_images_and_predictions_are_output() -> None:
    details = {"image_tokens": 7, "accepted_prediction_tokens": 1, "rejected_prediction_tokens": 2}
    tokens = read_chat({**TOTALS, "completion_tokens_details": details}).tokens
    assert tokens == TokenClasses(input_uncached=100, output_text=10 - 7, output_image=7)


def test_embeddings_may_name_the_total_alone() -> None:
    assert read_embeddings({"total_tokens": 8}) == Usage(TokenClasses(input_uncached=8))
    assert read_embeddings({"prompt_tokens": 7, "total_tokens": 8}).problem == "total_tokens exceeds prompt_tokens"


# ---- messages ------------------------------------------------------------------------------------------------


def test_thinking_is_a_part_of_the_output() -> None:
    block = {"input_tokens": 5, "output_tokens": 96, "output_tokens_details": {"thinking_tokens": 90}}
    assert read_messages(block) == Usage(TokenClasses(input_uncached=5, output_text=6, reasoning=90))
    block["output_tokens"] = 89
    assert read_messages(block) == Usage(problem="thinking_tokens exceed the output_tokens")


def test_a_compaction_is_billed_on_top_of_the_totals() -> None:
    own = {"type": "message", "input_tokens": 5, "output_tokens": 2}
    compaction = {"type": "compaction", "input_tokens": 900, "cache_read_input_tokens": 50, "output_tokens": 30}
    block = {"input_tokens": 5, "output_tokens": 2, "iterations": [compaction, own]}
    assert read_messages(block) == Usage(TokenClasses(input_uncached=905, cached_read=50, output_text=32))


@pytest.mark.parametrize("odd", [{"type": "advisor_message"}, {"type": "fallback_message"}, {}, 7, None, {"type": []}])
def test_an_iteration_of_another_model_is_named(odd: object) -> None:
    block = {"input_tokens": 5, "output_tokens": 2, "iterations": [odd]}
    assert read_messages(block) == Usage(problem="iterations has one of another model")
    assert read_messages({**block, "iterations": 7}) == Usage(problem="iterations is not a list")


# ---- what is no token ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "searches"),
    [
        ({}, None),
        ({"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9}}, 3),
        ({"server_tool_use": {"web_search_requests": 0}}, 0),
        ({"server_tool_use": None}, None),
        ({"server_side_tool_usage_details": {"web_search_calls": 2}, "num_sources_used": 0}, 2),
        ({"num_search_queries": 4}, 4),
        ({"num_sources_used": 0}, 0),
        ({"num_search_queries": -1}, None),
        ({"num_search_queries": True}, None),
        ({"num_search_queries": MAX_SEARCHES + 1}, None),
        ({"server_tool_use": 5}, None),
    ],
)
def test_searches_are_counted_where_they_are_said(block: dict[str, Any], searches: int | None) -> None:
    assert read_chat({**TOTALS, **block}).web_searches == searches
    assert read_messages({"input_tokens": 1, "output_tokens": 1, **block}).web_searches == searches


@pytest.mark.parametrize(
    ("geo", "region"),
    [
        *[("us", "us"), ("eu-west", "eu-west"), ("global", None), ("not_available", None), ("", None), (7, None)],
        *[("x" * 33, None), ("a\x00b", None), ("\ud800", None), (None, None)],
    ],
)
def test_a_region_is_one_that_may_have_a_price(geo: object, region: str | None) -> None:
    assert read_messages({"input_tokens": 1, "output_tokens": 1, "inference_geo": geo}).region == region


@pytest.mark.parametrize(
    ("beside", "cost"),
    [
        (b'"cost":0.00014', "0.00014"),
        (b'"cost":1.40e-05', "1.40e-05"),
        (b'"cost":0.10000000000000000555', "0.10000000000000000555"),  # a float would be 0.1
        (b'"cost":3', "3"),
        (b'"cost":0', "0"),
        (b'"cost":{"total_cost":0.006,"request_cost":0.005}', "0.006"),
        (b'"cost_in_usd_ticks":37756000', "0.0037756000"),
        (b'"cost":2.5e-05,"is_byok":true,"cost_details":{"upstream_inference_cost":0.0005}', "0.000525"),
        (b'"cost":0.0005,"is_byok":false,"cost_details":{"upstream_inference_cost":0.0005}', "0.0005"),
        (b'"cost":0.0005,"is_byok":true,"cost_details":{"upstream_inference_cost":null}', "0.0005"),
        (b'"cost":-0.1', None),
        (b'"cost":-1', None),
        (b'"cost":true', None),
        (b'"cost":"0.1"', None),
        (b'"cost":1e400', None),
        (b'"cost":1e-99999999999', None),
        (b'"cost":' + b"9" * 40, None),
        (b'"cost":0.' + b"1" * 40, None),
    ],
)
def test_the_providers_own_cost_keeps_every_digit(beside: bytes, cost: str | None) -> None:
    block = decode_block(b'{"prompt_tokens":1,"completion_tokens":1,' + beside + b"}")
    assert read_chat(block).cost_usd == cost
    assert read_chat(decode_block(b"{" + beside + b"}")).cost_usd == cost, "also of a block that is not believed"


@given(st.integers(0, 10**12), st.integers(0, 12))
def test_an_amount_is_kept_as_it_was_written(digits: int, places: int) -> None:
    written = f"{digits // 10**places}.{digits % 10**places:0{max(places, 1)}d}"
    assert read_chat(decode_block(f'{{"cost":{written}}}'.encode())).cost_usd == written


# ---- every valid usage ---------------------------------------------------------------------------------------

counts = st.integers(0, 10**6)


@st.composite
def openai_blocks(draw: st.DrawFn) -> tuple[dict[str, Any], int, int]:
    """(a valid block, its input, its output) under chat's names, as any of its providers writes it."""
    text, audio, image, audio_cached, image_cached, text_cached, written = (draw(counts) for _ in range(7))
    answer, thought, spoken, drawn = (draw(counts) for _ in range(4))
    where = draw(st.sampled_from(["inside", "on top", "inside, no total", "hidden"]))
    cached = text_cached + audio_cached + image_cached
    prompt = text + audio + image + cached + written
    output = answer + thought + spoken + drawn
    inside = where.startswith("inside")
    block: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output if inside else output - thought,
        "prompt_tokens_details": {
            "audio_tokens": audio + audio_cached,
            "image_tokens": image + image_cached,
            "cached_tokens_details": {"audio_tokens": audio_cached, "image_tokens": image_cached},
        },
        "completion_tokens_details": {"audio_tokens": spoken, "image_tokens": drawn},
    }
    beside = draw(st.sampled_from(["cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", None]))
    (block["prompt_tokens_details"] if beside is None else block)[beside or "cached_tokens"] = cached
    write = draw(st.sampled_from(["cache_write_tokens", "cache_creation_tokens"]))
    block["prompt_tokens_details"][write] = written
    if where != "hidden":
        block["completion_tokens_details"]["reasoning_tokens"] = thought
    if where != "inside, no total":
        block["total_tokens"] = prompt + output
    return block, prompt, output


@given(openai_blocks())
def test_the_classes_sum_to_the_totals_whoever_the_provider_is(valid: tuple[dict[str, Any], int, int]) -> None:
    block, prompt, output = valid
    renamed = {
        {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}.get(name, name): value
        for name, value in block.items()
    }
    renamed["input_tokens_details"] = renamed.pop("prompt_tokens_details")
    renamed["output_tokens_details"] = renamed.pop("completion_tokens_details")
    for read in (read_chat(block, model="gemini-3"), read_responses(renamed, model="gemini-3")):
        assert read.problem is None
        assert read.tokens is not None
        assert (read.tokens.input_total, read.tokens.output_total) == (prompt, output)
        assert total(read.tokens) == prompt + output


@given(st.lists(st.lists(counts, min_size=5, max_size=5), min_size=1, max_size=4))
def test_the_classes_of_messages_sum_to_the_totals_and_the_compactions(usages: list[list[int]]) -> None:
    blocks = [
        {
            "input_tokens": fresh,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written_5m + written_1h,
            "cache_creation": {"ephemeral_5m_input_tokens": written_5m, "ephemeral_1h_input_tokens": written_1h},
            "output_tokens": output,
            "type": "compaction",
        }
        for fresh, read, written_5m, written_1h, output in usages
    ]
    assert total(read_messages({**blocks[0], "iterations": blocks[1:]}).tokens) == sum(map(sum, usages))
