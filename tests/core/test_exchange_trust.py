"""What an exchange must not claim of an answer that it could not read, or does not read at all."""

import json
import re
from typing import Any

from core.exchanges import CHAT, SSE, begin, finish_of, streaming
from corpus.recordings import load
from submeter.core.exchange import Exchange


def fed(exchange: Exchange, *pieces: bytes) -> Exchange:
    for piece in pieces:
        exchange.feed(piece, 1200)
    return exchange


def test_a_stream_with_an_event_that_cannot_be_read_is_not_fit_for_the_cache() -> None:
    whole = fed(streaming(), CHAT.body)
    assert whole.answer_complete
    spoilt = fed(streaming(), b'data: {"choices": [{"delta"\n\n', CHAT.body)
    assert finish_of(spoilt).outcome == "ok", "it passes and is metered all the same"
    assert finish_of(spoilt).usage == finish_of(whole).usage
    assert not spoilt.answer_complete


def test_nan_reads_as_missing_and_the_rest_of_the_event_counts() -> None:
    body = re.sub(rb'"prompt_tokens":\d+', b'"prompt_tokens": NaN', CHAT.body)
    assert body != CHAT.body
    finish = finish_of(fed(streaming(), body))
    assert (finish.usage, finish.usage_problem) == (None, "prompt_tokens is missing")
    assert finish.outcome == "ok"


def test_an_unmetered_stream_that_breaks_gets_no_word_of_ours() -> None:
    for metered, added in ((True, True), (False, False)):
        exchange = begin("audio/speech" if not metered else "chat/completions", metered=metered)
        exchange.take_head(200, SSE, 1100)
        exchange.feed(b"data: {}\n\n", 1200)
        rest = exchange.lost("upstream_incomplete")
        assert (b"upstream_incomplete" in rest) is added
        assert finish_of(exchange).outcome == "upstream_incomplete"


def tier_of(**usage: Any) -> str | None:
    start = {"model": "claude-haiku-4-5", "usage": {"input_tokens": 1, "output_tokens": 1, **usage}}
    event = b"event: message_start\ndata: " + json.dumps({"type": "message_start", "message": start}).encode() + b"\n\n"
    exchange = fed(streaming("messages"), event)
    exchange.client_gone()
    return finish_of(exchange).service_tier


def test_fast_mode_is_a_tier_of_its_own_and_never_priced_as_standard() -> None:
    assert tier_of(service_tier="standard", speed="standard") == "standard"
    assert tier_of(service_tier="standard", speed="fast") == "fast"
    assert tier_of(service_tier="priority", speed="standard") == "priority"
    assert tier_of() is None


def test_what_message_start_counts_as_output_is_no_lower_bound() -> None:
    exchange = fed(streaming("messages"), load("messages_text").events[0])
    exchange.client_gone()
    seen = finish_of(exchange).seen
    assert seen is not None
    assert (seen.output_total, seen.input_total > 0) == (0, True)


def test_the_text_of_a_whole_response_counts_when_its_usage_is_missing() -> None:
    exchange = begin("responses")
    exchange.take_head(200, [(b"Content-Type", b"application/json")], 1100)
    exchange.feed(
        b'{"status":"completed","usage":null,"output":[{"type":"message","content":[{"text":"hello"}]},'
        b'{"type":"function_call","name":"f","arguments":"{}"}]}',
        1200,
    )
    exchange.end(1300)
    assert finish_of(exchange).output_bytes == len("hello") + len("f") + len("{}")
