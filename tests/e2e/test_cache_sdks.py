"""The official SDKs read an answer from the cache as they read the original, in the form it was kept in and in the
other one: text, reasoning, calls of functions and usage."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from harness.processes import Provider, Unit

KEY = "sk-of-a-test"
NUMBERS = count()
SCRIPTS = {
    "text": "fixed_ids=1;text=unicode",
    "reasoning": "fixed_ids=1;reasoning_tokens=5",
    "tool call": "fixed_ids=1;tool_call=1",
    "reasoning and tool call": "fixed_ids=1;tool_call=1;reasoning_tokens=5",
}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION: dict[str, Any] = {"name": "weather", "parameters": PARAMETERS}

Ask = Callable[[Any, str, str], Any]
"""(client, question, script) → what the SDK's caller sees, as data."""


@pytest.fixture(scope="module")
def unit(module_dir: Any, provider: Provider) -> Iterator[Unit]:
    directory = module_dir / "tools"
    directory.mkdir()
    unit = Unit(directory, provider, config="cache: {tools: true}")
    yield unit
    unit.close()


def _headers(script: str) -> dict[str, str]:
    return {"x-scripted": script}


def chat(client: OpenAI, question: str, script: str, **more: Any) -> Any:
    return client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": question}],
        temperature=0,
        tools=[{"type": "function", "function": FUNCTION}],  # type: ignore[list-item]
        extra_headers=_headers(script),
        **more,
    )


def chat_whole(client: OpenAI, question: str, script: str) -> Any:
    return _without_empty_annotations(chat(client, question, script).model_dump())


def _without_empty_annotations(completion: dict[str, Any]) -> dict[str, Any]:
    """A whole answer has an empty list of them, a stream says nothing."""
    for choice in completion["choices"]:
        choice["message"]["annotations"] = choice["message"].get("annotations") or None
    return completion


def chat_stream(client: OpenAI, question: str, script: str) -> Any:
    return [chunk.model_dump() for chunk in chat(client, question, script, stream=True)]


def chat_gathered(client: OpenAI, question: str, script: str) -> Any:
    """The stream as the SDK itself puts it together."""
    with client.chat.completions.stream(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": question}],
        temperature=0,
        tools=[{"type": "function", "function": FUNCTION}],
        stream_options={"include_usage": True},
        extra_headers=_headers(script),
    ) as stream:
        return _without_empty_annotations(stream.get_final_completion().model_dump())


def completions_whole(client: OpenAI, question: str, script: str) -> Any:
    return client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=question, temperature=0, extra_headers=_headers(script)
    ).model_dump()


def completions_stream(client: OpenAI, question: str, script: str) -> Any:
    stream = client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=question, temperature=0, stream=True, extra_headers=_headers(script)
    )
    return [chunk.model_dump() for chunk in stream]


def responses(client: OpenAI, question: str, script: str, **more: Any) -> Any:
    return client.responses.create(
        model="o4-mini",
        input=question,
        temperature=0,
        tools=[{"type": "function", "strict": False, **FUNCTION}],  # type: ignore[list-item]
        extra_headers=_headers(script),
        **more,
    )


def responses_whole(client: OpenAI, question: str, script: str) -> Any:
    return responses(client, question, script).model_dump()


def responses_stream(client: OpenAI, question: str, script: str) -> Any:
    return [event.model_dump() for event in responses(client, question, script, stream=True)]


def responses_gathered(client: OpenAI, question: str, script: str) -> Any:
    return list(responses(client, question, script, stream=True))[-1].response.model_dump()


def _messages(question: str, script: str) -> dict[str, Any]:
    return {
        "model": "claude-haiku-4-5",
        "max_tokens": 64,
        "extra_body": {"temperature": 0},  # the SDK has no argument for it any more
        "messages": [{"role": "user", "content": question}],
        "tools": [{"name": "weather", "input_schema": PARAMETERS}],
        "extra_headers": _headers(script),
    }


def messages_whole(client: Anthropic, question: str, script: str) -> Any:
    return client.messages.create(**_messages(question, script)).model_dump()


def messages_stream(client: Anthropic, question: str, script: str) -> Any:
    return [event.model_dump() for event in client.messages.create(**_messages(question, script), stream=True)]


def messages_gathered(client: Anthropic, question: str, script: str) -> Any:
    with client.messages.stream(**_messages(question, script)) as stream:
        return stream.get_final_message().model_dump()


FORMS: dict[str, dict[str, Ask]] = {
    "chat": {"whole": chat_whole, "stream": chat_stream, "gathered": chat_gathered},
    "completions": {"whole": completions_whole, "stream": completions_stream},
    "responses": {"whole": responses_whole, "stream": responses_stream, "gathered": responses_gathered},
    "messages": {"whole": messages_whole, "stream": messages_stream, "gathered": messages_gathered},
}


@pytest.fixture(scope="module")
def clients(provider: Provider, unit: Unit) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Dialect → a client of the provider itself, and one of the relay."""
    with (
        OpenAI(base_url=provider.base_url, api_key=KEY, max_retries=0) as direct,
        OpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as relayed,
        Anthropic(base_url=provider.base_url.removesuffix("/v1"), api_key=KEY, max_retries=0) as direct_too,
        Anthropic(base_url=unit.url, api_key=KEY, max_retries=0) as relayed_too,
    ):
        openai, anthropic = (direct, relayed), (direct_too, relayed_too)
        yield {"chat": openai, "completions": openai, "responses": openai, "messages": anthropic}


def keep(ask: Ask, client: Any, question: str, script: str) -> None:
    """Twice: once the second is answered the first is kept, which its own caller does not wait for."""
    for _ in range(2):
        ask(client, question, SCRIPTS[script])


def new_question() -> str:
    return f"What of {next(NUMBERS)}?"


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("dialect", FORMS)
@pytest.mark.parametrize("form", ["whole", "stream"])
def test_a_replayed_answer_reads_like_the_original(
    clients: dict[str, tuple[Any, Any]], provider: Provider, dialect: str, form: str, script: str
) -> None:
    ask, question, (direct, relayed) = FORMS[dialect][form], new_question(), clients[dialect]
    original = ask(direct, question, SCRIPTS[script])
    before = len(provider.invoice())
    assert ask(relayed, question, SCRIPTS[script]) == original
    assert ask(relayed, question, SCRIPTS[script]) == original
    assert len(provider.invoice()) == before + 1, "the second came from the cache"


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("dialect", FORMS)
def test_a_kept_stream_reads_like_the_whole_answer(
    clients: dict[str, tuple[Any, Any]], provider: Provider, dialect: str, script: str
) -> None:
    forms, question, (direct, relayed) = FORMS[dialect], new_question(), clients[dialect]
    original = forms["whole"](direct, question, SCRIPTS[script])
    keep(forms["stream"], relayed, question, script)
    before = len(provider.invoice())
    assert forms["whole"](relayed, question, SCRIPTS[script]) == original
    assert len(provider.invoice()) == before, "it came from the cache"


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_a_kept_whole_answer_reads_like_the_stream(
    clients: dict[str, tuple[Any, Any]], provider: Provider, dialect: str, script: str
) -> None:
    """In other pieces; what the SDK makes of all of them is the same."""
    forms, question, (direct, relayed) = FORMS[dialect], new_question(), clients[dialect]
    original = forms["gathered"](direct, question, SCRIPTS[script])
    keep(forms["whole"], relayed, question, script)
    before = len(provider.invoice())
    assert forms["gathered"](relayed, question, SCRIPTS[script]) == original
    assert len(provider.invoice()) == before, "it came from the cache"
