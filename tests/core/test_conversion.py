"""One kept answer in both forms: what comes back from the other form is the answer itself, or nothing."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.any_answers import ANTHROPIC, CHAT_CHOICES, JSON, RESPONSES, TEXT_CHOICES, completions
from core.conversions import CHAT, ENDPOINTS, WHOLES, kept, made_whole, reading, streamed, there_and_back
from submeter.core.conversion import as_stream, as_whole, content_type


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
