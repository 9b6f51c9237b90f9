"""Answers that are fetched later: which GETs bring them, what is read of them, one id however often they come."""

import gzip
import json
import uuid
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core import collected
from submeter.core.body import EncodedBody
from submeter.core.collected import (
    BatchReader,
    Collected,
    Reader,
    ResponseReader,
    Source,
    derived_id,
    is_derived,
    reader_of,
    records,
    source_of,
)
from submeter.core.ids import uuid7
from submeter.core.record import Start, TokenClasses

CHAT_USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"content": "Grüße"}, "finish_reason": "stop"}],
    "usage": CHAT_USAGE,
}
TEXT = {"id": "cmpl-1", "object": "text_completion", "model": "gpt-3.5-turbo-instruct", "usage": CHAT_USAGE}
EMBEDDING = {"object": "list", "data": [], "model": "text-embedding-3-small", "usage": {"prompt_tokens": 7}}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "o4-mini",
    "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-haiku-4-5",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def line(number: int, body: object, status: object = 200, **members: Any) -> bytes:
    response = {"status_code": status, "request_id": f"req_{number}", "body": body}
    whole = {"id": f"batch_req_{number}", "custom_id": f"task-{number}", "response": response, "error": None}
    return json.dumps(whole | members, ensure_ascii=False).encode()


def result(number: int, kind: str = "succeeded", **members: Any) -> bytes:
    message = {**MESSAGE, "id": f"msg_{number}"} | members
    return json.dumps({"custom_id": f"task-{number}", "result": {"type": kind, "message": message}}).encode()


def read(reader: Reader, data: bytes, cuts: list[int] | None = None, *, event_stream: bool = False) -> list[Collected]:
    """What is found; all bytes pass, and what a read completes is found before its last byte goes on."""
    body = reader.body(event_stream=event_stream)
    marks = [0, *sorted(cuts or []), len(data)]
    found, passed = [], b""
    for start, end in pairwise(marks):
        passed += body.feed(data[start:end])
        found += reader.take()
    passed += body.end()
    found += reader.take()
    assert passed == data
    return found


# -- which GETs, and which ids -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "source"),
    [
        ("responses/resp_1", Source("response", "resp_1")),
        ("files/file-1/content", Source("batch", "file-1")),
        ("messages/batches/msgbatch_1/results", Source("batch", "msgbatch_1")),
        *((other, None) for other in ("responses", "responses/", "responses/r/input_items", "responses/r/cancel")),
        *((other, None) for other in ("files/f", "files//content", "containers/c/files/f/content", "batches/b")),
        *((other, None) for other in ("messages/batches/b", "chat/completions/c", "responses/" + "r" * 257)),
    ],
)
def test_what_a_get_brings(endpoint: str, source: Source | None) -> None:
    assert source_of(endpoint) == source


def test_a_derived_id_is_a_uuid_8_of_upstream_and_item_alone() -> None:
    ids = {derived_id(upstream, item) for upstream in ("openai", "azure") for item in ("resp_1", "resp_2", "é\ud800")}
    assert len(ids) == 6
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in ids} == {(8, uuid.RFC_4122)}
    assert derived_id("openai", "resp_1") == derived_id("openai", "resp_1")
    assert all(map(is_derived, ids))
    assert not is_derived(uuid7(1, bytes(10)))


# -- background responses ----------------------------------------------------------------------------------------

JOB = {**RESPONSE, "background": True}


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_a_job_that_is_done(status: str) -> None:
    (found,) = read(ResponseReader("resp_1"), json.dumps({**JOB, "status": status}).encode(), [5, 6, 40])
    assert (found.id, found.endpoint, found.answer.model) == ("resp_1", "responses", "o4-mini")
    assert found.answer.usage == TokenClasses(input_uncached=9, output_text=4)


@pytest.mark.parametrize(
    "body",
    [
        {**JOB, "status": "queued", "usage": None},
        {**JOB, "status": "in_progress"},
        {**JOB, "usage": None},
        {**JOB, "background": False},
        {**JOB, "background": "true"},
        RESPONSE,
        [],
        {"error": {"message": "no such response"}},
    ],
)
def test_what_is_no_jobs_answer_or_not_yet(body: object) -> None:
    reader = ResponseReader("resp_1")
    assert read(reader, json.dumps(body).encode()) == []
    assert reader.skipped == 0


def events(*bodies: tuple[str, object]) -> bytes:
    return b"".join(
        f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()  # type: ignore[dict-item]
        for kind, members in bodies
    )


STREAM = events(
    ("response.created", {"response": {**JOB, "status": "in_progress", "usage": None}}),
    ("response.output_text.delta", {"delta": "Four"}),
    ("response.completed", {"response": JOB}),
)


