"""Streams cut into events: against a reader that goes line by line."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.recordings import split_events
from submeter.core.sse import MAX_EVENT_BYTES, SseScanner, event_fields, preamble_end

LINES = [b"data: x", b"data:y", b"data", b"data:  two", b"event: e", b": comment", b"id: 1", b"junk", b"", b"", b""]
ENDS = [b"\n", b"\r\n", b"\r"]
streams = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ENDS)), max_size=25).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def scan(stream: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    scanner = SseScanner()
    events: list[bytes] = []
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        events += scanner.feed(stream[start:end])
    return events, scanner.tail


def plain_fields(event: bytes) -> tuple[bytes, bytes]:
    """By the letter of WHATWG HTML, but for the empty event name, which stays empty."""
    name, data = b"", []
    for line in event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        name = value if field == b"event" else name
        data += [value] if field == b"data" else []
    return name, b"\n".join(data)


@given(streams, st.data())
def test_any_stream_in_any_cuts(stream: bytes, data: st.DataObject) -> None:
    stream += b": end"  # a line begun behind the last CR, so that it is known for what it is
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    events, tail = scan(stream, cuts)
    assert b"".join(events) + tail == stream
    assert (events, tail) == scan(stream, [])
    told = [event_fields(event) for event in events if event.strip(b"\r\n")]
    assert told == [plain_fields(event) for event in split_events(stream)[:-1]]


@pytest.mark.parametrize(
    ("raw", "name", "data"),
    [
        (b"data: a\n\n", b"", b"a"),
        (b"data:a\n\n", b"", b"a"),
        (b"data:  a\n\n", b"", b" a"),
        (b"data: a\ndata: b\n\n", b"", b"a\nb"),
        (b"data: a\rdata: b\n\n", b"", b"a\nb"),
        (b"data: a\r\n\n", b"", b"a"),
        (b"data\ndata\n\n", b"", b"\n"),
        (b"\xef\xbb\xbfdata: a\n\n", b"", b"a"),
        (b"\n\ndata: a\n\n", b"", b"a"),
        (b"event: one\nevent: two\ndata: a\n\n", b"two", b"a"),
        (b": data: a\nid: 3\nretry: 5\n\n", b"", b""),
        (b"Data: a\ndatas: b\n\n", b"", b""),
    ],
)
def test_fields(raw: bytes, name: bytes, data: bytes) -> None:
    assert event_fields(raw) == (name, data)


def test_a_cr_at_the_very_end_waits_for_the_byte_behind_it() -> None:
    scanner = SseScanner()
    assert scanner.feed(b"data: a\r\r") == []
    assert scanner.feed(b"\ndata: b\n\n") == [b"data: a\r\r\n", b"data: b\n\n"]


@pytest.mark.parametrize(
    ("raw", "says_nothing"),
    [
        (b": ping\n", b": ping\n"),
        (b": pi", b""),
        (b"\n\r\n: ping\r\nid: 4\rdata: x", b"\n\r\n: ping\r\nid: 4\r"),
        (b"\xef\xbb\xbf: c\ndata: x", b"\xef\xbb\xbf: c\n"),
        (b"data: x\n", b""),
        (b"event: x\n", b""),
        (b"database: x\ndata", b"database: x\n"),
        (b"data\ndata: x", b""),
    ],
)
def test_the_lines_that_say_nothing(raw: bytes, says_nothing: bytes) -> None:
    assert raw[: preamble_end(raw)] == says_nothing


def test_what_is_let_go_of_still_shows_where_the_event_ends() -> None:
    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        for at in range(1, len(end)):
            scanner = SseScanner()
            scanner.feed(b"data: " + b"x" * MAX_EVENT_BYTES + end[:at])
            gone = scanner.let_go()
            events = scanner.feed(end[at:] + b"data: b\n\n")
            assert gone + events[0] == b"data: " + b"x" * MAX_EVENT_BYTES + end
            assert events[1:] == [b"data: b\n\n"]
