"""Every way in which a call can end: its bytes, its outcome, and one FINISH (the table in ``exchange``)."""

import json
from typing import Any

import msgspec
import pytest

from core.exchanges import CHAT, EVENTS, JSON, SSE, begin, finish_of, streaming
from corpus.recordings import load
from submeter.core.errors import stream_error
from submeter.core.exchange import PROGRESS_CHUNKS, PROGRESS_NS
from submeter.core.record import Finish, Progress, TokenClasses

# -- whole -------------------------------------------------------------------------------------------------------


def test_a_stream_that_ends_itself() -> None:
    exchange = begin(strip=True, cache="miss")
    exchange.sent(1010)
    exchange.take_head(200, SSE, 1100)
    out = exchange.feed(EVENTS[0], 1200) + exchange.feed(EVENTS[1], 1250) + exchange.feed(EVENTS[2], 1400)
    out += exchange.feed(EVENTS[3] + EVENTS[4], 1450)
    assert exchange.finish is None
    out += exchange.feed(EVENTS[5], 1500)
    assert exchange.finish is not None
    assert exchange.answer_complete
    assert exchange.end(1600) == (b"", True)
    assert out == CHAT.stripped
    assert finish_of(exchange) == Finish(
        call_id="c",
        attempt=2,
        outcome="ok",
        status=200,
        cache="miss",
        model_served="gpt-4o-mini-2024-07-18",
        service_tier="priority",
        finish_reason="stop",
        upstream_request_id="req_1",
        usage=TokenClasses(input_uncached=176, cached_read=1024, output_text=26, reasoning=64),
        output_bytes=len("Four."),
        ttfb_ns=100,
        ttft_ns=250,
        first_content_ns=250,
        e2e_ns=500,
        max_gap_ns=150,
        overhead_ns=10,
        bytes_out=len(CHAT.stripped),
    )


def test_a_whole_answer() -> None:
    whole = load("chat_whole")
    exchange = begin()
    exchange.take_head(200, JSON, 1100)
    out = exchange.feed(whole.body, 1200)
    assert (out, exchange.finish) == (whole.body[:-1], None)
    assert exchange.end(1300) == (whole.body[-1:], True)
    finish = finish_of(exchange)
    assert (finish.outcome, finish.usage, finish.bytes_out) == ("ok", whole.usage, len(whole.body))
    assert (finish.ttfb_ns, finish.ttft_ns, finish.e2e_ns) == (100, None, 300)
    assert exchange.answer_complete


@pytest.mark.parametrize("status", [400, 401, 422, 429, 500, 529])
@pytest.mark.parametrize("head", [JSON, SSE])
def test_an_error_of_the_upstream_passes_whole(status: int, head: list[tuple[bytes, bytes]]) -> None:
    body = b'{"error":{"message":"no"},"usage":{"prompt_tokens":5,"completion_tokens":5}}'
    exchange = begin(strip=True)
    exchange.take_head(status, head, 1100)
    out = exchange.feed(body, 1200)
    last, whole = exchange.end(1200)
    finish = finish_of(exchange)
    assert (out + last, whole) == (body, True)
    assert (finish.outcome, finish.status, finish.refused, finish.usage) == ("upstream_error", status, True, None)
    assert not exchange.answer_complete


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("chat_error_in_stream", "upstream_error"),
        ("responses_failed", "upstream_error"),
        ("messages_error", "upstream_error"),
    ],
)
def test_an_error_inside_a_stream_under_status_200(name: str, outcome: str) -> None:
    recording = load(name)
    exchange = streaming(recording.expected["endpoint"])
    out = exchange.feed(recording.body, 1200)
    assert exchange.end(1200) == (b"", True)
    finish = finish_of(exchange)
    assert (out, finish.outcome, finish.status, finish.refused) == (recording.body, outcome, 200, False)
    assert not exchange.answer_complete


# -- not whole ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [("chat_broken_off", "openai"), ("responses_broken_off", "responses"), ("messages_broken_off", "anthropic")],
)
@pytest.mark.parametrize("lost", [True, False])
def test_a_stream_that_breaks_off_says_so_in_the_dialect(name: str, kind: Any, lost: bool) -> None:
    """FAULTS 33: an open event is ended, then the error event; the caller of this cuts the connection."""
    recording = load(name)
    exchange = streaming(recording.expected["endpoint"])
    out = exchange.feed(recording.body, 1200)
    last, whole = (exchange.lost("upstream_incomplete"), False) if lost else exchange.end(1300)
    assert (out + last, whole) == (recording.body + b"\n\n" + stream_error(kind), False)
    finish = finish_of(exchange)
    assert (finish.outcome, finish.status, finish.usage) == ("upstream_incomplete", 200, None)
    assert finish.bytes_out == len(out + last)
    assert not exchange.answer_complete


