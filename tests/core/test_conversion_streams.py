"""What the streams look like that are made of whole answers."""

from core.conversions import (
    CHAT,
    COMPLETION,
    LOGPROBS,
    MESSAGE,
    RESPONSE,
    event_objects,
    streamed,
)


def test_the_chunks_of_a_chat_answer() -> None:
    stream = streamed("chat/completions", CHAT)
    assert stream is not None
    *chunks, usage, done = event_objects(stream)
    assert done == "[DONE]"
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1763596800,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
    assert usage == head | {"choices": [], "usage": CHAT["usage"]}
    assert [{name: chunk[name] for name in head} for chunk in chunks] == [head] * len(chunks)
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert [chunk.get("provider") for chunk in chunks] == ["somebody"] + [None] * (len(chunks) - 1)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    annotations = CHAT["choices"][0]["message"]["annotations"]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": "", "refusal": None, "annotations": annotations},
        {"reasoning_content": "2 + 2 …"},
        {"content": "4"},
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 2}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "sh", "input": ""}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "ls"}}]},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * 7 + ["stop"]
    assert [choice["logprobs"] for choice in choices] == [None, None, LOGPROBS, None, None, None, None, None]


def test_who_did_not_ask_for_usage_gets_no_word_of_it() -> None:
    for endpoint, whole in (("chat/completions", CHAT), ("completions", COMPLETION)):
        stream = streamed(endpoint, whole, include_usage=False)
        assert stream is not None
        assert b"usage" not in stream
        assert event_objects(stream)[-1] == "[DONE]"
        asked = streamed(endpoint, whole)
        assert asked is not None
        assert len(event_objects(asked)) == len(event_objects(stream)) + 1


def test_the_chunks_of_a_completion() -> None:
    stream = streamed("completions", COMPLETION, include_usage=False)
    assert stream is not None
    first, last, _ = event_objects(stream)
    head = {name: COMPLETION[name] for name in ("id", "object", "created", "model")}
    assert first == head | {"choices": [COMPLETION["choices"][0] | {"finish_reason": None}]}
    assert last == head | {"choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]}


def test_the_events_of_a_message() -> None:
    stream = streamed("messages", MESSAGE)
    assert stream is not None
    events = event_objects(stream)
    assert [line.removeprefix(b"event: ").decode() for line in stream.split(b"\n") if line.startswith(b"event: ")] == [
        event["type"] for event in events
    ]
    start, *blocks, delta, stop = events
    usage = MESSAGE["usage"]
    assert start["message"] == MESSAGE | {
        "content": [],
        "stop_reason": None,
        "usage": {name: value for name, value in usage.items() if name != "output_tokens_details"}
        | {"output_tokens": 1},
    }
    deltas = [(event["index"], event["delta"]) for event in blocks if event["type"] == "content_block_delta"]
    assert deltas == [
        (0, {"type": "thinking_delta", "thinking": "Hm"}),
        (0, {"type": "signature_delta", "signature": "EqQB"}),
        (2, {"type": "text_delta", "text": "Hi"}),
        (2, {"type": "citations_delta", "citation": MESSAGE["content"][2]["citations"][0]}),
        (3, {"type": "input_json_delta", "partial_json": ""}),
        (3, {"type": "input_json_delta", "partial_json": '{"a":1,"b":[0.5,"ü"]}'}),
        (4, {"type": "input_json_delta", "partial_json": ""}),
    ]
    assert [event["content_block"] for event in blocks if event["type"] == "content_block_start"] == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "redacted_thinking", "data": "Em8C"},
        {"type": "text", "text": "", "citations": []},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ]
    assert [event["index"] for event in blocks if event["type"] == "content_block_stop"] == [0, 1, 2, 3, 4]
    assert delta["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert delta["usage"] == {
        "input_tokens": 21,
        "cache_creation_input_tokens": 500,
        "cache_read_input_tokens": 2000,
        "output_tokens": 60,
        "output_tokens_details": {"thinking_tokens": 30},
    }
    assert stop == {"type": "message_stop"}


def test_the_events_of_a_response() -> None:
    stream = streamed("responses", RESPONSE)
    assert stream is not None
    events = event_objects(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    begun = RESPONSE | {"status": "in_progress", "output": [], "usage": None, "completed_at": None}
    assert [events[0]["response"], events[1]["response"], events[-1]["response"]] == [begun, begun, RESPONSE]
    assert events[14] == {
        "type": "response.output_text.delta",
        "sequence_number": 14,
        "item_id": "msg_1",
        "output_index": 1,
        "content_index": 0,
        "delta": "It is 4.",
        "logprobs": RESPONSE["output"][1]["content"][0]["logprobs"],
    }
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == RESPONSE["output"]
    reasoning, message, function, custom = done
    assert [event["item"] for event in events if event["type"] == "response.output_item.added"] == [
        reasoning | {"summary": [], "content": []},
        message | {"status": "in_progress", "content": []},
        function | {"status": "in_progress", "arguments": ""},
        custom | {"status": "in_progress", "input": ""},
    ]
    assert [event["part"] for event in events if event["type"] == "response.content_part.added"] == [
        {"type": "reasoning_text", "text": ""},
        {"type": "output_text", "text": "", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": ""},
    ]
