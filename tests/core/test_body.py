"""Bodies on their way: what passes at once, what waits, what of large and compressed ones is read."""

import gzip
import json
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.recordings import load
from submeter.core import body as bodies
from submeter.core.body import Body, EncodedBody, EventBody, PassedBody, WholeBody
from submeter.core.dialect import Dialect, dialect_for
from submeter.core.record import TokenClasses
from submeter.core.sse import MAX_EVENT_BYTES

MB = 1 << 20


def feed(body: Body, data: bytes, size: int = 64 << 10) -> bytes:
    return b"".join(body.feed(data[at : at + size]) for at in range(0, len(data), size))


def chat_event(content: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": content}}]}).encode() + b"\n\n"


def completed(output_chars: int) -> bytes:
    """What ends an answer of Responses: it carries the whole output again, and its usage behind it."""
    response = {
        "model": "gpt-image",
        "status": "completed",
        "output": [{"type": "image_generation_call", "result": "A" * output_chars}],
        "usage": {"input_tokens": 5, "output_tokens": 7},
        "metadata": {},
    }
    event = json.dumps({"type": "response.completed", "response": response})
    return b"event: response.completed\ndata: " + event.encode() + b"\n\n"


# -- streams -----------------------------------------------------------------------------------------------------


def test_an_event_over_the_limit_passes_and_the_next_ones_are_read() -> None:
    dialect = dialect_for("chat/completions")
    body = EventBody(dialect, strip_usage=False)
    large = chat_event("x" * 3 * MB)
    assert feed(body, large) == large
    assert (dialect.answer.output_bytes, body.missed) == (0, True)
    assert body.feed(chat_event("ab") + b"data: [DONE]\n\n") == chat_event("ab") + b"data: [DONE]\n\n"
    assert (dialect.answer.output_bytes, body.ended) == (2, True)


@pytest.mark.parametrize("strip", [True, False])
def test_of_an_endless_event_no_more_than_the_limit_is_kept(strip: bool) -> None:
    body = EventBody(dialect_for("chat/completions"), strip_usage=strip)
    passed = fed = 0
    for _ in range(100):
        passed += len(body.feed(b"data: " + b"y" * 65_530))
        fed += 65_536
        assert passed >= fed - MAX_EVENT_BYTES
    assert passed + len(body.end()) == fed


def test_an_end_over_the_limit_is_held_until_finish_and_its_usage_is_read() -> None:
    dialect = dialect_for("responses")
    body = EventBody(dialect, strip_usage=False)
    stream = completed(3 * MB)
    passed = feed(body, stream[:-1])
    assert not body.ended
    assert len(passed) < len(stream) - 1000
    assert passed + body.feed(stream[-1:]) == stream
    assert body.ended
    assert not body.missed
    assert dialect.answer.usage == TokenClasses(input_uncached=5, output_text=7)


def test_an_end_over_the_limit_that_breaks_off_passes_all_its_bytes() -> None:
    body = EventBody(dialect_for("responses"), strip_usage=False)
    stream = completed(2 * MB)[: 3 * MB // 2]
    assert feed(body, stream) + body.end() == stream


@settings(max_examples=80)
@given(data=st.data())
def test_limits_in_any_cuts_lose_no_byte(data: st.DataObject) -> None:
    """The same with small limits, so that events pass them in many ways."""
    pieces = [chat_event("x" * 30), chat_event("y" * 300), b": " + b"c" * 150 + b"\n\n", completed(20), completed(400)]
    stream = b"".join(data.draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=6)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=40)))
    endpoint = data.draw(st.sampled_from(["chat/completions", "responses", "messages"]))
    strip = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "MAX_EVENT_BYTES", 200)
        patch.setattr(bodies, "KEPT_TAIL_BYTES", 100)
        body = EventBody(dialect_for(endpoint), strip_usage=strip)
        out = b"".join(body.feed(stream[start:end]) for start, end in pairwise([0, *cuts, len(stream)]))
        assert out + body.end() == stream


# -- whole answers -----------------------------------------------------------------------------------------------


def test_the_last_byte_of_a_whole_answer_waits_and_no_other() -> None:
    body = WholeBody(None)
    assert [body.feed(piece) for piece in (b"abc", b"d", b"", b"ef")] == [b"ab", b"c", b"", b"de"]
    assert not body.ended
    assert (body.end(), body.ended) == (b"f", True)


def test_an_empty_answer() -> None:
    body = WholeBody(dialect_for("chat/completions"))
    assert body.feed(b"") + body.end() == b""


def read_whole(answer: bytes, endpoint: str = "chat/completions") -> Dialect:
    dialect = dialect_for(endpoint)
    body = WholeBody(dialect)
    assert feed(body, answer) + body.end() == answer
    return dialect