def test_bytes_that_were_held_come_before_the_error_event() -> None:
    exchange = streaming()
    assert exchange.feed(EVENTS[1] + b"data: [DON", 1200) == EVENTS[1]
    assert exchange.lost("timeout") == b"data: [DON\n\n" + stream_error("openai")
    assert finish_of(exchange).outcome == "timeout"


def test_a_framing_that_has_no_room_gets_no_error_event() -> None:
    exchange = begin()
    exchange.take_head(200, SSE, 1100, open_ended=False)
    exchange.feed(EVENTS[1], 1200)
    assert exchange.lost("upstream_incomplete") == b""
    assert finish_of(exchange).outcome == "upstream_incomplete"


def test_what_is_lost_behind_the_end_changes_nothing() -> None:
    exchange = streaming()
    exchange.feed(CHAT.body + b": more", 1200)
    assert exchange.lost("upstream_incomplete") == b""
    assert finish_of(exchange).outcome == "ok"


def test_a_whole_answer_that_is_lost_in_the_middle() -> None:
    body = load("chat_whole").body
    exchange = begin()
    exchange.take_head(200, JSON, 1100)
    out = exchange.feed(body[:100], 1200) + exchange.lost("upstream_incomplete")
    finish = finish_of(exchange)
    assert out == body[:100]
    assert (finish.outcome, finish.usage, finish.bytes_out) == ("upstream_incomplete", None, 100)
    assert not exchange.answer_complete


def test_a_stream_without_done_whose_choices_have_finished_is_whole() -> None:
    recording = load("chat_no_done")
    exchange = streaming()
    exchange.feed(recording.body, 1200)
    assert exchange.finish is None
    assert exchange.end(1300) == (b"", True)
    assert finish_of(exchange).outcome == "ok"
    assert not exchange.answer_complete, "not fit for the cache"


def test_no_answer_at_all() -> None:
    unreachable = begin()
    unreachable.failed("upstream_error", 502, reached=False)
    finish = finish_of(unreachable)
    assert (finish.outcome, finish.status, finish.refused, finish.ttfb_ns) == ("upstream_error", 502, True, None)
    for outcome, status in (("timeout", 504), ("indeterminate", 502)):
        exchange = begin()
        exchange.sent(1010)
        exchange.failed(outcome, status, reached=True)  # type: ignore[arg-type]
        finish = finish_of(exchange)
        assert (finish.outcome, finish.status, finish.refused) == (outcome, status, False)


def test_before_the_head_there_is_nothing_to_lose() -> None:
    exchange = begin()
    assert (exchange.lost("upstream_incomplete"), exchange.finish) == (b"", None)


def test_an_answer_that_is_replaced() -> None:
    exchange = begin()
    exchange.take_head(302, [(b"Location", b"http://elsewhere.test")], 1100)
    exchange.replaced()
    finish = finish_of(exchange)
    assert (finish.outcome, finish.status, finish.refused) == ("upstream_error", 302, True)


# -- the client goes ---------------------------------------------------------------------------------------------


def test_gone_before_the_head() -> None:
    exchange = begin()
    exchange.sent(1010)
    exchange.client_gone()
    finish = finish_of(exchange)
    assert (finish.outcome, finish.status, finish.ttfb_ns, finish.refused) == ("client_gone", None, None, False)


def test_gone_in_the_middle_of_a_stream() -> None:
    exchange = streaming()
    exchange.feed(EVENTS[0] + EVENTS[1], 1200)
    exchange.client_left()
    exchange.client_gone()
    finish = finish_of(exchange)
    assert (finish.outcome, finish.status, finish.usage, finish.output_bytes) == ("client_gone", 200, None, 4)
    assert finish.tokens_after_disconnect is None


def test_running_totals_are_only_a_lower_bound_when_the_client_goes() -> None:
    recording = load("chat_usage_cumulative")
    exchange = streaming()
    exchange.feed(b"".join(recording.events[:3]), 1200)
    exchange.client_gone()
    finish = finish_of(exchange)
    assert (finish.usage, finish.seen) == (None, TokenClasses(input_uncached=9, output_text=2))


def test_gone_after_finish_stays_ok() -> None:
    exchange = streaming()
    exchange.feed(CHAT.body, 1200)
    exchange.client_gone()
    assert finish_of(exchange).outcome == "ok"


def test_read_on_for_the_usage_after_the_client_has_left() -> None:
    def content(text: str) -> bytes:
        return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"

    exchange = streaming()
    exchange.feed(content("x" * 30), 1200)
    exchange.client_left()
    exchange.feed(content("y" * 60), 1300)
    exchange.client_left()  # a second time says nothing new
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":10}}\n\n'
    exchange.feed(usage + b"data: [DONE]\n\n", 1400)
    finish = finish_of(exchange)
    assert (finish.outcome, finish.usage) == ("client_gone", TokenClasses(input_uncached=4, output_text=10))
    assert finish.tokens_after_disconnect == 10 - 10 * 30 // 90


