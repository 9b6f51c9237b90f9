"""Streams that are not cut as ours are, and what cannot be said in the other form."""

import copy
import json
from typing import Any

import pytest

from core.conversions import (
    CHAT,
    COMPLETION,
    MESSAGE,
    RESPONSE,
    event_objects,
    kept,
    made_whole,
    streamed,
    there_and_back,
)
from submeter.core.conversion import as_whole


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice]} | more).encode() + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n'
END = chunk({}, "stop") + USAGE + b"data: [DONE]\n\n"
UNFAITHFUL = {
    "text in two unknown pieces": chunk({"signature": "a"}) + chunk({"signature": "b"}),
    "a list in two unknown pieces": chunk({"images": ["a"]}) + chunk({"images": ["b"]}),
    "details without a place": chunk({"reasoning_details": [{"text": "a"}]})
    + chunk({"reasoning_details": [{"text": "b"}]}),
    "content in odd parts": chunk({"content": ["a"]}) + chunk({"content": ["b"]}),
    "sound": chunk({"audio": {"data": "AAAA"}}),
    "a call without a place": chunk({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": ""}}]}),
    "a call too far": chunk({"tool_calls": [{"index": 1, "id": "a"}]}),
    "two models": chunk({}, model="n"),
    "an error": chunk({}, error={"message": "no"}),
    "no JSON": b"data: {\n\n",
    "details of two kinds in one place": chunk({"reasoning_details": [{"type": "a", "index": 0}]})
    + chunk({"reasoning_details": [{"type": "b", "index": 0}]}),
    "details of which two have one place": chunk({"reasoning_details": [{"index": 0}, {"index": 0}]})
    + chunk({"reasoning_details": [{"index": 0}]}),
}


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_a_stream_without_a_faithful_whole(name: str) -> None:
    assert made_whole("chat/completions", chunk({"role": "assistant"}) + END) is not None
    assert made_whole("chat/completions", chunk({"role": "assistant"}) + UNFAITHFUL[name] + END) is None


def test_a_choice_that_does_not_end_has_no_whole() -> None:
    assert made_whole("chat/completions", chunk({"content": "a"}) + USAGE + b"data: [DONE]\n\n") is None
    assert made_whole("chat/completions", USAGE + b"data: [DONE]\n\n") is None


def test_choices_stand_in_order_and_the_first_time_holds() -> None:
    second = chunk({"content": "b"}, "stop", created=0).replace(b'"index": 0', b'"index": 1')
    whole = made_whole("chat/completions", second + chunk({"content": "a"}, created=7) + chunk({}, created=8) + END)
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["a", "b"]
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert whole["created"] == 7


def test_log_probabilities_come_in_pieces() -> None:
    pieces: list[Any] = [None, {"content": [1], "refusal": None}, {"content": [2]}, {"content": None, "refusal": [3]}]
    stream = b""
    for piece in pieces:
        choice = {"index": 0, "delta": {"content": "a"}, "logprobs": piece}
        stream += b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    (choice,) = made_whole("chat/completions", stream + END)["choices"]
    assert choice["logprobs"] == {"content": [1, 2], "refusal": [3]}


def test_what_only_some_choices_have_is_said_once() -> None:
    choice = CHAT["choices"][0] | {"native_finish_reason": "STOP"}
    stream = streamed("chat/completions", CHAT | {"choices": [choice]})
    assert stream is not None
    assert stream.count(b"native_finish_reason") == 1
    assert event_objects(stream)[0]["choices"][0]["native_finish_reason"] == "STOP"


def test_a_message_counts_by_the_last_word() -> None:
    stream = streamed("messages", MESSAGE)
    assert stream is not None
    nulls = stream.replace(
        b'"cache_read_input_tokens":2000,"output_tokens":60', b'"cache_read_input_tokens":null,"output_tokens":60'
    )
    assert nulls != stream
    assert made_whole("messages", nulls) == MESSAGE, "null is no word"
    more = stream.replace(
        b'"usage":{"input_tokens":21,"cache_creation_input_tokens":500,"cache_read_input_tokens":2000,"output',
        b'"usage":{"input_tokens":22,"output',
    )
    assert made_whole("messages", more)["usage"] == MESSAGE["usage"] | {"input_tokens": 22}


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        (b'"output_tokens":60', b'"output_tokens":null'),
        (b'"content":[],"stop_reason":null', b'"content":[{"type":"text","text":""}],"stop_reason":null'),
        (b'"stop_reason":"tool_use"', b'"stop_reason":null'),
        (b'"content_block_start","index":2', b'"content_block_start","index":3'),
        (b'"content_block_delta","index":2', b'"content_block_delta","index":1'),
        (b"text_delta", b"unheard_of_delta"),
        (b'"type":"content_block_stop","index":1', b'"type":"unheard_of"'),
        (b'"partial_json":"{', b'"partial_json":"'),
    ],
)
def test_a_message_stream_without_a_faithful_whole(said: bytes, instead: bytes) -> None:
    stream = streamed("messages", MESSAGE)
    assert stream is not None
    assert made_whole("messages", stream) == MESSAGE
    assert said in stream
    assert made_whole("messages", stream.replace(said, instead, 1)) is None


