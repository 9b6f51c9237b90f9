"""The anthropic SDK against the scripted provider."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from anthropic import APIStatusError, AsyncAnthropic

from scripted.harness import MESSAGES, Provider

pytestmark = pytest.mark.anyio

ASKED = cast("Any", [{"role": "user", "content": "How much water?"}])
TOOLS = cast("Any", [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}}])
HAIKU = "claude-haiku-4-5"


@pytest.fixture
async def client(server: Provider) -> AsyncIterator[AsyncAnthropic]:
    base_url = server.url.removesuffix("/v1")  # this SDK adds /v1 itself
    async with AsyncAnthropic(base_url=base_url, api_key="any", max_retries=0) as opened:
        yield opened


def scripted(script: str) -> dict[str, str]:
    return {"x-scripted": script}


async def test_whole_and_streamed_say_the_same(client: AsyncAnthropic, server: Provider) -> None:
    headers = scripted("input_tokens=100;cached_tokens=20;cache_write_5m_tokens=30;cache_write_1h_tokens=40")
    whole = await client.messages.create(model=HAIKU, max_tokens=64, messages=ASKED, extra_headers=headers)
    async with client.messages.stream(model=HAIKU, max_tokens=64, messages=ASKED, extra_headers=headers) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == cast("Any", whole.content[0]).text
    for usage in (whole.usage, final.usage):
        assert (usage.input_tokens, usage.output_tokens, usage.service_tier) == (10, 16, "standard")
        assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (20, 70)
        cached = cast("Any", usage.cache_creation)
        assert (cached.ephemeral_5m_input_tokens, cached.ephemeral_1h_input_tokens) == (30, 40)
    assert whole.stop_reason == final.stop_reason == "end_turn"
    assert whole._request_id == server.lines()[0]["request_id"]
    expected = 10 * 1_000 + 20 * 100 + 30 * 1_250 + 40 * 2_000 + 16 * 5_000
    assert [line["cost_nano_usd"] for line in server.lines()] == [expected, expected]


async def test_raw_events_come_in_order(client: AsyncAnthropic) -> None:
    stream = await client.messages.create(
        model=HAIKU, max_tokens=64, messages=ASKED, stream=True, extra_headers=scripted("output_tokens=2")
    )
    assert [event.type async for event in stream] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_ping_follows_the_first_block(server: Provider) -> None:
    answer = await server.post("/v1/messages", {**MESSAGES, "stream": True})
    kinds = [event["type"] for event in answer.events]
    assert kinds[:4] == ["message_start", "content_block_start", "ping", "content_block_delta"]
    assert answer.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_thinking_and_a_tool(client: AsyncAnthropic, server: Provider) -> None:
    async with client.messages.stream(
        model=HAIKU,
        max_tokens=64,
        messages=ASKED,
        tools=TOOLS,
        tool_choice={"type": "any"},
        extra_headers=scripted("reasoning_tokens=3"),
    ) as stream:
        final: Any = await stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert final.content[0].signature.startswith("sig_")
    assert list(final.content[1].input) == ["city"]
    assert final.stop_reason == "tool_use"
    assert (final.usage.output_tokens, final.usage.output_tokens_details.thinking_tokens) == (19, 3)
    whole: Any = await client.messages.create(
        model=HAIKU, max_tokens=2, messages=ASKED, tools=TOOLS, extra_headers=scripted("tool_call=1")
    )
    assert (whole.stop_reason, whole.content[0].input) == ("max_tokens", {})
    assert server.lines()[0]["tokens"]["reasoning"] == 3


async def test_a_write_of_unnamed_duration(client: AsyncAnthropic, server: Provider) -> None:
    whole = await client.messages.create(
        model=HAIKU, max_tokens=1, messages=ASKED, extra_headers=scripted("cache_write_tokens=9")
    )
    assert (whole.usage.cache_creation_input_tokens, whole.usage.cache_creation) == (9, None)
    line = server.lines()[0]
    assert (line["tokens"]["cache_write"], line["tokens"]["input_uncached"]) == (9, 0)
    assert line["cost_nano_usd"] == 9 * 1_250 + 1 * 5_000


async def test_the_root_path_the_models_and_the_errors(client: AsyncAnthropic, server: Provider) -> None:
    answer = await server.post("/messages", MESSAGES)
    assert answer.json["type"] == "message"
    assert [model.id async for model in client.models.list()][-1] == "claude-sonnet-4-5"
    with pytest.raises(APIStatusError) as caught:
        await client.messages.create(model=HAIKU, max_tokens=1, messages=ASKED, extra_headers=scripted("status=529"))
    assert caught.value.status_code == 529
    assert caught.value.response.headers["request-id"] == server.lines()[1]["request_id"]
    missing = await server.post("/v1/messages", {"model": HAIKU, "messages": []})
    assert (missing.status, missing.json["error"]["type"]) == (400, "invalid_request_error")
    assert "max_tokens" in missing.json["error"]["message"]