def test_a_jobs_stream() -> None:
    (found,) = read(ResponseReader("resp_1"), STREAM, list(range(0, len(STREAM), 7)), event_stream=True)
    assert (found.stream, found.answer.usage) == (True, TokenClasses(input_uncached=9, output_text=4))
    # Resumed after its first events: the last one alone says whose it is.
    last = STREAM[STREAM.index(b"event: response.completed") :]
    assert len(read(ResponseReader("resp_1"), last, event_stream=True)) == 1
    assert read(ResponseReader("resp_1"), STREAM[: -len(last)], event_stream=True) == []
    stored = STREAM.replace(b'"background": true', b'"background": false')
    assert read(ResponseReader("resp_1"), stored, event_stream=True) == []


def test_an_answer_too_large_to_tell_whose_it_is_is_said_to_be_skipped() -> None:
    large = {**JOB, "output": [{"content": [{"text": "x" * (8 << 20)}]}], "usage": RESPONSE["usage"]}
    large["usage"] = large.pop("usage")  # at the end, as it comes
    reader = ResponseReader("resp_1")
    assert read(reader, json.dumps(large).encode(), [1 << 20, 8 << 20]) == []
    assert reader.skipped == 1


# -- batch output ------------------------------------------------------------------------------------------------


def test_one_answer_per_line_by_the_bodys_kind() -> None:
    reader = BatchReader()
    found = read(reader, b"\n".join(line(at, body) for at, body in enumerate((CHAT, TEXT, EMBEDDING, RESPONSE))))
    assert [each.endpoint for each in found] == ["chat/completions", "completions", "embeddings", "responses"]
    assert [each.id for each in found] == [f"batch_req_{at}" for at in range(4)]
    assert {each.service_tier for each in found} == {"batch"}
    assert [each.request_id for each in found] == [f"req_{at}" for at in range(4)]
    assert [each.answer.usage for each in found] == [
        TokenClasses(input_uncached=20, output_text=5),
        TokenClasses(input_uncached=20, output_text=5),
        TokenClasses(input_uncached=7),
        TokenClasses(input_uncached=9, output_text=4),
    ]
    assert [each.size_bytes for each in found] == [
        len(line(at, body)) for at, body in enumerate((CHAT, TEXT, EMBEDDING, RESPONSE))
    ]
    assert reader.skipped == 0


def test_anthropics_results() -> None:
    lines = [result(1), result(2, "errored"), result(3, "expired"), result(4, "canceled"), result(5)]
    found = read(BatchReader(), b"\n".join(lines) + b"\n")
    assert [(each.endpoint, each.id, each.service_tier) for each in found] == [
        ("messages", "msg_1", "batch"),
        ("messages", "msg_5", "batch"),
    ]
    assert found[0].answer.usage == TokenClasses(input_uncached=3, output_text=2)


def test_azures_lines_have_no_id_of_their_own() -> None:
    nameless = json.loads(line(1, CHAT))
    del nameless["id"]
    assert read(BatchReader(), json.dumps(nameless).encode())[0].id == "req_1"
    del nameless["response"]["request_id"]
    assert read(BatchReader(), json.dumps(nameless).encode())[0].id == "chatcmpl-1"
    nameless["response"]["body"] = EMBEDDING
    reader = BatchReader()
    assert read(reader, json.dumps(nameless).encode()) == []
    assert reader.skipped == 1, "it was billed, and cannot be told from others"


def test_what_is_not_billed_and_what_cannot_be_read() -> None:
    reader = BatchReader()
    lines = [
        line(1, {"error": {}}, status=400),
        line(2, None, response=None, error={"code": "batch_expired"}),
        b"not json",
        b'{"custom_id":',
        b"",
        line(3, CHAT, status="200"),
        line(4, CHAT),
    ]
    assert [each.id for each in read(reader, b"\r\n".join(lines))] == ["batch_req_4"]
    assert reader.skipped == 0
    billed = [line(5, {**CHAT, "usage": None}), line(6, {"object": "image"}), line(7, [1]), line(8, CHAT)]
    assert [each.id for each in read(reader, b"\n".join(billed))] == ["batch_req_8"]
    assert reader.skipped == 3


@pytest.mark.parametrize(
    "data",
    [
        b"PNG\x00\xff" * 1000,
        b"",
        b"\n\n",
        json.dumps({"id": 1, "rows": ["x" * 100] * 5}).encode() + b"\n" + line(1, CHAT),
        json.dumps({"custom_id": "t", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}).encode()
        + b"\n"
        + line(1, CHAT),
        b'{"messages": []}\n' + line(1, CHAT),
        b"[" + line(1, CHAT) + b"]",
    ],
)
def test_other_files_are_let_alone(data: bytes) -> None:
    reader = BatchReader()
    assert read(reader, data, list(range(0, len(data), 50))) == []
    assert (reader.skipped, bytes(reader._line)) == (0, b"")


