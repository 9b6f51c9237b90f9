"""Bodies that an exchange cannot read as they come: compressed, opaque, large, not metered; and their heads."""

import gzip
import json

import pytest

from core.exchanges import CHAT, JSON, SSE, begin, finish_of, streaming
from corpus.recordings import load
from submeter.core.exchange import read_head
from submeter.core.record import TokenClasses

# -- compressed, opaque, large, unmetered ------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b" GZIP "])
def test_a_gzip_stream_passes_as_sent_and_is_metered(encoding: bytes) -> None:
    """FAULTS 42; nothing is taken out of it, and nothing is added."""
    sent = gzip.compress(CHAT.body)
    exchange = begin(strip=True)
    exchange.take_head(200, [*SSE, (b"Content-Encoding", encoding)], 1100)
    out = exchange.feed(sent[:50], 1200) + exchange.feed(sent[50:], 1300)
    last, whole = exchange.end(1300)
    assert (out + last, whole) == (sent, True)
    finish = finish_of(exchange)
    assert (finish.outcome, finish.usage, finish.bytes_out) == ("ok", CHAT.usage, len(sent))


def test_a_gzip_stream_that_breaks_off_is_cut_without_an_event() -> None:
    sent = gzip.compress(load("chat_broken_off").body)
    exchange = begin()
    exchange.take_head(200, [*SSE, (b"Content-Encoding", b"gzip")], 1100)
    out = exchange.feed(sent, 1200)
    last, whole = exchange.end(1300)
    assert (out + last, whole, finish_of(exchange).outcome) == (sent, False, "upstream_incomplete")


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [(b"br", b"\x8b\x00\x80abc"), (b"gzip, br", b"abc"), (b"gzip", b"not gzip"), (b"zstd", b"x" * 99)],
)
def test_what_cannot_be_read_is_no_broken_stream(encoding: bytes, sent: bytes) -> None:
    exchange = begin()
    exchange.take_head(200, [*SSE, (b"Content-Encoding", encoding)], 1100)
    out = exchange.feed(sent, 1200)
    last, whole = exchange.end(1300)
    assert (out + last, whole) == (sent, True)
    finish = finish_of(exchange)
    assert (finish.outcome, finish.usage) == ("ok", None)


def test_a_zip_bomb_is_no_broken_stream_either() -> None:
    sent = gzip.compress(b"data: " + b" " * 5_000_000)
    exchange = begin()
    exchange.take_head(200, [*SSE, (b"Content-Encoding", b"gzip")], 1100)
    out = exchange.feed(sent, 1200)
    last, whole = exchange.end(1300)
    assert (out + last, whole, finish_of(exchange).outcome) == (sent, True, "ok")


def test_an_event_too_large_to_read_is_no_broken_stream_either() -> None:
    exchange = streaming()
    large = b"data: " + b"x" * 3_000_000 + b"\n\n"
    out = b"".join(exchange.feed(large[at : at + 65_536], 1200) for at in range(0, len(large), 65_536))
    last, whole = exchange.end(1300)
    assert (out + last, whole, finish_of(exchange).outcome) == (large, True, "ok")


def test_a_large_whole_answer_is_metered_from_its_end() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    body = json.dumps({"choices": [{"message": {"content": "x" * (9 << 20)}}], "usage": usage}).encode()
    exchange = begin()
    exchange.take_head(200, JSON, 1100)
    out = b"".join(exchange.feed(body[at : at + 65_536], 1200) for at in range(0, len(body), 65_536))
    last, _ = exchange.end(1300)
    finish = finish_of(exchange)
    assert out + last == body
    assert finish.usage == TokenClasses(input_uncached=3, output_text=4)


@pytest.mark.parametrize(("status", "outcome"), [(200, "ok"), (404, "upstream_error")])
def test_a_call_that_is_not_metered_passes_unread(status: int, outcome: str) -> None:
    exchange = begin("files", metered=False, strip=True)
    exchange.take_head(status, SSE, 1100)
    assert exchange.feed(CHAT.body, 1200) == CHAT.body
    assert exchange.finish is None
    assert exchange.end(1300) == (b"", True)
    finish = finish_of(exchange)
    assert (finish.outcome, finish.usage, finish.bytes_out) == (outcome, None, len(CHAT.body))


def test_tool_calls_and_answers_without_usage_are_not_for_the_cache() -> None:
    for name in ("chat_tool_calls", "chat_plain"):
        exchange = streaming()
        exchange.feed(load(name).body, 1200)
        assert exchange.finish is not None
        assert not exchange.answer_complete


# -- heads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ([], None),
        ([(b"request-id", b"req_a")], "req_a"),
        ([(b"request-id", b"req_a"), (b"X-Request-ID", b"req_b")], "req_b"),
        ([(b"x-request-id", b"x" * 200)], "x" * 128),
        ([(b"x-request-id", b"\xff")], "\ufffd"),
    ],
)
def test_the_upstreams_request_id(headers: list[tuple[bytes, bytes]], request_id: str | None) -> None:
    assert read_head(200, headers).request_id == request_id


@pytest.mark.parametrize(
    ("content_type", "event_stream"),
    [(b"text/event-stream", True), (b" Text/Event-Stream; charset=utf-8", True), (b"application/json", False)],
)
def test_what_is_a_stream(content_type: bytes, event_stream: bool) -> None:
    assert read_head(200, [(b"content-type", content_type)]).event_stream is event_stream


@pytest.mark.parametrize(
    ("encoding", "encoded", "opaque"),
    [(b"", False, False), (b"identity", False, False), (b"deflate", True, False), (b"br", False, True)],
)
def test_encodings(encoding: bytes, encoded: bool, opaque: bool) -> None:
    head = read_head(200, [(b"Content-Encoding", encoding)])
    assert (head.encoded, head.opaque) == (encoded, opaque)
