"""Usage blocks → disjoint classes: arithmetic per dialect, and no JSON whatever that raises or goes negative."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core import usage
from submeter.core.record import TokenClasses
from submeter.core.usage import (
    MAX_TOKENS,
    Usage,
    merge_messages,
    read_chat,
    read_embeddings,
    read_messages,
    read_responses,
)

READERS = [read_chat, read_embeddings, read_responses, read_messages]
NAMES = [
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"),
    *("audio_tokens", "image_tokens", "reasoning_tokens", "prompt_tokens_details", "completion_tokens_details"),
    *(
        "input_tokens_details",
        "output_tokens_details",
        "cache_write_tokens_details",
        "ttl_30m_tokens",
        "ttl_12h_tokens",
    ),
    *("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation", "ephemeral_5m_input_tokens"),
    *("total_tokens", "cached_tokens_details", "prompt_cache_hit_tokens", "cache_creation_tokens", "citation_tokens"),
    *("cache_creation_token_details", "output_tokens_details", "thinking_tokens", "iterations", "prompt_audio_seconds"),
]

counts = st.integers(0, 10**6)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 100), st.integers(), st.floats(), st.text(max_size=3), st.just(MAX_TOKENS)
)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=8)
    ),
    max_leaves=20,
)
blocks = st.dictionaries(st.sampled_from(NAMES), anything, max_size=10)


def test_chat_details_are_parts_of_their_totals() -> None:
    block = {
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "total_tokens": 1500,
        "prompt_tokens_details": {
            "cached_tokens": 400,
            "cache_write_tokens": 90,
            "cache_write_tokens_details": {"ttl_30m_tokens": 50, "ttl_12h_tokens": 30},
            "audio_tokens": 60,
            "image_tokens": 70,
        },
        "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 20, "rejected_prediction_tokens": 9},
    }
    tokens = TokenClasses(
        input_uncached=1000 - 400 - 90 - 60 - 70,
        cached_read=400,
        cache_write=90 - 50 - 30,
        cache_write_30m=50,
        cache_write_12h=30,
        input_audio=60,
        input_image=70,
        output_text=500 - 300 - 20,
        reasoning=300,
        output_audio=20,
    )
    assert read_chat(block) == Usage(tokens)
    assert (tokens.input_total, tokens.output_total, tokens.cache_write_total) == (1000, 500, 90)


def test_responses_details_are_parts_of_their_totals() -> None:
    block = {
        "input_tokens": 80,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 50},
    }
    assert read_responses(block) == Usage(TokenClasses(input_uncached=80 - 64, cached_read=64, reasoning=50))


def test_anthropics_input_excludes_what_the_cache_held() -> None:
    block = {
        "input_tokens": 10,
        "cache_read_input_tokens": 2000,
        "cache_creation_input_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 150},
        "output_tokens": 7,
    }
    tokens = TokenClasses(
        input_uncached=10,
        cached_read=2000,
        cache_write=500 - 100 - 150,
        cache_write_5m=100,
        cache_write_1h=150,
        output_text=7,
    )
    assert read_messages(block) == Usage(tokens)
    assert tokens.input_total == 10 + 2000 + 500


def test_embeddings_have_no_output() -> None:
    assert read_embeddings({"prompt_tokens": 8, "total_tokens": 8}) == Usage(TokenClasses(input_uncached=8))


def test_an_explicit_zero_stays_a_zero() -> None:
    assert read_chat({"prompt_tokens": 0, "completion_tokens": 0}) == Usage(TokenClasses())


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
def test_absent_and_null_details_mean_that_the_provider_says_none(details: object) -> None:
    block = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": details}
    assert read_chat(block) == Usage(TokenClasses(input_uncached=5, output_text=1))


@pytest.mark.parametrize("odd", [float("nan"), True, False, 1.0, 1.5, "7", [], {}, float("inf")])
def test_what_is_no_whole_number_is_named(odd: object) -> None:
    assert read_chat({"prompt_tokens": odd, "completion_tokens": 1}).problem == "prompt_tokens is not a whole number"
    assert read_messages({"input_tokens": 1, "output_tokens": odd}).problem == "output_tokens is not a whole number"
    block = {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": odd}}
    assert read_chat(block) == Usage(problem="reasoning_tokens is not a whole number")


@pytest.mark.parametrize("odd", [-1, MAX_TOKENS + 1, 10**30])
def test_what_is_out_of_range_is_named(odd: int) -> None:
    assert (
        read_responses({"input_tokens": odd, "output_tokens": 1}).problem == "input_tokens is negative or beyond 2^53"
    )


def test_the_largest_count_is_believed() -> None:
    tokens = read_chat({"prompt_tokens": MAX_TOKENS, "completion_tokens": 0}).tokens
    assert tokens == TokenClasses(input_uncached=2**53)


@pytest.mark.parametrize("missing", ["prompt_tokens", "completion_tokens"])
@pytest.mark.parametrize("null", [True, False])
def test_what_is_missing_or_null_is_named(missing: str, null: bool) -> None:
    block: dict[str, object] = {"prompt_tokens": 5, "completion_tokens": 1}
    del block[missing]
    block |= {missing: None} if null else {}
    assert read_chat(block) == Usage(problem=f"{missing} is missing")


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 6}}, "prompt details exceed the prompt tokens"),
        ({"prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 3}}, "prompt details exceed the prompt tokens"),
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, "completion details exceed the completion tokens"),
        (
            {"prompt_tokens_details": {"cache_write_tokens": 2, "cache_write_tokens_details": {"ttl_30m_tokens": 3}}},
            "cache-write details exceed the cache-write tokens",
        ),
        ({"prompt_tokens_details": 5}, "prompt_tokens_details is not an object"),
        ({"completion_tokens_details": []}, "completion_tokens_details is not an object"),
    ],
)
def test_parts_that_contradict_their_total_are_named(block: dict[str, Any], problem: str) -> None:
    assert read_chat({"prompt_tokens": 5, "completion_tokens": 2, **block}) == Usage(problem=problem)


def test_anthropics_parts_of_a_write_may_not_exceed_it() -> None:
    block = {"input_tokens": 1, "output_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 1}}
    assert read_messages(block) == Usage(problem="cache-write details exceed the cache-write tokens")


@pytest.mark.parametrize("block", ["12", 12, [], True])
def test_a_block_that_is_no_object_is_a_problem(block: object) -> None:
    assert all(read(block) == Usage(problem="usage is not an object") for read in READERS)


def test_no_block_is_no_problem() -> None:
    assert all(read(None) == Usage() for read in READERS)


def test_the_last_value_of_two_messages_blocks_wins_and_null_is_none() -> None:
    earlier = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 5}
    later = {"input_tokens": None, "output_tokens": 30, "cache_read_input_tokens": 7}
    assert merge_messages(earlier, later) == {"input_tokens": 10, "output_tokens": 30, "cache_read_input_tokens": 7}


@given(anything | blocks)
def test_any_json_whatever_reads_as_tokens_or_as_a_problem_with_a_fixed_text(block: object) -> None:
    for read in READERS:
        result = read(block)
        if result.tokens is None:
            assert (result.problem is None) == (block is None)
            assert result.problem is None or any(name in result.problem for name in [*NAMES, "usage", "details"])
        else:
            assert result.problem is None
            assert min(msgspec.structs.astuple(result.tokens)) >= 0
            assert result.tokens.input_total <= 3 * MAX_TOKENS


@given(st.lists(counts, min_size=4, max_size=4), st.lists(counts, min_size=3, max_size=3), counts, counts)
def test_the_classes_of_valid_usage_sum_to_the_providers_totals(
    inputs: list[int], outputs: list[int], ttl_30m: int, ttl_12h: int
) -> None:
    cached, written, audio, image = inputs
    prompt, completion = sum(inputs) + ttl_30m + ttl_12h, sum(outputs)
    details = {
        "cached_tokens": cached,
        "cache_write_tokens": written + ttl_30m + ttl_12h,
        "cache_write_tokens_details": {"ttl_30m_tokens": ttl_30m, "ttl_12h_tokens": ttl_12h},
        "audio_tokens": audio,
        "image_tokens": image,
    }
    out = {"reasoning_tokens": outputs[0], "audio_tokens": outputs[1]}
    chat = read_chat(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": details,
            "completion_tokens_details": out,
        }
    )
    responses = read_responses(
        {
            "input_tokens": prompt,
            "output_tokens": completion,
            "input_tokens_details": details,
            "output_tokens_details": out,
        }
    )
    assert chat.tokens is not None
    assert chat == responses
    assert (chat.tokens.input_total, chat.tokens.output_total) == (prompt, completion)
    assert sum(msgspec.structs.astuple(chat.tokens)) == prompt + completion


@given(counts, counts, counts, counts, counts)
def test_the_classes_of_a_messages_block_sum_to_all_its_counts(
    fresh: int, read: int, written_5m: int, written_1h: int, output: int
) -> None:
    block = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_creation": {"ephemeral_5m_input_tokens": written_5m, "ephemeral_1h_input_tokens": written_1h},
        "output_tokens": output,
    }
    tokens = read_messages(block).tokens
    assert tokens is not None
    assert sum(msgspec.structs.astuple(tokens)) == fresh + read + written_5m + written_1h + output


def test_the_names_of_the_problems_are_never_the_providers_bytes() -> None:
    secret = "sk-secret"
    block = {"prompt_tokens": secret, "completion_tokens": {secret: secret}}
    assert all(secret not in str(read(block)) for read in READERS)
    assert usage.MAX_TOKENS == 2**53
