"""One kept answer in both forms: what comes back from the other form is the answer itself, or nothing."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.conversions import (
    CHAT,
    COMPLETION,
    ENDPOINTS,
    LOGPROBS,
    MESSAGE,
    RESPONSE,
    WHOLES,
    event_objects,
    kept,
    made_whole,
    reading,
    streamed,
    there_and_back,
)
from submeter.core.conversion import as_stream, as_whole, content_type

TEXTS = st.text(max_size=12)
NUMBERS = st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
COUNTS = st.integers(0, 10_000)
UNKNOWN = st.dictionaries(TEXTS.map("x_".__add__).filter("x_groq".__ne__), JSON, max_size=2)
"""Members that nobody here has heard of."""


def objects(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    known = st.fixed_dictionaries({name.rstrip("_"): value for name, value in members.items()})
    return st.builds(lambda unknown, known: unknown | known, UNKNOWN, known)


def optional(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


def merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {name: value for part in found for name, value in part.items()})


# ---- generated answers -------------------------------------------------------------------------------------------

TOKENS = st.lists(objects(token=TEXTS, logprob=NUMBERS), max_size=2)
TOOL_CALLS = st.lists(
    objects(id=TEXTS, type=st.just("function"), function=objects(name=TEXTS, arguments=TEXTS))
    | objects(id=TEXTS, type=st.just("custom"), custom=objects(name=TEXTS, input=TEXTS)),
    max_size=3,
)
MESSAGES = merged(
    objects(
        role=st.just("assistant"),
        content=st.none()
        | TEXTS
        | st.lists(
            objects(type=st.just("text"), text=TEXTS) | objects(type=st.just("thinking"), thinking=JSON),
            min_size=1,
            max_size=2,
        ),
    ),
    optional(
        {
            "refusal": st.none() | TEXTS,
            "annotations": st.lists(objects(type=TEXTS), max_size=2),
            "reasoning": st.none() | TEXTS,
            "reasoning_content": st.none() | TEXTS,
            "reasoning_details": st.lists(objects(type=TEXTS), max_size=2),
            "tool_calls": st.none() | TOOL_CALLS,
            "function_call": st.none() | objects(name=TEXTS, arguments=TEXTS),
        }
    ),
)
CHAT_CHOICES = merged(
    objects(message=MESSAGES, finish_reason=TEXTS),
    optional(
        {
            "logprobs": st.none()
            | st.fixed_dictionaries({"content": st.none() | TOKENS, "refusal": st.none() | TOKENS}),
            "stop_reason": SCALARS,
        }
    ),
)
TEXT_CHOICES = merged(
    objects(text=TEXTS, finish_reason=TEXTS),
    optional(
        {
            "logprobs": st.none()
            | st.fixed_dictionaries(
                {
                    "tokens": st.lists(TEXTS, max_size=2),
                    "token_logprobs": st.none() | st.lists(st.none() | NUMBERS, max_size=2),
                }
            )
        }
    ),
)


def completions(kind: str, choice: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    counts = st.builds(
        lambda more, asked, said: (
            more | {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
        ),
        UNKNOWN,
        COUNTS,
        COUNTS,
    )
    numbered = st.lists(choice, min_size=1, max_size=2).map(
        lambda found: [{"index": index} | each for index, each in enumerate(found)]
    )
    return merged(
        objects(
            id=TEXTS, object=st.just(kind), created=st.integers(1, 2**40), model=TEXTS, choices=numbered, usage=counts
        ),
        optional({"service_tier": st.none() | TEXTS, "system_fingerprint": st.none() | TEXTS}),
    )


TEXT_BLOCKS = merged(
    objects(type=st.just("text"), text=TEXTS),
    optional({"citations": st.none() | st.lists(objects(cited_text=TEXTS), max_size=3)}),
)
BLOCKS = (
    TEXT_BLOCKS
    | objects(type=st.just("thinking"), thinking=TEXTS, signature=TEXTS)
    | objects(type=st.just("redacted_thinking"), data=TEXTS)
    | objects(
        type=st.sampled_from(["tool_use", "server_tool_use"]),
        id=TEXTS,
        name=TEXTS,
        input=st.dictionaries(TEXTS, JSON, max_size=3),
    )
    | objects(type=st.just("web_search_tool_result"), tool_use_id=TEXTS, content=JSON)
)
MESSAGE_USAGES = merged(
    objects(input_tokens=COUNTS, output_tokens=COUNTS),
    optional(
        {
            "cache_creation_input_tokens": st.none() | COUNTS,
            "cache_read_input_tokens": st.none() | COUNTS,
            "output_tokens_details": st.none() | objects(thinking_tokens=st.just(0)),
            "server_tool_use": st.none() | objects(web_search_requests=COUNTS),
            "service_tier": st.none() | TEXTS,
        }
    ),
)
ANTHROPIC = merged(
    objects(
        id=TEXTS,
        type=st.just("message"),
        role=st.just("assistant"),
        model=TEXTS,
        content=st.lists(BLOCKS, max_size=4),
        stop_reason=TEXTS,
        stop_sequence=st.none() | TEXTS,
        usage=MESSAGE_USAGES,
    ),
    optional({"container": st.none() | objects(id=TEXTS), "stop_details": st.none() | objects(type=TEXTS)}),
)
PARTS = st.lists(
    objects(type=st.just("output_text"), text=TEXTS, annotations=st.lists(JSON, max_size=2), logprobs=TOKENS)
    | objects(type=st.just("refusal"), refusal=TEXTS),
    max_size=2,
)
ITEMS = (
    objects(id=TEXTS, type=st.just("message"), status=st.just("completed"), role=st.just("assistant"), content=PARTS)
    | objects(
        id=TEXTS,
        type=st.just("reasoning"),
        summary=st.lists(objects(type=st.just("summary_text"), text=TEXTS), max_size=2),
        content=st.none() | st.lists(objects(type=st.just("reasoning_text"), text=TEXTS), max_size=2),
    )
    | objects(id=TEXTS, type=st.just("function_call"), call_id=TEXTS, name=TEXTS, arguments=TEXTS)
    | objects(id=TEXTS, type=st.just("custom_tool_call"), call_id=TEXTS, name=TEXTS, input=TEXTS)
)
RESPONSES = objects(
    id=TEXTS,
    object=st.just("response"),
    status=st.sampled_from(["completed", "incomplete"]),
    error=st.none(),
    model=TEXTS,
    output=st.lists(ITEMS, max_size=4),
    usage=objects(input_tokens=COUNTS, output_tokens=COUNTS),
)


@settings(max_examples=60)
@given(completions("chat.completion", CHAT_CHOICES))
def test_a_chat_answer_comes_back(whole: dict[str, Any]) -> None:
    assert there_and_back("chat/completions", whole) == whole


@given(completions("text_completion", TEXT_CHOICES))
def test_a_completion_comes_back(whole: dict[str, Any]) -> None:
    assert there_and_back("completions", whole) == whole


@given(ANTHROPIC)
def test_a_message_comes_back(whole: dict[str, Any]) -> None:
    assert there_and_back("messages", whole) == whole


@given(RESPONSES)
def test_a_response_comes_back(whole: dict[str, Any]) -> None:
    assert there_and_back("responses", whole) == whole


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_part_comes_back(endpoint: str) -> None:
    assert there_and_back(endpoint, WHOLES[endpoint]) == WHOLES[endpoint]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_metering_reads_the_same_of_both(endpoint: str) -> None:
    stream = streamed(endpoint, WHOLES[endpoint])
    assert stream is not None
    there, here = reading(endpoint, stream, "stream"), kept(endpoint, WHOLES[endpoint])
    assert there.complete
    assert there.usage == here.usage != kept(endpoint, b"").usage
    assert (there.model, there.finish_reason, there.service_tier) == (
        here.model_served,
        here.finish_reason,
        here.service_tier,
    )


# ---- anything else -----------------------------------------------------------------------------------------------


@given(st.sampled_from([*ENDPOINTS, "embeddings", "other"]), st.sampled_from(["stream", "whole"]), st.binary())
def test_any_bytes_are_no_error(endpoint: str, form: Any, body: bytes) -> None:
    answer = kept(endpoint, body, form)
    assert as_stream(endpoint, answer, include_usage=True) == (body if form == "stream" else None)
    assert as_whole(endpoint, answer) == (body if form == "whole" else None)


@st.composite
def bent(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An answer of which one member, at any depth, is another value or gone."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    whole = copy.deepcopy(WHOLES[endpoint])
    at: Any = whole
    while True:
        key = draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
        if not (isinstance(at[key], dict | list) and at[key] and draw(st.booleans())):
            break
        at = at[key]
    if isinstance(at, dict) and draw(st.booleans()):
        del at[key]
    else:
        at[key] = draw(JSON)
    return endpoint, whole


@given(bent())
def test_an_odd_answer_comes_back_as_it_was_or_not_at_all(bent: tuple[str, dict[str, Any]]) -> None:
    endpoint, whole = bent
    stream = streamed(endpoint, whole)
    if stream is None:
        return
    again = made_whole(endpoint, stream)
    if endpoint == "chat/completions":  # a message has these two, whether they are said or not
        whole["choices"][0]["message"] = {"role": "assistant", "content": None} | whole["choices"][0]["message"]
    assert again is None or again == whole


@st.composite
def bent_streams(draw: st.DrawFn) -> tuple[str, bytes]:
    """A stream with events that are left out, repeated, swapped or of another answer."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    stream = streamed(endpoint, WHOLES[endpoint])
    assert stream is not None
    events = stream.split(b"\n\n")[:-1]
    chosen = draw(st.lists(st.sampled_from(events), max_size=3))
    at, upto = sorted((draw(st.integers(0, len(events))), draw(st.integers(0, len(events)))))
    return endpoint, b"".join(event + b"\n\n" for event in (*events[:at], *chosen, *events[upto:]))