def test_an_answer_of_just_the_limit_is_read_whole() -> None:
    answer = {"model": "m", "pad": "", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    answer["pad"] = "x" * (8 * MB - len(json.dumps(answer)))
    text = json.dumps(answer).encode()
    assert len(text) == 8 * MB
    assert read_whole(text).answer.model == "m"
    assert read_whole(text + b" ").answer.model is None


def test_of_a_larger_answer_the_usage_is_found_in_its_end() -> None:
    data = [{"embedding": [0.125] * 1000}] * 2000
    usage = {"prompt_tokens": 77, "total_tokens": 77, "prompt_tokens_details": {"cached_tokens": 7}}
    text = json.dumps({"object": "list", "data": data, "model": "m", "usage": usage}).encode()
    assert len(text) > 8 * MB
    assert read_whole(text, "embeddings").answer.usage == TokenClasses(input_uncached=77 - 7, cached_read=7)


def test_the_last_usage_of_a_larger_answer_counts() -> None:
    """A tool's input may have a member of that name; text may speak of one."""
    content = [
        {"type": "text", "text": "x" * 9 * MB},
        {"type": "tool_use", "name": "f", "input": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "text", "text": '"usage": {"input_tokens": 2, "output_tokens": 2}'},
    ]
    text = json.dumps({"content": content, "usage": {"input_tokens": 30, "output_tokens": 40}, "z": {}}).encode()
    assert read_whole(text, "messages").answer.usage == TokenClasses(input_uncached=30, output_text=40)


@pytest.mark.parametrize("end", [b"", b'"usage": null}', b'"usage": {"prompt_tokens": 5', b'"usage": 7}'])
def test_a_larger_answer_without_a_readable_usage_has_none(end: bytes) -> None:
    assert read_whole(b'{"a":"' + b"x" * 9 * MB + b'",' + end).answer.usage is None


def test_a_body_that_nobody_reads_passes_as_it_is() -> None:
    body = PassedBody()
    assert (body.feed(b"abc"), body.end(), body.ended) == (b"abc", b"", False)


# -- compressed answers ------------------------------------------------------------------------------------------

TEXT = load("chat_include_usage").body
USAGE = load("chat_include_usage").usage
WHOLE = load("chat_whole").body


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_compressed_stream_is_read_from_a_copy(compress: Callable[[bytes], bytes], size: int) -> None:
    dialect = dialect_for("chat/completions")
    body = EncodedBody(EventBody(dialect, strip_usage=False))
    sent = compress(TEXT)
    passed = b""
    for at in range(0, len(sent), size):
        assert body.ended or passed == sent[: max(0, at - 1)], "the last byte waits until the end has been read"
        passed += body.feed(sent[at : at + size])
    assert (body.ended, body.missed) == (True, False)
    assert passed + body.end() == sent
    assert dialect.answer.usage == USAGE


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_compressed_whole_answer_is_read_from_a_copy(size: int) -> None:
    dialect = dialect_for("chat/completions")
    body = EncodedBody(WholeBody(dialect))
    sent = gzip.compress(WHOLE)
    passed = feed(body, sent, size)
    assert not body.ended
    assert passed + body.feed(b"") + body.end() == sent
    assert (body.ended, dialect.answer.usage) == (True, load("chat_whole").usage)


@pytest.mark.parametrize(
    "sent",
    [
        b"no gzip at all",
        gzip.compress(WHOLE)[:-8] + bytes(8),
        gzip.compress(b"{}") + gzip.compress(b"{}"),
        b"\x1f",
    ],
)
def test_what_cannot_be_inflated_passes_all_the_same(sent: bytes) -> None:
    body = EncodedBody(EventBody(dialect_for("chat/completions"), strip_usage=False))
    assert feed(body, sent, 5) + body.end() == sent
    assert body.missed or sent == b"\x1f"


def count_fed(body: WholeBody, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is fed to it."""
    sizes: list[int] = []

    def feed_nothing(data: bytes) -> bytes:
        sizes.append(len(data))
        return b""

    monkeypatch.setattr(body, "feed", feed_nothing)
    return sizes


def test_a_zip_bomb_is_inflated_to_its_ratio_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = WholeBody(dialect_for("chat/completions"))
    inflated = count_fed(inner, monkeypatch)
    body = EncodedBody(inner)
    bomb = gzip.compress(b" " * 50 * MB)
    assert feed(body, bomb, 1000) + body.end() == bomb
    assert sum(inflated) <= 100 * len(bomb) + 1024
    assert body.missed


def test_no_more_than_64_mib_are_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = WholeBody(dialect_for("chat/completions"))
    inflated = count_fed(inner, monkeypatch)
    monkeypatch.setattr(bodies, "MAX_INFLATED_BYTES", 1000)
    body = EncodedBody(inner)
    sent = gzip.compress(bytes(range(256)) * 40, 0)
    assert feed(body, sent, 100) + body.end() == sent
    assert 1000 <= sum(inflated) <= 1010
    assert (bodies.MAX_INFLATE_RATIO, body.missed) == (100, True)
