"""Any JSON whatever as a usage, through a whole exchange and to its price: nothing raises, nothing goes negative.

The counts come as bytes here, so that NaN, Infinity, 1e999 and numbers of a thousand digits are among them.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.prices import book
from submeter.core.exchange import Exchange
from submeter.core.record import TOKEN_CLASSES, CallRow, Finish, Start
from submeter.core.settle import BELIEVABLE_TOKENS, settle

BOOK = book()
BEGUN = [*"{[", "nul", '{"a":', "\\"]

NAMES = [
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"),
    *("prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details"),
    *("cache_write_tokens", "audio_tokens", "image_tokens", "text_tokens", "reasoning_tokens", "thinking_tokens"),
    *("cached_tokens_details", "cache_creation", "cache_creation_input_tokens", "cache_read_input_tokens", "cost"),
    *("ephemeral_1h_input_tokens", "server_tool_use", "web_search_requests", "num_sources_used", "inference_geo"),
    *("iterations", "type", "is_byok", "cost_details", "upstream_inference_cost", "cost_in_usd_ticks", "service_tier"),
]
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 10),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from([10**30, -(10**30), 2**53, 2**64, 10**400, 1e308, "compaction", "us", "fast"]),
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=2), inner, max_size=8)
    ),
    max_leaves=25,
)
small = st.integers(0, 50)
blocks = st.dictionaries(st.sampled_from(NAMES), small | anything, max_size=12)
usages = st.one_of(anything, blocks).map(json.dumps) | st.sampled_from(BEGUN)


def chat(usage: str) -> str:
    chunk = (
        f'{{"model":"m","choices":[{{"index":0,"delta":{{"content":"Hi"}},"finish_reason":"stop"}}],"usage":{usage}}}'
    )
    return f"data: {chunk}\n\ndata: [DONE]\n\n"


def beside(usage: str) -> str:
    groq = f'{{"choices":[],"x_groq":{{"usage":{usage}}}}}'
    moonshot = f'{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop","usage":{usage}}}]}}'
    return f"data: {groq}\n\ndata: {moonshot}\n\ndata: [DONE]\n\n"


def responses(usage: str) -> str:
    return f'data: {{"type":"response.completed","response":{{"status":"completed","usage":{usage}}}}}\n\n'


def messages(usage: str) -> str:
    begun = f'{{"type":"message_start","message":{{"usage":{usage}}}}}'
    return f'data: {begun}\n\ndata: {{"type":"message_delta","usage":{usage}}}\n\ndata: {{"type":"message_stop"}}\n\n'


STREAMS = {
    "chat/completions": chat,
    "completions": beside,
    "embeddings": chat,
    "responses": responses,
    "messages": messages,
}


def finished(endpoint: str, body: bytes, content_type: bytes) -> tuple[Start, Finish]:
    start = Start("c", 1, "c", endpoint, "u", 0, model_requested="m", bytes_in=400, max_output_tokens=100)
    exchange = Exchange(start, 0)
    exchange.take_head(200, [(b"Content-Type", content_type)], 0)
    exchange.feed(body, 0)
    exchange.end(0)
    assert exchange.finish is not None
    return start, exchange.finish


def check(row: CallRow) -> None:
    amounts = [row.cost_nano_usd, row.cost_low_nano_usd, row.cost_high_nano_usd, row.fees_nano_usd]
    counts = [row.input_tokens, row.output_tokens, row.reasoning_tokens, row.web_searches]
    for value in (*amounts, *counts):
        assert value is None or (type(value) is int and value >= 0)
    if row.cost_low_nano_usd is not None and row.cost_high_nano_usd is not None:
        assert row.cost_low_nano_usd <= row.cost_high_nano_usd
    if row.tokens is not None:
        assert min(msgspec.structs.astuple(row.tokens)) >= 0
        assert sum(msgspec.structs.astuple(row.tokens)) <= BELIEVABLE_TOKENS
    if row.costs is not None:
        assert row.cost_nano_usd == sum(getattr(row.costs, name) for name in TOKEN_CLASSES) + (row.fees_nano_usd or 0)


@pytest.mark.parametrize("endpoint", STREAMS)
@given(usage=usages)
@settings(max_examples=150)
def test_any_usage_in_a_stream(endpoint: str, usage: str) -> None:
    start, finish = finished(endpoint, STREAMS[endpoint](usage).encode(), b"text/event-stream")
    check(settle(start, finish, BOOK, {}))
    msgspec.msgpack.Decoder(Finish).decode(msgspec.msgpack.encode(finish))


@pytest.mark.parametrize("endpoint", STREAMS)
@given(usage=usages, rest=anything.map(json.dumps))
@settings(max_examples=100)
def test_any_usage_in_a_whole_answer(endpoint: str, usage: str, rest: str) -> None:
    body = f'{{"model":"m","usage":{usage},"status":{rest},"output":{rest},"choices":{rest},"x_groq":{rest}}}'
    start, finish = finished(endpoint, body.encode(), b"application/json")
    check(settle(start, finish, BOOK, {}))


@given(valid=st.fixed_dictionaries(dict.fromkeys(("prompt_tokens", "completion_tokens"), small)), odd=blocks)
def test_believed_is_priced_exactly_and_what_is_not_is_named(valid: dict[str, Any], odd: dict[str, Any]) -> None:
    start, finish = finished("chat/completions", chat(json.dumps({**odd, **valid})).encode(), b"text/event-stream")
    row = settle(start, finish, BOOK, {})
    assert (finish.usage is None) == (row.cost_state != "exact")
    assert (finish.usage is None) == (row.usage_problem is not None)