def test_a_line_over_the_limit_is_skipped_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collected, "MAX_LINE_BYTES", 1000)
    long = line(1, {**CHAT, "padding": "x" * 1000})
    for lines in ([long, line(2, CHAT)], [line(2, CHAT), long]):
        reader = BatchReader()
        data = b"\n".join(lines)
        assert [each.id for each in read(reader, data, list(range(0, len(data), 100)))] == ["batch_req_2"]
        assert reader.skipped == 1
    reader = BatchReader()
    body = reader.body(event_stream=False)
    for _ in range(100):
        body.feed(b'{"id": "' + b"x" * 500)
        assert len(reader._line) <= 1000


def test_before_a_lines_last_byte_goes_on_it_is_found() -> None:
    reader = BatchReader()
    body = reader.body(event_stream=False)
    assert body.feed(line(1, CHAT)) == line(1, CHAT)[:-1]
    assert reader.take() == []
    assert body.feed(b"\n") == line(1, CHAT)[-1:]
    assert len(reader.take()) == 1
    assert body.end() == b"\n"


def test_a_compressed_file_is_read_in_a_copy() -> None:

    reader = BatchReader()
    body = EncodedBody(reader.body(event_stream=False))
    data = gzip.compress(line(1, CHAT) + b"\n" + line(2, CHAT))
    out = body.feed(data[:40]) + body.feed(data[40:])
    assert out + body.end() == data
    assert [each.id for each in reader.take()] == ["batch_req_1", "batch_req_2"]


FILE = b"\n".join(
    [line(1, CHAT), result(2), line(3, {"error": {}}, status=500), line(4, EMBEDDING), b"odd", line(5, RESPONSE)]
)


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(FILE)), max_size=30))
def test_cut_anywhere(cuts: list[int]) -> None:
    found = read(BatchReader(), FILE, cuts)
    assert [each.id for each in found] == ["batch_req_1", "msg_2", "batch_req_4", "batch_req_5"]


@settings(max_examples=150)
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([line(1, CHAT), result(2), b"\n", b"{", b'"id"']))),
    st.sampled_from([Source("batch", "f"), Source("response", "r")]),
    st.booleans(),
)
def test_any_bytes_pass_and_nothing_raises(pieces: list[bytes], source: Source, event_stream: bool) -> None:
    data = b"".join(pieces)
    cuts = [sum(map(len, pieces[:at])) for at in range(len(pieces))]
    for found in read(reader_of(source), data, cuts, event_stream=event_stream):
        assert found.answer.usage is not None


LEAVES = st.none() | st.booleans() | st.integers() | st.text()
MEMBERS = st.sampled_from(
    ["id", "custom_id", "response", "body", "status_code", "usage", "object", "result", "message"]
)


@settings(max_examples=100)
@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(MEMBERS, inner)))
def test_any_json_in_a_line(value: object) -> None:
    data = b"\n".join([line(1, CHAT), line(2, value), line(3, CHAT, response=value), json.dumps(value).encode()])
    found = read(BatchReader(), data)
    assert [each.id for each in found][:1] == ["batch_req_1"]


# -- the records -------------------------------------------------------------------------------------------------


def test_the_records_of_an_answer() -> None:
    start = Start("get-1", 1, "get-1", "files/f/content", "openai", 77, metered=False, team="search", bytes_in=0)
    (found,) = read(BatchReader(), line(1, CHAT))
    begun, finish = records(start, found, 5000)
    call_id = derived_id("openai", "batch_req_1")
    assert (begun.call_id, begun.attempt, begun.operation_id) == (call_id, 1, call_id)
    assert (begun.endpoint, begun.upstream, begun.started_at_ns, begun.metered) == (
        "chat/completions",
        "openai",
        77,
        True,
    )
    assert (begun.team, begun.model_requested) == ("search", None)
    assert (finish.call_id, finish.attempt, finish.outcome, finish.status) == (call_id, 1, "ok", 200)
    assert (finish.model_served, finish.service_tier, finish.finish_reason) == (
        "gpt-4o-mini-2024-07-18",
        "batch",
        "stop",
    )
    assert finish.usage == TokenClasses(input_uncached=20, output_text=5)
    assert (finish.bytes_out, finish.e2e_ns, finish.upstream_request_id) == (len(line(1, CHAT)), None, "req_1")
    (job,) = read(ResponseReader("resp_1"), json.dumps({**JOB, "status": "failed", "error": {"code": "x"}}).encode())
    begun, finish = records(Start("g", 1, "op", "responses/resp_1", "openai", 77), job, 5000)
    assert (begun.operation_id, finish.outcome, finish.bytes_out) == ("op", "upstream_error", 5000)
