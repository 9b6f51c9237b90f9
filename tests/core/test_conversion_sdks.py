"""What the official SDKs make of an answer in the form that it was not received in: the same object."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from core.conversions import CHAT, COMPLETION, MESSAGE, RESPONSE, kept, streamed
from corpus.recordings import load
from submeter.core.conversion import as_stream, as_whole

Ask = Callable[[str, bool], Awaitable[Any]]
HELLO: Any = [{"role": "user", "content": "Hi"}]
USAGE_CHUNK = json.dumps(
    {
        "id": "chatcmpl-B1",
        "object": "chat.completion.chunk",
        "created": 1763596800,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()


def read_by_sdk(ask: Ask, *, whole: bytes, stream: bytes) -> tuple[Any, Any]:
    """(the whole answer, what came of the stream), as the SDK gives them to its caller."""

    async def answer(request: web.Request) -> web.Response:
        if json.loads(await request.read()).get("stream") is True:
            return web.Response(body=stream, headers={"Content-Type": "text/event-stream; charset=utf-8"})
        return web.Response(body=whole, headers={"Content-Type": "application/json"})

    async def run() -> tuple[Any, Any]:
        app = web.Application()
        app.router.add_post("/{path:.*}", answer)
        async with TestServer(app) as server:
            url = str(server.make_url("/v1"))
            return await ask(url, False), await ask(url, True)

    return asyncio.run(run())


async def chat(url: str, stream: bool) -> Any:
    async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
        if not stream:
            return plain_chat(await client.chat.completions.create(model="m", messages=HELLO))
        options: Any = {"include_usage": True}
        async with client.chat.completions.stream(model="m", messages=HELLO, stream_options=options) as events:
            return plain_chat(await events.get_final_completion())


def plain_chat(completion: Any) -> Any:
    """The accumulated object has members of its own, and a place in each tool call."""
    answer = completion.model_dump(mode="json")
    for choice in answer["choices"]:
        choice["message"].pop("parsed", None)
        for call in choice["message"]["tool_calls"] or []:
            call.pop("index", None)
            call.get("function", {}).pop("parsed_arguments", None)
    return without_unset(answer)


def without_unset(value: Any) -> Any:
    """Without nulls and empty lists: whether they are said is no part of what a caller sees."""
    if isinstance(value, dict):
        return {name: without_unset(each) for name, each in value.items() if each is not None and each != []}
    return [without_unset(each) for each in value] if isinstance(value, list) else value


async def completion(url: str, stream: bool) -> Any:
    async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
        if not stream:
            whole = await client.completions.create(model="m", prompt="Hi")
            return [whole.choices[0].text, whole.choices[0].finish_reason, whole.usage, whole.choices[0].logprobs]
        options: Any = {"include_usage": True}
        events = await client.completions.create(model="m", prompt="Hi", stream=True, stream_options=options)
        chunks = [chunk async for chunk in events]
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
        text = "".join(choice.text for choice in choices)
        return [text, choices[-1].finish_reason, chunks[-1].usage, choices[0].logprobs]


async def response(url: str, stream: bool) -> Any:
    async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
        if not stream:
            return plain_response(await client.responses.create(model="m", input="Hi"))
        async with client.responses.stream(model="m", input="Hi") as events:
            return plain_response(await events.get_final_response())


def plain_response(response: Any) -> Any:
    answer = response.model_dump(mode="json")
    for item in answer["output"]:
        item.pop("parsed_arguments", None)
        for part in item.get("content") or []:
            part.pop("parsed", None)
    return answer


async def message(url: str, stream: bool) -> Any:
    async with AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="k", max_retries=0) as client:
        if not stream:
            return plain_message(await client.messages.create(model="m", max_tokens=9, messages=HELLO))
        async with client.messages.stream(model="m", max_tokens=9, messages=HELLO) as events:
            return plain_message(await events.get_final_message())


def plain_message(message: Any) -> Any:
    answer = message.model_dump(mode="json")
    for block in answer["content"]:
        block.pop("parsed_output", None)
    return answer


def without_custom_tools(chat: dict[str, Any]) -> dict[str, Any]:
    """The SDK's accumulation knows function calls alone."""
    (choice,) = chat["choices"]
    calls = [call for call in choice["message"]["tool_calls"] if call["type"] == "function"]
    return chat | {"choices": [choice | {"message": choice["message"] | {"tool_calls": calls}}]}


