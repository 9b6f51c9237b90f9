"""The real SDKs: each gives its caller through the relay what it gives when pointed straight at the provider, and each
call has a right row."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionToolParam

from harness.processes import Provider, Unit

KEY = "sk-of-a-test"
USER: Any = [
    {"role": "system", "content": "Be brief.\nVery."},
    {"role": "user", "content": "What is a submeter? Grüße."},
]
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
# USD per million tokens, as published: (input, cached input, output)
GPT_4O_MINI = ("0.15", "0.075", "0.60")


@pytest.fixture(scope="module")
def direct(provider: Provider) -> Iterator[OpenAI]:
    with OpenAI(base_url=provider.base_url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def relayed(unit: Unit) -> Iterator[OpenAI]:
    with OpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as client:
        yield client


Ask = Callable[[OpenAI], Any]

OPENAI_CALLS: dict[str, Ask] = {
    "chat": lambda c: c.chat.completions.create(model="gpt-4o-mini", messages=USER),
    "chat n=2": lambda c: c.chat.completions.create(model="gpt-4o-mini", messages=USER, n=2),
    "chat tools": lambda c: c.chat.completions.create(
        model="gpt-4o-mini", messages=USER, tools=[TOOL], tool_choice="required"
    ),
    "chat stream": lambda c: list(c.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True)),
    "chat stream usage": lambda c: list(
        c.chat.completions.create(
            model="gpt-4o-mini", messages=USER, stream=True, stream_options={"include_usage": True}
        )
    ),
    "chat stream n=2": lambda c: list(c.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True, n=2)),
    "chat stream tools": lambda c: list(
        c.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True, tools=[TOOL], tool_choice="required")
    ),
    "completions": lambda c: c.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once"),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input=["a", "b"]),
    "responses": lambda c: c.responses.create(model="o4-mini", input="Say something.", instructions="Be brief."),
    "responses stream": lambda c: list(c.responses.create(model="o4-mini", input="Say something.", stream=True)),
    "models": lambda c: list(c.models.list()),
}


@pytest.mark.parametrize("name", OPENAI_CALLS)
def test_openai_sdk(direct: OpenAI, relayed: OpenAI, provider: Provider, unit: Unit, name: str) -> None:
    ask = OPENAI_CALLS[name]
    expected = ask(direct)
    before = len(provider.invoice())
    answer = ask(relayed)
    assert _plain(answer) == _plain(expected)
    lines = provider.invoice()[before:]
    if name == "models":
        assert lines == []
        return
    assert_row_matches(unit, lines)


def _plain(answer: Any) -> Any:
    """What a caller sees, as data. ``_request_id`` is the provider's, new each time."""
    if isinstance(answer, list):
        return [_plain(each) for each in answer]
    return answer.model_dump()


def test_without_include_usage_the_caller_gets_no_usage_chunk(direct: OpenAI, relayed: OpenAI) -> None:
    chunks = OPENAI_CALLS["chat stream"](relayed)
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert all(chunk.choices for chunk in chunks)
    with_usage = OPENAI_CALLS["chat stream usage"](relayed)
    assert with_usage[-1].usage is not None


def test_async_openai_concurrently(provider: Provider, unit: Unit) -> None:
    async def ask_all() -> list[str]:
        async with AsyncOpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as client:

            async def one(number: int) -> str:
                stream = await client.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=[{"role": "user", "content": f"Call {number}"}],
                    stream=True,
                    extra_headers={"x-scripted": "output_tokens=50", "x-submeter-app": "many"},
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

            return await asyncio.gather(*(one(number) for number in range(60)))

    before = len(provider.invoice())
    texts = asyncio.run(ask_all())
    assert all(len(text.split()) == 50 for text in texts)
    assert_row_matches(unit, provider.invoice()[before:])
    assert sum(row["app"] == "many" for row in unit.rows()) == 60


ANTHROPIC: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 64,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "What is a submeter?"}],
    "extra_headers": {"x-scripted": "cached_tokens=12;cache_write_5m_tokens=5;cache_write_1h_tokens=3"},
}


