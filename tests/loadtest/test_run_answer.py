"""An answer as the load test reads it: times from lines, counts from usage, and whatever else may come."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from submeter.loadtest.answer import Answer


def chunk(**delta: object) -> bytes:
    return b"data: " + msgspec.json.encode({"choices": [{"index": 0, "delta": delta}]}) + b"\n"


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 51, "completion_tokens": 3, %b}}\n'


def read(*lines: tuple[int, bytes], begun_ns: int = 1000) -> Answer:
    answer = Answer(begun_ns)
    for at_ns, line in lines:
        answer.piece(line, at_ns)
    return answer


def test_times_and_counts_of_a_stream() -> None:
    answer = read(
        (1100, chunk(role="assistant", content="", refusal=None)),
        (1100, b"\n"),
        (1200, chunk(reasoning_content="Hm")),
        (1300, chunk(content="a")),
        (1750, chunk(content="b")),
        (1800, chunk(content="c")),
        (1900, b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": null}\r\n'),
        (1950, USAGE % b'"prompt_tokens_details": {"cached_tokens": 32}'),
        (1960, b": a comment\n"),
        (1970, b"data: [DONE]\n"),
    )
    assert (answer.ttft_ns, answer.first_content_ns, answer.max_gap_ns) == (200, 300, 450)
    assert (answer.input_tokens, answer.cached_input_tokens, answer.output_tokens) == (51, 32, 3)
    assert answer.error is None


def test_a_tool_call_is_a_token_and_no_content() -> None:
    answer = read((1500, chunk(tool_calls=[{"index": 0}])), (1600, b"data: [DONE]\n"))
    assert (answer.ttft_ns, answer.first_content_ns, answer.max_gap_ns) == (500, None, None)


def test_what_is_not_said_is_missing() -> None:
    answer = read((1500, b'data: {"choices": [], "usage": {"prompt_tokens": 5}}\n'), (1, b"data:[DONE]\n"))
    assert (answer.ttft_ns, answer.input_tokens, answer.output_tokens) == (None, 5, None)
    assert answer.cached_input_tokens is None


def test_what_is_wrong_with_it() -> None:
    assert read((1500, chunk(content="secret"))).error == "the stream ended before [DONE]"
    assert read((1, b'data: {"error": {"message": "secret"}}\n')).error == "an error in the answer"
    assert read((1, b"data: {secret\n"), (1, b"data: [DONE]\n")).error == "an answer that cannot be read"


def test_a_whole_answer() -> None:
    answer = Answer(0)
    answer.whole(b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}')
    assert (answer.error, answer.ttft_ns, answer.input_tokens, answer.output_tokens) == (None, None, 9, 2)


@given(st.lists(st.binary(max_size=80)))
def test_anything_may_come(lines: list[bytes]) -> None:
    answer = Answer(0)
    for at_ns, line in enumerate(lines):
        answer.piece(b"data:" + line + b"\n", at_ns)
        answer.whole(line)


@given(st.lists(st.integers(0, 400), max_size=8))
def test_where_a_stream_is_cut_does_not_matter(cuts: list[int]) -> None:
    stream = chunk(content="a") + b"\n" + chunk(content="b") + USAGE % b'"x": 1' + b"data: [DONE]"
    answer = Answer(0)
    for begin, end in pairwise([0, *sorted(cuts), len(stream)]):
        answer.piece(stream[begin:end], 7)
    answer.end(7)
    assert (answer.ttft_ns, answer.max_gap_ns, answer.output_tokens, answer.error) == (7, 0, 3, None)