def test_lists_that_come_in_pieces() -> None:
    think = [{"type": "thinking", "thinking": [{"type": "text", "text": text}]} for text in ("Let ", "me")]
    detail = {"type": "reasoning.text", "index": 0, "format": "f"}
    stream = chunk({"content": "", "reasoning_details": [detail | {"text": "a"}]})
    stream += chunk({"content": think[:1], "reasoning_details": [detail | {"text": "b", "signature": "s"}]})
    stream += chunk(
        {"content": think[1:], "reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "x"}]}
    )
    stream += chunk({"content": "4"}) + chunk(
        {"content": [{"type": "text", "text": "2"}, {"type": "note", "text": "n"}]}
    )
    stream += chunk({"content": "!"})
    whole = made_whole("chat/completions", stream + END)
    message = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Let me"}]},
            {"type": "text", "text": "42"},
            {"type": "note", "text": "n"},
            {"type": "text", "text": "!"},
        ],
        "reasoning_details": [
            detail | {"text": "ab", "signature": "s"},
            {"type": "reasoning.encrypted", "index": 1, "data": "x"},
        ],
    }
    assert whole["choices"][0]["message"] == message
    assert there_and_back("chat/completions", whole) == whole


def test_a_whole_that_reads_as_other_usage_is_not_given() -> None:
    stream = streamed("chat/completions", CHAT)
    assert stream is not None
    answer = kept("chat/completions", stream.replace(b'"prompt_tokens":12', b'"prompt_tokens":13'), "stream")
    assert as_whole("chat/completions", answer) is None, "the total contradicts"


def test_what_a_provider_runs_itself_has_no_made_stream() -> None:
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    assert streamed("responses", RESPONSE | {"output": [item]}) is None
    assert streamed("responses", RESPONSE | {"status": "failed"}) is None
    assert streamed("messages", MESSAGE | {"content": [{"type": "unheard_of", "text": "a"}]}) is None
    assert streamed("chat/completions", CHAT | {"error": {"message": "no"}}) is None
    assert streamed("chat/completions", CHAT | {"choices": [CHAT["choices"][0] | {"index": 1}]}) is None
    assert streamed("completions", COMPLETION | {"choices": [COMPLETION["choices"][0] | {"text": None}]}) is None
    assert streamed("completions", COMPLETION | {"usage": None}) is None
    assert streamed("completions", COMPLETION | {"usage": None}, include_usage=False) is not None
    sound = copy.deepcopy(CHAT)
    sound["choices"][0]["message"]["audio"] = {"id": "a", "data": "AAAA"}
    assert streamed("chat/completions", sound) is None


def test_numbers_keep_their_digits() -> None:
    body = json.dumps(CHAT).encode().replace(b"-0.00015", b"-0.000150000000000000000001")
    stream = streamed("chat/completions", body)
    assert stream is not None
    assert b'"logprob":-0.000150000000000000000001,' in stream
    again = as_whole("chat/completions", kept("chat/completions", stream, "stream"))
    assert again is not None
    assert b'"logprob":-0.000150000000000000000001,' in again
