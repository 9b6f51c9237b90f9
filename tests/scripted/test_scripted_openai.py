"""The openai SDK and langchain-openai against the scripted provider: what they read is what was planned."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, NotFoundError, RateLimitError
from pydantic import SecretStr

from scripted.harness import Provider
from submeter.scripted.embeddings import vector

pytestmark = pytest.mark.anyio

MESSAGES = cast("Any", [{"role": "user", "content": "How much water?"}])
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = cast("Any", [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}])


@pytest.fixture
async def client(server: Provider) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.url, api_key="any", max_retries=0) as opened:
        yield opened


def scripted(script: str) -> dict[str, str]:
    return {"x-scripted": script}


async def test_chat_whole_and_streamed_say_the_same(client: AsyncOpenAI, server: Provider) -> None:
    whole = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    stream = await client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(text.split()) == 16
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert whole._request_id == server.lines()[0]["request_id"]
    assert whole.service_tier == "default"


async def test_chat_has_n_choices_interleaved(client: AsyncOpenAI, server: Provider) -> None:
    whole = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, n=3)
    stream = await client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, n=3, stream=True, extra_headers=scripted("output_tokens=2")
    )
    indexes = [chunk.choices[0].index async for chunk in stream]
    assert indexes == [0, 1, 2] * 4
    assert len({choice.message.content for choice in whole.choices}) == 3
    assert [line["output_tokens"] for line in server.lines()] == [48, 6]


async def test_chat_calls_a_tool(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, tools=TOOLS, tool_choice="required"
    )
    call = cast("Any", whole.choices[0].message.tool_calls)[0]
    assert (whole.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    assert whole.choices[0].message.content is None
    headers = scripted("tool_call=1")
    async with client.chat.completions.stream(
        model="gpt-4o-mini", messages=MESSAGES, tools=TOOLS, extra_headers=headers
    ) as stream:
        kinds = [event.type async for event in stream]
        streamed = cast("Any", (await stream.get_final_completion()).choices[0].message.tool_calls)[0]
    assert kinds.count("tool_calls.function.arguments.delta") == 16
    assert streamed.function.arguments == call.function.arguments
    assert call.function.arguments.startswith('{"city":"')
    plain = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, tools=TOOLS)
    assert plain.choices[0].message.tool_calls is None


async def test_chat_reasons_first(client: AsyncOpenAI, server: Provider) -> None:
    script = "reasoning_tokens=3;output_tokens=2"
    stream = await client.chat.completions.create(
        model="o4-mini", messages=MESSAGES, stream=True, extra_headers=scripted(script)
    )
    deltas: list[Any] = [chunk.choices[0].delta async for chunk in stream]
    assert [hasattr(delta, "reasoning_content") for delta in deltas] == [False, True, True, True, False, False, False]
    whole = await client.chat.completions.create(
        model="o4-mini", messages=MESSAGES, extra_headers=scripted(script + ";reasoning=hidden")
    )
    assert not hasattr(whole.choices[0].message, "reasoning_content")
    usage = cast("Any", whole.usage)
    assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (5, 3)
    for line in server.lines():
        assert (line["tokens"]["output_text"], line["tokens"]["reasoning"]) == (2, 3)


async def test_chat_is_truncated_by_either_limit(client: AsyncOpenAI) -> None:
    full = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    old = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, max_tokens=5)
    new = await client.chat.completions.create(
        model="o4-mini", messages=MESSAGES, max_completion_tokens=2, extra_headers=scripted("reasoning_tokens=4")
    )
    whole_text, text = full.choices[0].message.content, old.choices[0].message.content
    assert whole_text is not None
    assert text is not None
    assert (old.choices[0].finish_reason, len(text.split())) == ("length", 5)
    assert whole_text.startswith(text)
    assert (new.choices[0].finish_reason, new.choices[0].message.content) == ("length", "")
    usage = cast("Any", new.usage)
    assert usage.completion_tokens_details.reasoning_tokens == usage.completion_tokens == 2


async def test_a_service_tier_is_served_where_it_is_sold(client: AsyncOpenAI, server: Provider) -> None:
    flex = await client.chat.completions.create(model="o4-mini", messages=MESSAGES, service_tier="flex")
    other = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, service_tier="flex")
    assert (flex.service_tier, other.service_tier) == ("flex", "default")
    assert [line["price"]["output"] for line in server.lines()] == ["2.20", "10.00"]


async def test_completions(client: AsyncOpenAI, server: Provider) -> None:
    model = "gpt-3.5-turbo-instruct"
    whole = await client.completions.create(model=model, prompt=["one", "two"], n=2)
    stream = await client.completions.create(model=model, prompt=["one", "two"], n=2, stream=True)
    texts = ["", "", "", ""]
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert [choice.text for choice in whole.choices] == texts
    tokens = await client.completions.create(model=model, prompt=[[1, 2, 3], [4]], max_tokens=1)
    usage = cast("Any", tokens.usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (4, 2)
    assert [line["output_tokens"] for line in server.lines()] == [64, 64, 2]


async def test_embeddings_as_base64_and_as_numbers(client: AsyncOpenAI, server: Provider) -> None:
    model = "text-embedding-3-small"
    packed = await client.embeddings.create(model=model, input=["alpha", "beta"])  # the SDK asks for base64
    plain = await client.embeddings.create(model=model, input="beta", encoding_format="float", dimensions=8)
    assert [len(one.embedding) for one in packed.data] == [1536, 1536]
    assert packed.data[1].embedding == pytest.approx(vector("beta", 1536), abs=1e-6)
    assert plain.data[0].embedding == vector("beta", 8)
    assert sum(number**2 for number in plain.data[0].embedding) == pytest.approx(1)
    assert packed.usage.prompt_tokens == 2 + 1
    assert server.lines()[0]["tokens"]["output_text"] == 0
    large = await client.embeddings.create(model="text-embedding-3-large", input=[1, 2, 3])
    assert (len(large.data[0].embedding), large.usage.total_tokens) == (3072, 3)


EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    *["response.output_text.delta"] * 2,
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def test_responses_stream_in_documented_order(client: AsyncOpenAI) -> None:
    whole = await client.responses.create(model="o4-mini", input="How?", extra_headers=scripted("output_tokens=2"))
    stream = await client.responses.create(
        model="o4-mini", input="How?", stream=True, extra_headers=scripted("output_tokens=2")
    )
    events: list[Any] = [event async for event in stream]
    assert [event.type for event in events] == EVENTS
    assert [event.sequence_number for event in events] == list(range(len(EVENTS)))
    final = events[-1].response
    assert final.output_text == whole.output_text == "".join(e.delta for e in events if e.type.endswith("text.delta"))
    assert final.usage == whole.usage
    assert (final.usage.input_tokens, final.usage.output_tokens) == (1, 2)


async def test_responses_reason_call_tools_and_stop_short(client: AsyncOpenAI, server: Provider) -> None:
    tools = cast("Any", [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}])
    async with client.responses.stream(
        model="o4-mini",
        input=[{"role": "user", "content": "How?"}],
        tools=tools,
        tool_choice="required",
        extra_headers=scripted("reasoning_tokens=2;cached_tokens=1;cache_write_5m_tokens=2"),
    ) as stream:
        kinds = [event.type async for event in stream]
        final: Any = await stream.get_final_response()
    assert kinds.count("response.reasoning_summary_text.delta") == 2
    assert kinds.count("response.function_call_arguments.delta") == 16
    assert [item.type for item in final.output] == ["reasoning", "function_call"]
    assert final.output[1].arguments.startswith('{"city":"')
    assert final.usage.output_tokens_details.reasoning_tokens == 2
    details = final.usage.input_tokens_details
    assert (final.usage.input_tokens, details.cached_tokens, details.cache_write_tokens) == (3, 1, 2)
    assert server.lines()[0]["tokens"]["cache_write"] == 2
    short: Any = await client.responses.create(model="o4-mini", input="How?", max_output_tokens=4)
    assert (short.status, short.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    hidden: Any = await client.responses.create(
        model="o4-mini", input="How?", extra_headers=scripted("reasoning_tokens=2;reasoning=hidden")
    )
    assert [item.type for item in hidden.output] == ["message"]
    assert hidden.usage.output_tokens == 18


async def test_models_and_errors(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert names[0] == "gpt-4o-mini"
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
    with pytest.raises(NotFoundError):
        await client.models.retrieve("gpt-unheard-of")
    with pytest.raises(RateLimitError) as caught:
        await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_headers=scripted("status=429"))
    assert caught.value.code == "rate_limit_exceeded"


async def test_moderations_and_images_have_no_invoice_line(client: AsyncOpenAI, server: Provider) -> None:
    moderation = await client.moderations.create(input="How?")
    image = await client.images.generate(model="gpt-image-1", prompt="a meter")
    assert moderation.results[0].flagged is False
    assert cast("Any", image.data)[0].b64_json.startswith("iVBOR")
    assert server.lines() == []


async def test_model_served_is_named_and_billed(client: AsyncOpenAI, server: Provider) -> None:
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, extra_headers=scripted("model_served=gpt-4o-mini")
    )
    assert answer.model == server.lines()[0]["model"] == "gpt-4o-mini"


async def test_langchain(server: Provider) -> None:
    async with DefaultAsyncHttpxClient() as http:  # its own would live on in a cache, beyond this event loop
        shared = {"base_url": server.url, "api_key": SecretStr("any"), "http_async_client": http}
        await _check_langchain_chat(ChatOpenAI(model="gpt-4o-mini", **cast("Any", shared)))
        responses = ChatOpenAI(model="o4-mini", use_responses_api=True, **cast("Any", shared))
        assert len(str((await responses.ainvoke("How?")).text).split()) == 16
        embeddings = OpenAIEmbeddings(
            model="text-embedding-3-small", check_embedding_ctx_length=False, **cast("Any", shared)
        )
        assert len(await embeddings.aembed_query("How?")) == 1536
    assert [line["reported"] for line in server.lines()] == [True] * 5


async def _check_langchain_chat(model: ChatOpenAI) -> None:
    whole = await model.ainvoke("How much water?")
    chunks = [chunk async for chunk in model.astream("How much water?", stream_usage=True)]
    assert "".join(str(chunk.content) for chunk in chunks) == whole.content
    assert cast("Any", whole.usage_metadata)["output_tokens"] == 16
    assert sum(cast("Any", chunk.usage_metadata or {}).get("output_tokens", 0) for chunk in chunks) == 16
    tools = model.bind_tools([{"name": "weather", "description": "d", "parameters": PARAMETERS}], tool_choice="any")
    assert cast("Any", await tools.ainvoke("How?")).tool_calls[0]["name"] == "weather"