WHOLES: dict[str, tuple[Ask, str, dict[str, Any]]] = {
    "chat": (chat, "chat/completions", without_custom_tools(CHAT)),
    "completion": (completion, "completions", COMPLETION),
    "response": (response, "responses", RESPONSE),
    "message": (message, "messages", MESSAGE),
    "recorded chat": (chat, "chat/completions", json.loads(load("chat_whole").body)),
    "recorded response": (response, "responses", json.loads(load("responses_whole").body)),
    "recorded message": (message, "messages", json.loads(load("messages_whole").body)),
}


@pytest.mark.parametrize("name", WHOLES)
def test_a_stream_that_was_made_of_a_whole_answer(name: str) -> None:
    ask, endpoint, whole = WHOLES[name]
    stream = streamed(endpoint, whole)
    assert stream is not None
    of_whole, of_stream = read_by_sdk(ask, whole=json.dumps(whole).encode(), stream=stream)
    assert of_stream == of_whole


STREAMS: dict[str, tuple[Ask, str]] = {
    "chat_include_usage": (chat, "chat/completions"),
    "chat_tool_calls": (chat, "chat/completions"),
    "chat_refusal": (chat, "chat/completions"),
    "chat_reasoning_content": (chat, "chat/completions"),
    "chat_prediction": (chat, "chat/completions"),
    "chat_vllm_prefix_cache": (chat, "chat/completions"),
    "completions_stream": (completion, "completions"),
    "responses_text": (response, "responses"),
    "responses_function_call": (response, "responses"),
    "messages_text": (message, "messages"),
    "messages_thinking": (message, "messages"),
    "messages_thinking_tokens": (message, "messages"),
    "messages_tool_use": (message, "messages"),
    "messages_web_search": (message, "messages"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_whole_answer_that_was_made_of_a_recorded_stream(name: str) -> None:
    """And the stream that is made of that again: all three read the same."""
    ask, endpoint = STREAMS[name]
    stream = load(name).body
    if b'"usage"' not in stream:
        stream = stream.replace(b"data: [DONE]", b"data: %s\n\ndata: [DONE]" % USAGE_CHUNK)
    whole = as_whole(endpoint, kept(endpoint, stream, "stream"))
    assert whole is not None
    of_whole, of_stream = read_by_sdk(ask, whole=whole, stream=stream)
    assert of_stream == of_whole
    again = as_stream(endpoint, kept(endpoint, whole), include_usage=True)
    assert again is not None
    assert read_by_sdk(ask, whole=whole, stream=again) == (of_whole, of_stream)


def test_the_events_of_a_made_stream_are_the_sdks_own() -> None:
    """Each is of a known type, has all of its members, and none that the type lacks."""

    async def responses(url: str) -> list[Any]:
        async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
            return [event async for event in await client.responses.create(model="m", input="Hi", stream=True)]

    async def messages(url: str) -> list[Any]:
        async with AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="k", max_retries=0) as client:
            stream = await client.messages.create(model="m", max_tokens=9, messages=HELLO, stream=True)
            return [event async for event in stream]

    for read, endpoint, whole in ((responses, "responses", RESPONSE), (messages, "messages", MESSAGE)):
        stream = streamed(endpoint, whole)
        assert stream is not None

        async def ask(url: str, _: bool, read: Any = read) -> Any:
            return await read(url)

        events, _ = read_by_sdk(ask, whole=b"{}", stream=stream)
        assert len(events) == stream.count(b"event: ")
        for event in events:
            type(event).model_validate(event.to_dict())
            assert event.model_extra in (None, {}, {"name": "add"}), "the name is in OpenAI's reference"
        assert len({type(event) for event in events}) == len({event.type for event in events})