def test_anthropic_sdk_whole_and_streamed(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    with (
        Anthropic(base_url=provider.base_url.removesuffix("/v1"), api_key=KEY, max_retries=0) as direct,
        Anthropic(base_url=unit.url, api_key=KEY, max_retries=0) as relayed,
    ):
        expected = direct.messages.create(**ANTHROPIC)
        before += 1
        assert relayed.messages.create(**ANTHROPIC).model_dump() == expected.model_dump()
        events = [list(direct.messages.create(**ANTHROPIC, stream=True))]
        before_stream = len(provider.invoice())
        events.append(list(relayed.messages.create(**ANTHROPIC, stream=True)))
        assert [event.model_dump() for event in events[0]] == [event.model_dump() for event in events[1]]
    lines = [provider.invoice()[before], *provider.invoice()[before_stream:]]
    assert_row_matches(unit, lines)
    row = row_of(unit, lines[1])
    # claude-haiku-4-5, USD per million: input 1.00, cache read 0.10, 5m write 1.25, 1h write 2.00, output 5.00
    uncached = row["input_tokens"] - 12 - 5 - 3
    expected_nano = uncached * 1000 + 12 * 100 + 5 * 1250 + 3 * 2000 + row["output_tokens"] * 5000
    assert row["cost_nano_usd"] == expected_nano
    assert (row["cached_input_tokens"], row["cache_write_tokens"], row["endpoint"]) == (12, 8, "messages")


def test_langchain_openai_streaming(provider: Provider, unit: Unit) -> None:
    """LangChain with a base URL of its own asks for no usage: the relay does, and takes the chunk out."""

    def stream(base_url: str) -> list[Any]:
        model = ChatOpenAI(model="gpt-4o-mini", base_url=base_url, api_key=KEY, max_retries=0)  # type: ignore[arg-type]
        return [(part.content, part.response_metadata, part.usage_metadata) for part in model.stream("Say something.")]

    expected = stream(provider.base_url)
    before = len(provider.invoice())
    assert stream(unit.base_url) == expected
    assert_row_matches(unit, provider.invoice()[before:])


def test_attribution_by_url_header_and_body(unit: Unit, relayed: OpenAI) -> None:
    by_url = relayed.with_options(base_url=f"{unit.url}/by/search/ranker/v1")
    raw = by_url.chat.completions.with_raw_response.create(
        model="gpt-4o-mini",
        messages=USER,
        user="u-1",
        extra_headers={"x-submeter-session": "s-1", "x-submeter-prompt": "rank", "x-submeter-prompt-version": "7"},
    )
    row = unit.row(raw.headers["x-submeter-call-id"])
    found = {key: row[key] for key in ("team", "app", "user", "session", "prompt", "prompt_version")}
    assert found == {
        "team": "search",
        "app": "ranker",
        "user": "u-1",
        "session": "s-1",
        "prompt": "rank",
        "prompt_version": "7",
    }


def test_a_changed_prompt_shows_as_a_new_version_without_any_name(unit: Unit, relayed: OpenAI) -> None:
    def ask(system: str) -> dict[str, Any]:
        raw = relayed.chat.completions.with_raw_response.create(
            model="gpt-4o-mini", messages=[{"role": "system", "content": system}, {"role": "user", "content": "x"}]
        )
        return unit.row(raw.headers["x-submeter-call-id"])

    first, again, changed, other = map(ask, ("Be kind.\nA.", "Be kind.\nA.", "Be kind.\nB.", "Be curt.\nA."))
    assert (first["prompt"], first["prompt_version"]) == (again["prompt"], again["prompt_version"])
    assert first["prompt"] == changed["prompt"]
    assert first["prompt_version"] != changed["prompt_version"]
    assert first["prompt"] != other["prompt"]


def test_a_cost_is_the_usage_at_the_published_price(unit: Unit, relayed: OpenAI) -> None:
    raw = relayed.chat.completions.with_raw_response.create(
        model="gpt-4o-mini",
        messages=USER,
        extra_headers={"x-scripted": "input_tokens=1000;cached_tokens=600;output_tokens=77"},
    )
    row = unit.row(raw.headers["x-submeter-call-id"])
    assert row["cost_nano_usd"] == 400 * 150 + 600 * 75 + 77 * 600
    assert (row["cost_state"], row["usage_source"]) == ("exact", "provider")
    assert (row["input_tokens"], row["cached_input_tokens"], row["output_tokens"]) == (1000, 600, 77)


def row_of(unit: Unit, line: dict[str, Any]) -> dict[str, Any]:
    rows = [row for row in unit.rows() if row["upstream_request_id"] == line["request_id"]]
    assert len(rows) == 1, f"{len(rows)} rows for {line['request_id']}"
    return rows[0]


def assert_row_matches(unit: Unit, lines: list[dict[str, Any]]) -> None:
    """Each invoice line has exactly one row, which says the same to the nano-dollar."""
    assert lines
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in unit.rows():
        rows.setdefault(row["upstream_request_id"], []).append(row)
    for line in lines:
        (row,) = rows[line["request_id"]]
        assert row["cost_nano_usd"] == line["cost_nano_usd"]
        assert (row["input_tokens"], row["output_tokens"]) == (line["input_tokens"], line["output_tokens"])
        assert row["cached_input_tokens"] == line["tokens"]["cached_read"]
        assert row["reasoning_tokens"] == line["tokens"]["reasoning"]
        assert (row["model_served"], row["stream"], row["status"]) == (line["model"], line["stream"], 200)
        assert (row["cost_state"], row["outcome"]) == ("exact", "ok")
        assert row["overhead_ns"] > 0
        assert row["ttfb_ns"] <= row["e2e_ns"]
        if row["stream"]:
            assert row["ttfb_ns"] <= row["ttft_ns"] <= row["e2e_ns"]