def test_all_that_was_generated_for_nobody() -> None:
    whole = load("chat_whole_audio")
    exchange = begin()
    exchange.take_head(200, JSON, 1100)
    exchange.client_left()
    exchange.feed(whole.body, 1200)
    exchange.end(1200)
    assert finish_of(exchange).tokens_after_disconnect == 50


def test_nothing_more_is_generated_once_every_choice_has_finished() -> None:
    exchange = streaming()
    assert not exchange.all_choices_finished
    exchange.feed(EVENTS[3], 1200)
    assert exchange.all_choices_finished
    recording = load("chat_two_choices")
    exchange = streaming(n=2)
    exchange.feed(b"".join(recording.events[:6]), 1200)
    assert not exchange.all_choices_finished
    exchange.feed(recording.events[6], 1300)
    assert exchange.all_choices_finished
    exchange.client_left()
    exchange.feed(b"".join(recording.events[7:]), 1400)
    finish = finish_of(exchange)
    assert (finish.outcome, finish.usage, finish.tokens_after_disconnect) == ("client_gone", recording.usage, 0)


# -- progress ----------------------------------------------------------------------------------------------------


def noted(ttft_ns: int, output_bytes: int) -> Progress:
    return Progress("c", 2, ttft_ns, output_bytes, model_served="gpt-4o-mini-2024-07-18", upstream_request_id="req_1")


def test_the_first_token_is_noted_once_and_then_every_2_seconds() -> None:
    exchange = streaming()
    exchange.feed(EVENTS[0], 1200)
    assert exchange.progress(1200) is None, "the role is no token"
    exchange.feed(EVENTS[1], 1250)
    assert exchange.progress(1250) == ("first", noted(250, 4))
    exchange.feed(EVENTS[2], 1300)
    assert exchange.progress(1250 + PROGRESS_NS - 1) is None
    assert exchange.progress(1250 + PROGRESS_NS) == ("progress", noted(250, 5))
    assert exchange.progress(1250 + PROGRESS_NS) is None
    exchange.feed(EVENTS[5], 1400)
    assert exchange.progress(10**12) is None, "nothing after FINISH"


def test_progress_every_256_chunks() -> None:
    exchange = streaming()
    times = []
    for number in range(2 * PROGRESS_CHUNKS + 10):
        exchange.feed(EVENTS[2], 1200)
        progress = exchange.progress(1200)
        times += [] if progress is None else [(number, progress[0])]
    assert times == [(0, "first"), (256, "progress"), (512, "progress")]


def test_progress_tells_the_usage_seen_so_far() -> None:
    messages = load("messages_text")
    exchange = streaming("messages")
    exchange.feed(b"".join(messages.events[:4]), 1200)
    progress = exchange.progress(1200)
    assert progress is not None
    assert progress[1].seen == messages.seen
    cumulative = load("chat_usage_cumulative")
    exchange = streaming()
    exchange.feed(b"".join(cumulative.events[:2]), 1200)
    progress = exchange.progress(1200)
    assert progress is not None
    assert progress[1].seen == TokenClasses(input_uncached=9, output_text=1)


# -- what a provider's strings may do ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "m\x00"), ("model", ""), ("model", 5), ("model", None), ("service_tier", "\x00"), ("service_tier", [])],
)
def test_odd_strings_of_a_provider_are_not_stored(name: str, value: object) -> None:
    for endpoint in ("chat/completions", "responses", "messages"):
        exchange = begin(endpoint)
        exchange.take_head(200, JSON, 1100)
        usage = {"input_tokens": 1, "output_tokens": 1, "prompt_tokens": 1, "completion_tokens": 1}
        exchange.feed(json.dumps({name: value, "usage": {**usage, name: value}}).encode(), 1200)
        exchange.end(1200)
        finish = finish_of(exchange)
        assert getattr(finish, {"model": "model_served"}.get(name, name)) is None
        assert finish.usage == TokenClasses(input_uncached=1, output_text=1)


def test_long_names_are_cut() -> None:
    exchange = begin()
    exchange.take_head(200, JSON, 1100)
    exchange.feed(json.dumps({"model": "m" * 1000}).encode(), 1200)
    exchange.end(1200)
    assert finish_of(exchange).model_served == "m" * 256


def test_a_finish_survives_the_journal() -> None:
    exchange = streaming()
    exchange.feed(CHAT.body, 1200)
    assert msgspec.json.decode(msgspec.json.encode(exchange.finish), type=Finish) == exchange.finish
