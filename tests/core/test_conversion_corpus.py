"""The recorded answers in the other form and back: metering reads the same of all three."""

import json
from decimal import Decimal
from typing import Any

import pytest

from core.conversions import kept, made_whole, reading
from corpus.recordings import RECORDINGS, Recording, load
from submeter.core.body import EventBody
from submeter.core.conversion import as_stream, as_whole
from submeter.core.dialect import Answer, dialect_for
from submeter.core.kept import Form

NEVER = {
    "chat_audio": "a stream has other sound than a whole answer",
    "chat_whole_audio": "likewise",
    "embeddings_base64": "there are no streams of it",
    "embeddings_whole": "likewise",
    "responses_background": "the last event has no output, and not every item was said to be done",
    "responses_incomplete": "likewise",
    "responses_reasoning": "likewise",
    "responses_web_search_trimmed": "likewise",
}
NOT_BACK = {"responses_web_search": "the events of a provider's own search are not made up"}


def form_of(recording: Recording) -> Form:
    return "stream" if recording.streamed else "whole"


def complete(recording: Recording) -> bool:
    read = reading(recording.expected["endpoint"], recording.body, form_of(recording))
    return read.complete and read.usage is not None and not read.error_seen


COMPLETE = [recording.name for recording in RECORDINGS if complete(recording)]


def converted(endpoint: str, body: bytes, form: Form) -> bytes | None:
    answer = kept(endpoint, body, form)
    return as_whole(endpoint, answer) if form == "stream" else as_stream(endpoint, answer, include_usage=True)


def read_of(endpoint: str, body: bytes, form: Form) -> dict[str, object]:
    answer: Answer = reading(endpoint, body, form)
    """A whole message has its tools' input as JSON, a whole response their names: these are compared elsewhere."""
    said = b"" if b"tool_use" in body or b"function_call" in body else answer.other
    return {
        "complete": answer.complete,
        "model": answer.model,
        "service_tier": answer.service_tier,
        "usage": answer.usage,
        "searches": answer.web_searches,
        "region": answer.region,
        "cost": None if answer.cost_usd is None else Decimal(answer.cost_usd),
        "content": sorted(json.loads(b'"%s"' % answer.content)),  # of several choices in any order
        "other": json.loads(b'"%s"' % said),
        "finished_choices": answer.finished_choices,
        "finish_reason": answer.finish_reason if answer.finished_choices == 1 else "the last one's",
    }


def test_the_corpus_is_used() -> None:
    assert len(COMPLETE) > 50
    assert {name for names in (NEVER, NOT_BACK) for name in names} <= set(COMPLETE)


@pytest.mark.parametrize("name", COMPLETE)
def test_a_recording_reads_the_same_in_the_other_form_and_back(name: str) -> None:
    recording = load(name)
    endpoint, form = recording.expected["endpoint"], form_of(recording)
    other: Form = "whole" if form == "stream" else "stream"
    there = converted(endpoint, recording.body, form)
    if name in NEVER:
        assert there is None
        return
    assert there is not None
    expected = read_of(endpoint, recording.body, form)
    if name == "chat_reasoning":  # its first piece has one of two names, its second has both
        expected["other"] = " me"
    assert read_of(endpoint, there, other) == expected
    back = converted(endpoint, there, other)
    if name in NOT_BACK:
        assert back is None
        return
    assert back is not None
    assert read_of(endpoint, back, form) == expected
    again = converted(endpoint, back, form)
    assert again is not None
    if form == "stream":
        assert json.loads(again) == json.loads(there)
    else:
        assert again == there


@pytest.mark.parametrize("recording", [each for each in RECORDINGS if each.streamed], ids=lambda each: each.name)
def test_a_recording_cut_before_its_end_has_no_whole(recording: Recording) -> None:
    end = recording.expected["end_event"]
    for cut in range(len(recording.events) if end is None else end):
        assert made_whole(recording.expected["endpoint"], b"".join(recording.events[:cut])) is None


@pytest.mark.parametrize("recording", [each for each in RECORDINGS if each.streamed], ids=lambda each: each.name)
def test_a_recording_without_its_usage_chunk(recording: Recording) -> None:
    endpoint, comment = recording.expected["endpoint"], b": x\n\n"
    for junk in (b"", comment, b'data: {"choices":[],"usage":{}}\n\n', b'data: {"choices":[],"usage":{}}'):
        for stream in (recording.body + junk, junk + recording.body):
            reader = EventBody(dialect_for(endpoint), strip_usage=endpoint in ("chat/completions", "completions"))
            expected = reader.feed(stream) + reader.end()
            assert as_stream(endpoint, kept(endpoint, stream, "stream"), include_usage=False) == expected
    assert as_stream(endpoint, kept(endpoint, recording.body, "stream"), include_usage=False) == recording.stripped
    assert as_stream(endpoint, kept(endpoint, recording.body, "stream"), include_usage=True) == recording.body


def whole_of(name: str) -> Any:
    """With a usage, where the recording was made without."""
    body = load(name).body
    if b'"usage"' not in body:
        usage = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
        body = body.replace(b"data: [DONE]", b"data: " + usage + b"\n\ndata: [DONE]")
    return made_whole(load(name).expected["endpoint"], body)


def test_the_whole_of_a_recorded_chat_stream() -> None:
    assert whole_of("chat_include_usage") == {
        "id": "chatcmpl-B1",
        "object": "chat.completion",
        "created": 1763596800,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "priority",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Four.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 1200,
            "completion_tokens": 90,
            "total_tokens": 1290,
            "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 64,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }


def test_the_messages_of_recorded_chat_streams() -> None:
    messages = {
        name: whole_of(f"chat_{name}")["choices"][0]["message"]
        for name in ("tool_calls", "function_call", "refusal", "reasoning_content", "image_output")
    }
    assert messages == {
        "tool_calls": {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
                },
                {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
        },
        "function_call": {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        "refusal": {"role": "assistant", "content": "", "refusal": "I can't help."},
        "reasoning_content": {"role": "assistant", "content": "4", "reasoning_content": "Hmm"},
        "image_output": {
            "role": "assistant",
            "content": "Here",
            "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}],
        },
    }


def test_content_in_parts() -> None:
    """Mistral's: plain text between parts is a part too."""
    assert whole_of("chat_mistral_thinking")["choices"][0]["message"]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]},
        {"type": "text", "text": "Four."},
    ]


def test_azures_results_of_its_filter_are_kept() -> None:
    whole = whole_of("chat_azure")
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    assert (whole["id"], whole["created"], whole["system_fingerprint"]) == ("chatcmpl-A", 1763596800, "fp_b")
    assert whole["prompt_filter_results"] == [{"prompt_index": 0, "content_filter_results": safe}]
    assert whole["choices"][0]["content_filter_results"] == safe


def test_the_blocks_of_recorded_messages() -> None:
    assert whole_of("messages_thinking")["content"] == [
        {"type": "thinking", "thinking": "Let me see", "signature": "EqQBCgIYAhIM1gbc"},
        {"type": "text", "text": "27"},
    ]
    tool_use = whole_of("messages_tool_use")
    assert tool_use["content"] == [
        {"type": "text", "text": "OK"},
        {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"location": "San Francisco"}},
    ]
    assert (tool_use["stop_reason"], tool_use["usage"]) == ("tool_use", {"input_tokens": 472, "output_tokens": 89})
    assert [block["type"] for block in whole_of("messages_web_search")["content"]] == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