@given(bent_streams())
def test_an_odd_stream_is_no_error(bent: tuple[str, bytes]) -> None:
    endpoint, stream = bent
    made_whole(endpoint, stream)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_stream_that_is_cut_anywhere_has_no_whole(endpoint: str) -> None:
    stream = streamed(endpoint, WHOLES[endpoint])
    assert stream is not None
    events = stream.split(b"\n\n")[:-1]
    for cut in range(len(events)):
        assert made_whole(endpoint, b"".join(event + b"\n\n" for event in events[:cut])) is None


def test_deep_nesting_is_no_error() -> None:
    for depth in (200, 1000, 100_000):
        deep = b"[" * depth + b"]" * depth
        body = json.dumps(CHAT).encode().replace(b'"somebody"', deep)
        stream = as_stream("chat/completions", kept("chat/completions", body), include_usage=False)
        assert (stream is None) == (depth > 200)


# ---- what the streams look like ----------------------------------------------------------------------------------


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


# ---- as received -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_form_that_was_received_is_given_as_it_was(endpoint: str) -> None:
    odd = b'\xef\xbb\xbf{ "a" : 1.0 }\r\n'
    assert as_whole(endpoint, kept(endpoint, odd)) == odd
    stream = streamed(endpoint, WHOLES[endpoint])
    assert stream is not None
    stream = b": comment\n\n" + stream.replace(b"\n", b"\r\n")
    assert as_stream(endpoint, kept(endpoint, stream, "stream"), include_usage=True) == stream
    without = as_stream(endpoint, kept(endpoint, stream, "stream"), include_usage=False)
    usage = [event for event in stream.split(b"\r\n\r\n") if b'"choices":[]' in event]
    assert len(usage) == (endpoint in ("chat/completions", "completions"))
    assert without == b"\r\n\r\n".join(event for event in stream.split(b"\r\n\r\n") if event not in usage)


def test_embeddings_have_no_stream() -> None:
    answer = kept("embeddings", b'{"object": "list", "data": []}')
    assert as_whole("embeddings", answer) == answer.body
    assert as_stream("embeddings", answer, include_usage=False) is None


def test_the_content_type_is_that_of_the_form() -> None:
    whole, stream = kept("messages", b"{}"), kept("messages", b"", "stream")
    assert content_type(whole, "whole") == b"application/json; charset=utf-8"
    assert content_type(whole, "stream") == b"text/event-stream; charset=utf-8"
    assert content_type(stream, "stream") == b"text/event-stream"
    assert content_type(stream, "whole") == b"application/json"


# ---- what cannot be said -----------------------------------------------------------------------------------------


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
