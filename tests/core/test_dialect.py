"""The dialects' readers, where a recorded answer would be a long way to say it."""

import json
from typing import Any

import pytest

from submeter.core.answer import Answer
from submeter.core.dialect import Dialect, dialect_for
from submeter.core.record import TokenClasses

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
TOKENS = TokenClasses(input_uncached=9, output_text=3)


def read(endpoint: str, *events: dict[str, Any]) -> Answer:
    dialect: Dialect = dialect_for(endpoint)
    for event in events:
        dialect.read_event(b"", json.dumps(event).encode())
    return dialect.answer


def whole(endpoint: str, body: dict[str, Any]) -> Answer:
    dialect = dialect_for(endpoint)
    dialect.read_whole(json.dumps(body).encode())
    return dialect.answer


def finish(index: int, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {}, "finish_reason": "stop", **more}]}


# ---- chat ----------------------------------------------------------------------------------------------------


def test_moonshots_usage_of_one_choice_is_the_answers() -> None:
    assert read("chat/completions", finish(0, usage=USAGE)).usage == TOKENS


def test_moonshots_usages_of_two_choices_are_not_added_up() -> None:
    answer = read("chat/completions", finish(0, usage=USAGE), finish(1, usage=USAGE))
    assert (answer.usage, answer.usage_problem) == (None, "each choice has a usage of its own")
    answer = read("chat/completions", finish(0, usage=USAGE), finish(1, usage=USAGE), {"choices": [], "usage": USAGE})
    assert (answer.usage, answer.usage_problem) == (TOKENS, None), "a usage of the whole answer settles it"


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, {"usage": None}, {"usage": 5}, {"id": "req_1"}])
def test_what_stands_under_x_groq_may_be_anything(odd: object) -> None:
    answer = read("chat/completions", {**finish(0), "x_groq": odd})
    assert (answer.usage, answer.finish_reason, answer.unreadable) == (None, "stop", False)


def test_the_usage_of_the_chunk_goes_before_that_under_x_groq() -> None:
    other = {"prompt_tokens": 1, "completion_tokens": 1}
    assert read("chat/completions", {**finish(0), "usage": USAGE, "x_groq": {"usage": other}}).usage == TOKENS
    assert read("chat/completions", {**finish(0), "usage": None, "x_groq": {"usage": USAGE}}).usage == TOKENS


@pytest.mark.parametrize("content", [[], [7], [{"type": "thinking", "thinking": "x"}], {"a": 1}, 7, True])
def test_content_of_no_known_shape_is_no_token_and_no_fault(content: object) -> None:
    answer = read("chat/completions", {"choices": [{"index": 0, "delta": {"content": content}}]})
    assert (answer.token_seen, answer.output_bytes, answer.unreadable) == (False, 0, False)


def test_thinking_parts_are_tokens_and_no_content() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    answer = read("chat/completions", {"choices": [{"index": 0, "delta": {"content": [thinking]}}]})
    assert (answer.token_seen, answer.content_seen, answer.output_bytes) == (True, False, 2)


def test_a_sound_is_a_token_whose_bytes_bound_nothing() -> None:
    audio = {"id": "audio_1", "data": "A" * 4000}
    answer = read("chat/completions", {"choices": [{"index": 0, "delta": {"audio": audio}}]})
    assert (answer.token_seen, answer.content_seen, answer.output_bytes) == (True, True, 0)
    answer = read("chat/completions", {"choices": [{"index": 0, "delta": {"audio": "odd", "images": []}}]})
    assert (answer.token_seen, answer.unreadable) == (False, False)


def test_the_served_model_decides_what_geminis_total_is() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 20}
    thoughts = TokenClasses(input_uncached=9, output_text=3, reasoning=8)
    assert whole("chat/completions", {"model": "gemini-2.5-flash", "choices": [], "usage": usage}).usage == thoughts
    assert whole("chat/completions", {"model": "gpt-5", "choices": [], "usage": usage}).usage is None


# ---- responses -----------------------------------------------------------------------------------------------

SEARCH = {"type": "web_search_call", "action": {"type": "search"}}
OPEN = {"type": "web_search_call", "action": {"type": "open_page"}}


@pytest.mark.parametrize(
    ("output", "searches"),
    [
        ([], None),
        ([{"type": "message", "content": []}], None),
        ([SEARCH, OPEN, SEARCH], 2),
        ([OPEN], 0),
        ([{"type": "web_search_call"}], 1),  # before there were actions, each call was a search
        ([{"type": "web_search_call", "action": "odd"}], 1),
        ([{"type": "local_shell_call", "action": {"type": "search"}}], None),
    ],
)
def test_searches_are_counted_in_the_output(output: list[Any], searches: int | None) -> None:
    answer = whole("responses", {"status": "completed", "output": output})
    assert (answer.web_searches, answer.complete) == (searches, True)
    done = [{"type": "response.output_item.done", "item": item} for item in output]
    completed = {"type": "response.completed", "response": {"status": "completed", "output": output}}
    assert read("responses", *done).web_searches == searches
    assert read("responses", *done, completed).web_searches == searches, "never twice"


@pytest.mark.parametrize("item", [None, 7, "x", [], {"type": 5}, {"type": "web_search_call", "content": 5}])
def test_an_item_of_no_known_shape_is_no_search(item: object) -> None:
    answer = read("responses", {"type": "response.output_item.done", "item": item})
    assert (answer.web_searches, answer.unreadable) == (None, False)


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_job_that_is_only_taken_is_deferred(status: str) -> None:
    assert whole("responses", {"status": status, "usage": None, "output": []}).deferred
    assert not whole("responses", {"status": "completed", "usage": None}).deferred
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert not whole("responses", {"status": status, "usage": usage}).deferred
    event = {"type": "response.in_progress", "response": {"status": status, "usage": None}}
    assert not read("responses", event).deferred, "a stream that breaks off is no job taken"


@pytest.mark.parametrize(
    ("kind", "tokens", "content", "size", "tool"),
    [
        ("response.output_text.delta", True, True, 4, False),
        ("response.reasoning_text.delta", True, False, 4, False),
        ("response.function_call_arguments.delta", True, False, 4, True),
        ("response.custom_tool_call_input.delta", True, False, 4, True),
        ("response.audio.delta", True, True, 0, False),
        ("response.output_audio.delta", True, True, 0, False),
        ("response.audio.transcript.delta", True, True, 4, False),
        ("response.shell_call_output_content.delta", False, False, 0, False),  # what the shell wrote, not the model
    ],
)
def test_which_deltas_are_output(kind: str, tokens: bool, content: bool, size: int, tool: bool) -> None:
    answer = read("responses", {"type": kind, "delta": "abcd"})
    assert (answer.token_seen, answer.content_seen, answer.output_bytes) == (tokens, content, size)
    assert answer.tool_calls == tool


# ---- messages ------------------------------------------------------------------------------------------------


def test_what_message_start_says_of_the_input_is_seen_and_its_region_kept() -> None:
    usage = {
        "input_tokens": 9,
        "output_tokens": 1,
        "inference_geo": "us",
        "output_tokens_details": {"thinking_tokens": 1},
    }
    answer = read("messages", {"type": "message_start", "message": {"usage": usage}})
    assert (answer.usage, answer.seen, answer.region) == (None, TokenClasses(input_uncached=9), "us")
    answer = read(
        "messages",
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1, "inference_geo": "us"}}},
        {"type": "message_delta", "usage": {"output_tokens": 3, "server_tool_use": {"web_search_requests": 2}}},
    )
    assert (answer.usage, answer.region, answer.web_searches) == (TOKENS, "us", 2)
