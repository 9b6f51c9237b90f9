"""What is asked to be counted when a call ends without believable usage, and what becomes of the answer."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exchanges import JSON, SSE, begin
from corpus.recordings import load
from submeter.core import answer
from submeter.core.answer import Answer, Raw
from submeter.core.counting import MAX_BODY_BYTES, MAX_OUTPUT_BYTES, Question
from submeter.core.exchange import Exchange
from submeter.core.record import Counted, Start

BODY = b'{"model":"gpt-4o-mini","messages":[]}'


def countable(endpoint: str = "chat/completions", **fields: Any) -> Exchange:
    start = Start("c", 1, "o", endpoint, "u", 0, model_requested="gpt-4o-mini", **fields)
    return Exchange(start, 1000, countable=True)


def event(delta: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + msgspec.json.encode({"choices": [{"index": 0, "delta": delta}], **more}) + b"\n\n"


def streamed(exchange: Exchange, *events: bytes) -> Question | None:
    exchange.take_head(200, SSE, 1100)
    for data in events:
        exchange.feed(data, 1200)
    exchange.feed(b"data: [DONE]\n\n", 1300)
    return exchange.question(BODY)


def test_the_output_is_kept_by_kind_as_one_text_each() -> None:
    exchange = countable()
    question = streamed(
        exchange,
        event({"reasoning_content": "Let "}),
        event({"reasoning_content": "me"}),
        event({"content": 'A "q'}),
        event({"content": 'uote"\n'}, model="gpt-4o-mini-2024"),
    )
    assert question == Question(
        endpoint="chat/completions",
        model="gpt-4o-mini-2024",
        body=BODY,
        content=rb"A \"quote\"\n",
        other=b"Let me",
        plain=True,
    )


def test_nothing_is_kept_where_nobody_can_be_asked() -> None:
    exchange = begin()
    question = streamed(exchange, event({"content": "x"}))
    assert question is not None
    assert (question.content, question.body) == (None, BODY)


@pytest.mark.parametrize("name", ["chat_include_usage", "responses_text", "messages_text", "embeddings_whole"])
def test_reported_usage_leaves_no_question(name: str) -> None:
    recording = load(name)
    exchange = countable(recording.expected["endpoint"])
    exchange.take_head(200, JSON if recording.body[:1] == b"{" else SSE, 1100)
    exchange.feed(recording.body, 1200)
    exchange.end(1300)
    assert exchange.finish is not None
    assert exchange.finish.usage is not None
    assert exchange.question(BODY) is None


def test_what_was_refused_or_never_answered_has_no_question() -> None:
    refused, lost, unmetered = countable(), countable(), countable(metered=False)
    refused.take_head(500, JSON, 1100)
    refused.feed(b"{}", 1200)
    refused.end(1300)
    lost.failed("indeterminate", 502, reached=True)
    unmetered.take_head(200, JSON, 1100)
    unmetered.end(1300)
    assert [call.question(BODY) for call in (refused, lost, unmetered, countable())] == [None] * 4


def test_a_caller_gone_before_the_head_has_its_input_counted() -> None:
    exchange = countable()
    exchange.client_gone()
    question = exchange.question(BODY)
    assert question is not None
    assert (question.body, question.content, question.other) == (BODY, None, None)


@pytest.mark.parametrize("fields", [{"tools": True}, {"refers_elsewhere": True}, {"unbounded": True}])
def test_input_that_is_not_all_text_is_not_sent(fields: dict[str, bool]) -> None:
    question = streamed(countable(**fields), event({"content": "x"}))
    assert question is not None
    assert (question.body, question.content) == (None, b"x")


def test_nor_is_a_body_over_the_limit_nor_one_whose_tokens_the_provider_has_told() -> None:
    exchange = countable()
    streamed(exchange, event({"content": "x"}))
    at_limit, over = (exchange.question(bytes(MAX_BODY_BYTES + more)) for more in (0, 1))
    assert at_limit is not None
    assert at_limit.body is not None
    assert over is not None
    assert over.body is None
    told = countable("messages")
    told.take_head(200, SSE, 1100)
    told.feed(load("messages_broken_off").body, 1200)
    told.client_gone()
    question = told.question(BODY)
    assert question is not None
    assert question.body is None
    assert question.content


def test_output_over_the_limit_is_let_go() -> None:
    exchange = countable()
    question = streamed(exchange, event({"content": "x" * MAX_OUTPUT_BYTES}), event({"content": "y"}))
    assert question is not None
    assert (question.content, question.other, question.body) == (None, None, BODY)
    assert exchange.finish is not None
    assert exchange.finish.output_bytes == MAX_OUTPUT_BYTES + 1


@pytest.mark.parametrize(
    ("events", "n", "plain"),
    [
        ([event({"content": "x"})], 1, True),
        ([event({"content": "x"})], 2, False),
        ([event({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]})], 1, False),
        ([event({"content": "x"}), b"data: {broken\n\n"], 1, False),
    ],
)
def test_only_one_text_that_was_all_read_is_plain(events: list[bytes], n: int, plain: bool) -> None:
    question = streamed(countable(n=n), *events)
    assert question is not None
    assert question.plain is plain


def test_the_counts_become_part_of_finish_and_the_wait_of_the_overhead() -> None:
    exchange = countable()
    exchange.sent(1010)
    streamed(exchange, event({"content": "x"}))
    before = exchange.finish
    assert before is not None
    counted = Counted("o200k_base", True, 8, 1)
    exchange.counted(counted, 2_000_000)
    assert exchange.finish == msgspec.structs.replace(before, counted=counted, overhead_ns=10 + 2_000_000)
    exchange.counted(None, 0)
    assert exchange.finish is not None
    assert exchange.finish.counted is None


@given(st.lists(st.tuples(st.text(max_size=20), st.booleans()), max_size=20), st.booleans())
def test_what_is_kept_is_what_was_said(pieces: list[tuple[str, bool]], ascii_only: bool) -> None:
    """However a server escapes: the inside of raw JSON strings, put together, is the inside of one."""
    seen = Answer()
    seen.keeps = True
    for text, content in pieces:
        raw = msgspec.json.encode(text)
        seen.saw(Raw(raw if not ascii_only else _ascii(text)), content=content)
    for kept, content in ((seen.content, True), (seen.other, False)):
        said = "".join(text for text, kind in pieces if kind is content)
        assert msgspec.json.decode(b'"%b"' % kept, type=str) == said
    assert seen.output_bytes == sum(len(text.encode()) for text, _ in pieces)


def _ascii(text: str) -> bytes:
    return json.dumps(text).encode()


def test_the_limit_is_of_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_OUTPUT_BYTES", 4)
    seen = Answer()
    seen.keeps = True
    for text in (b'"ab"', b'"cd"'):
        seen.saw(Raw(text), content=True)
    assert (seen.keeps, bytes(seen.content)) == (True, b"abcd")
    seen.saw(Raw(b'"e"'), content=False)
    assert (seen.keeps, bytes(seen.content), bytes(seen.other)) == (False, b"", b"")
