"""OpenAI's SDK → relay → translator → a provider of another dialect: text, tools, usage and cost, exactly."""

import base64
import json
import struct
from collections import Counter
from typing import Any

import pytest
from openai import OpenAI

from harness.processes import Unit
from translate.conftest import CALLER_KEY, PROVIDER_KEY
from translate.emulator import OUTPUT_TOKENS, TEXT, THOUGHT, TOOL, Emulator

USER: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüezi! https://example.com"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]
SERVED = {"claude-haiku-4-5": "claude-haiku-4-5-20251001", "gemini-2.5-flash": "gemini-2.5-flash"}
MODELS = tuple(SERVED)
# USD per million tokens × tokens = micro-USD; × 1000 = nano-USD.
CLAUDE_NANO_USD = 1000 * 21 + 100 * 1000 + 1250 * 100 + 2000 * 200 + 5000 * OUTPUT_TOKENS
# Text: 1200 − 1000 cached − 50 audio. Cached audio has a price of its own.
GEMINI_NANO_USD = 300 * 150 + 30 * 950 + 100 * 50 + 1000 * 50 + 2500 * (40 + 60)


def last_row(unit: Unit) -> dict[str, Any]:
    return unit.rows()[-1]


def assert_settled(unit: Unit, model: str) -> None:
    row = last_row(unit)
    assert (row["model_served"], row["usage_source"], row["cost_state"]) == (SERVED[model], "provider", "exact")
    if model.startswith("claude"):
        assert row["upstream"] == "claude"
        assert (row["input_tokens"], row["cached_input_tokens"], row["cache_write_tokens"]) == (1321, 1000, 300)
        assert row["output_tokens"] == OUTPUT_TOKENS
        assert row["cost_nano_usd"] == CLAUDE_NANO_USD
        assert row["upstream_request_id"] == "req-17"
    else:
        assert row["upstream"] == "google"
        assert (row["input_tokens"], row["cached_input_tokens"], row["cache_write_tokens"]) == (1200, 1000, 0)
        assert (row["output_tokens"], row["reasoning_tokens"]) == (100, 60)
        assert row["cost_nano_usd"] == GEMINI_NANO_USD


@pytest.mark.parametrize("model", MODELS)
def test_whole(client: OpenAI, translating: Unit, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=USER, tools=TOOLS)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, answer.model) == (TEXT, "tool_calls", SERVED[model])
    assert [call.function.name for call in choice.message.tool_calls or ()] == ["weather"]
    assert json.loads((choice.message.tool_calls or [])[0].function.arguments) == TOOL
    assert choice.message.model_dump()["reasoning_content"] == THOUGHT
    assert_settled(translating, model)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("include_usage", [True, False])
def test_streamed(client: OpenAI, translating: Unit, model: str, include_usage: bool) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=USER, tools=TOOLS, stream=True, stream_options={"include_usage": include_usage}
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == TEXT
    assert "".join(delta.model_dump().get("reasoning_content") or "" for delta in deltas) == THOUGHT
    functions = [call.function for delta in deltas for call in delta.tool_calls or () if call.function]
    assert "".join(function.name or "" for function in functions) == "weather"
    assert json.loads("".join(function.arguments or "" for function in functions)) == TOOL
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
    assert {chunk.model for chunk in chunks} == {SERVED[model]}
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [include_usage]
    assert_settled(translating, model)
    assert last_row(translating)["ttft_ns"] > 0


def test_thinking_tokens_are_reasoning_only_where_the_provider_counts_them(client: OpenAI, translating: Unit) -> None:
    for model, reasoning in (("claude-haiku-4-5-does-think", 30), ("claude-haiku-4-5", 0)):
        list(client.chat.completions.create(model=model, messages=USER, tools=TOOLS, stream=True))
        row = last_row(translating)
        assert (row["output_tokens"], row["reasoning_tokens"]) == (OUTPUT_TOKENS, reasoning)
        assert row["cost_nano_usd"] == CLAUDE_NANO_USD  # thinking has the price of output


def test_usage_that_the_provider_does_not_send_is_not_made_up(client: OpenAI, translating: Unit) -> None:
    answer = client.chat.completions.create(
        model="gemini-2.5-flash-does-silent", messages=USER, stream=True, stream_options={"include_usage": True}
    )
    assert all(chunk.usage is None for chunk in answer)
    row = last_row(translating)
    assert row["usage_source"] != "provider"
    assert row["cost_state"] == "estimated"
    assert row["cost_low_nano_usd"] <= row["cost_high_nano_usd"]


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_embeddings(client: OpenAI, translating: Unit, encoding: Any) -> None:
    answer = client.with_raw_response.embeddings.create(
        model="gemini-embedding-001", input=["a", encoding], encoding_format=encoding
    )
    data = json.loads(answer.text)["data"]
    vectors = [item["embedding"] for item in data]
    if encoding == "base64":
        vectors = [list(struct.unpack("<2f", base64.b64decode(vector))) for vector in vectors]
    assert vectors == [[0.5, -0.25]] * 2
    # Gemini says no usage for embeddings.
    assert last_row(translating)["usage_source"] != "provider"


def test_the_provider_gets_the_operators_key_and_nothing_of_the_caller(client: OpenAI, emulator: Emulator) -> None:
    before = len(emulator.calls)
    for model in MODELS:
        client.chat.completions.create(
            model=model, messages=USER, extra_headers={"x-api-key": CALLER_KEY}, metadata={"team": "search"}
        )
    seen = emulator.calls[before:]
    assert [path for path, _, _ in seen] == ["/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent"]
    assert [headers.get("x-api-key", headers.get("x-goog-api-key")) for _, headers, _ in seen] == [PROVIDER_KEY] * 2
    assert CALLER_KEY not in str(seen)
    assert "search" not in str(seen)
    assert Counter("authorization" in headers for _, headers, _ in seen) == {False: 2}


def test_the_provider_is_asked_what_the_caller_asked(client: OpenAI, emulator: Emulator) -> None:
    client.chat.completions.create(
        model="claude-haiku-4-5", messages=USER, tools=TOOLS, max_tokens=77, temperature=0.5, stop=["END"], user="u-1"
    )
    _, _, body = emulator.calls[-1]
    assert (body["model"], body["max_tokens"], body["temperature"], body["stop_sequences"]) == (
        *("claude-haiku-4-5", 77, 0.5),
        ["END"],
    )
    assert body["system"] == [{"type": "text", "text": "Be brief."}]
    assert body["tools"][0]["name"] == "weather"
