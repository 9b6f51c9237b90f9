"""Every recorded answer through an exchange: whole, byte by byte, cut at random, with more bytes behind it.

What is asserted is the whole contract of a body on its way: the bytes, what is held back and until when, and that
every cutting gives the same FINISH.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.prices import book
from corpus.recordings import RECORDINGS, Recording, split_events
from submeter.core.errors import stream_error
from submeter.core.exchange import Exchange
from submeter.core.record import Finish, Start
from submeter.core.settle import settle

STREAMS = [recording for recording in RECORDINGS if recording.streamed]
STRIP = [False, True]
JUNK = b"data: [DONE]\n\nevent: message_stop\r\n\xff\x00 junk"

recorded = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
streamed = pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.name)
stripping = pytest.mark.parametrize("strip", STRIP, ids=["asked", "not asked"])


def begin(recording: Recording, *, strip: bool) -> Exchange:
    start = Start(
        call_id="c",
        attempt=1,
        operation_id="c",
        endpoint=recording.expected["endpoint"],
        upstream="openai",
        started_at_ns=0,
        n=recording.expected["n"],
    )
    exchange = Exchange(start, 0, strip_usage=strip)
    exchange.take_head(200, [(b"Content-Type", recording.content_type), (b"x-request-id", b"req_1")], 0)
    return exchange


def run(recording: Recording, pieces: Iterable[bytes], *, strip: bool) -> tuple[bytes, Finish]:
    """The bytes that a caller gets, and the one FINISH."""
    exchange = begin(recording, strip=strip)
    finishes: list[Finish] = []
    out = b""
    for piece in pieces:
        out += exchange.feed(piece, 0)
        finishes += [exchange.finish] if exchange.finish is not None else []
    rest, _ = exchange.end(0)
    assert exchange.finish is not None
    assert all(finish is exchange.finish for finish in finishes), "FINISH is made once"
    return out + rest, exchange.finish


def passed_on(recording: Recording, *, strip: bool) -> bytes:
    """What the caller must get."""
    body = recording.stripped if strip else recording.body
    return body + b"\n\n" + error_of(recording) if recording.expected["broken_off"] else body


def error_of(recording: Recording) -> bytes:
    kinds = {"messages": "anthropic", "responses": "responses"}
    return stream_error(kinds.get(recording.expected["endpoint"], "openai"))  # type: ignore[arg-type]


def read_of(finish: Finish) -> Finish:
    """FINISH without what the number of pieces changes."""
    return msgspec.structs.replace(finish, max_gap_ns=None)


def test_there_are_enough_and_each_says_where_it_is_from() -> None:
    assert len(STREAMS) >= 40
    assert all(r.expected["end_event"] in (None, len(r.events) - 1) for r in RECORDINGS)
    endpoints = {recording.expected["endpoint"] for recording in RECORDINGS}
    assert endpoints == {"chat/completions", "completions", "responses", "messages", "embeddings"}
    assert all(recording.expected["source"] for recording in RECORDINGS)


@recorded
def test_what_is_read(recording: Recording) -> None:
    _, finish = run(recording, [recording.body], strip=False)
    expected = recording.expected
    assert finish.outcome == expected["outcome"]
    assert finish.model_served == expected["model"]
    assert finish.service_tier == expected["service_tier"]
    assert finish.finish_reason == expected["finish_reason"]
    assert finish.usage == recording.usage
    assert finish.usage_problem == expected["usage_problem"]
    assert finish.seen == recording.seen
    assert finish.provider_cost == expected["provider_cost"]
    assert finish.web_searches == expected["web_searches"]
    assert finish.region == expected["region"]
    assert finish.deferred == expected["deferred"]
    assert finish.output_bytes == expected["output_bytes"]
    assert (finish.status, finish.upstream_request_id, finish.refused) == (200, "req_1", False)
    assert finish.bytes_out == len(passed_on(recording, strip=False))


@recorded
def test_what_it_costs(recording: Recording) -> None:
    """To the nano-dollar of the line that ``cost`` works out; without a usage that can be believed, never exact."""
    exchange = begin(recording, strip=False)
    exchange.feed(recording.body, 0)
    exchange.end(0)
    row = settle(exchange.start, exchange.finish, book(), {})
    if recording.cost_nano_usd is None:
        assert row.cost_state != "exact"
    else:
        assert (row.cost_state, row.cost_nano_usd) == ("exact", recording.cost_nano_usd)
        assert (row.tokens, row.web_searches) == (recording.usage, recording.expected["web_searches"])


@streamed
@stripping
def test_whole_and_byte_by_byte(recording: Recording, strip: bool) -> None:
    whole, finish = run(recording, [recording.body], strip=strip)
    assert whole == passed_on(recording, strip=strip)
    single, finish_of_single = run(recording, [bytes([byte]) for byte in recording.body], strip=strip)
    assert single == whole
    assert read_of(finish_of_single) == read_of(finish)


@recorded
@given(data=st.data())
@settings(max_examples=20)
def test_any_cutting_gives_the_same_bytes_and_the_same_finish(recording: Recording, data: st.DataObject) -> None:
    strip = data.draw(st.booleans())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(recording.body)), max_size=30)))
    edges = [0, *cuts, len(recording.body)]
    pieces = [recording.body[start:end] for start, end in pairwise(edges)]
    out, finish = run(recording, pieces, strip=strip)
    assert out == passed_on(recording, strip=strip)
    _, finish_of_whole = run(recording, [recording.body], strip=strip)
    assert read_of(finish) == read_of(finish_of_whole)


@streamed
def test_the_first_token_and_the_first_content_are_timed_by_their_events(recording: Recording) -> None:
    exchange = begin(recording, strip=True)
    body, at = recording.body, 0
    for number, event in enumerate(recording.events):
        # One byte more than the event: only with it is a CR known to be no half of a CRLF.
        upto = len(b"".join(recording.events[:number])) + len(event) + 1
        exchange.feed(body[at:upto], number)
        at = upto
    assert exchange.timeline.ttft_ns == recording.expected["first_token_event"]
    assert exchange.timeline.first_content_ns == recording.expected["first_content_event"]


@streamed
@stripping
def test_finish_is_there_before_a_byte_of_the_end_is_passed_on(recording: Recording, strip: bool) -> None:
    exchange = begin(recording, strip=strip)
    out = b""
    for byte in recording.body:
        piece = exchange.feed(bytes([byte]), 0)
        if exchange.finish is not None:
            break
        out += piece
    if recording.expected["end_event"] is None:
        assert exchange.finish is None, "only HTTP ends this answer"
        return
    assert exchange.finish is not None
    end = recording.events[-1]
    assert out == passed_on(recording, strip=strip).removesuffix(end.removeprefix(comment_lines(end)))


@streamed
@stripping
def test_nothing_else_is_held_back(recording: Recording, strip: bool) -> None:
    """After every byte, all of it has been passed on, but for an event that may still be the end or the usage chunk."""
    exchange = begin(recording, strip=strip)
    passed = 0
    for number, event in enumerate(recording.events):
        removed = strip and b'"choices":[],' in event and b'"usage":{' in event
        may_wait = removed or number == end_of(recording)
        before = passed
        for size, byte in enumerate(event, start=1):
            passed += len(exchange.feed(bytes([byte]), 0))
            held = before + size - passed
            assert held <= (size if may_wait else held_at_most(recording, event[:size], strip=strip))
        passed = before + len(event) if removed else passed


def end_of(recording: Recording) -> int | None:
    """The event that ends the answer; in a stream of CRs alone it is known as whole only when HTTP ends."""
    last = len(recording.events) - 1
    return last if recording.body.endswith(b"\r\r") else recording.expected["end_event"]


def held_at_most(recording: Recording, begun: bytes, *, strip: bool) -> int:
    """How much of an ordinary event, of which this much is there, may wait."""
    begun = begun.removeprefix(comment_lines(begun))
    if strip and re.search(rb'"choices": ?\[\s*[^]\s]', begun) is None:
        return len(begun)
    if recording.expected["endpoint"] in ("messages", "responses"):
        named = begun.startswith(b"event:") or b"event:".startswith(begun)
        decided = b"\n" in begun or b"\r" in begun if named else begun.count(b'"') >= 4
        return 0 if decided else len(begun)
    value = begun.partition(b"data:")[2].strip()
    return len(begun) if b"[DONE]".startswith(value) else 0


def comment_lines(event: bytes) -> bytes:
    """The lines in front of an event's first data or event line."""
    lines = event.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
    out = event[: len(event) - len(b"".join(lines))]
    for line in lines:
        if line.startswith((b"data", b"event")) or not line.endswith((b"\n", b"\r")):
            break
        out += line
    return out


@pytest.mark.parametrize("recording", [r for r in STREAMS if r.expected["end_event"] is not None], ids=lambda r: r.name)
@pytest.mark.parametrize("size", [1, 10_000], ids=["byte by byte", "whole"])
def test_what_comes_after_the_end_is_passed_on_and_not_read(recording: Recording, size: int) -> None:
    body = recording.body + JUNK
    out, finish = run(recording, [body[at : at + size] for at in range(0, len(body), size)], strip=True)
    assert out == recording.stripped + JUNK
    _, expected = run(recording, [recording.body], strip=True)
    assert msgspec.structs.replace(finish, max_gap_ns=None, bytes_out=0) == msgspec.structs.replace(
        expected, max_gap_ns=None, bytes_out=0
    )


@streamed
@given(data=st.data())
@settings(max_examples=15)
def test_mangled_streams_lose_no_byte(recording: Recording, data: st.DataObject) -> None:
    """Cut out, doubled and overwritten at random: nothing raises, and every byte comes out."""
    body = bytearray(recording.body)
    for _ in range(data.draw(st.integers(1, 4))):
        at, size = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 40))
        body[at : at + size] = data.draw(
            st.sampled_from([b"", b"\r", b"\n\n", b"\xff", b'"', bytes(body[at : at + 90])])
        )
    cut = data.draw(st.integers(0, len(body)))
    exchange = begin(recording, strip=False)
    out = exchange.feed(bytes(body[:cut]), 0) + exchange.feed(bytes(body[cut:]), 0)
    rest, whole = exchange.end(0)
    assert exchange.finish is not None
    assert (out + rest).startswith(bytes(body))
    assert whole == (out + rest == bytes(body))


@given(
    st.lists(st.sampled_from([b"data: x", b": c", b"\r", b"\n", b"\r\n", b"", b"\xef\xbb\xbf", b"id: 1"]), max_size=30)
)
def test_the_reference_splitter_loses_nothing_either(parts: list[bytes]) -> None:
    assert b"".join(split_events(b"".join(parts))) == b"".join(parts)
