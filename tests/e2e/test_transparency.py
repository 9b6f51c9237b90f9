"""What a caller gets through the relay is, byte for byte, what the provider sent; minus the listed differences."""

import json
from typing import Any

import pytest

from harness.processes import Provider, Unit
from harness.raw import Answer, RawConnection, ask, chat, request

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Grüße"}]}
RESPONSE = {"model": "o4-mini", "input": "Say something."}

# path, body, what the scripted provider is told
WHOLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat": ("chat/completions", chat(), ""),
    "chat n=2": ("chat/completions", chat(n=2), ""),
    "chat tools": ("chat/completions", chat(tools=[TOOL], tool_choice="required"), ""),
    "chat unicode": ("chat/completions", chat(), "text=unicode;output_tokens=40"),
    "chat truncated": ("chat/completions", chat(max_tokens=3), ""),
    "completions": ("completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"}, ""),
    "embeddings": ("embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}, ""),
    "embeddings base64": (
        "embeddings",
        {"model": "text-embedding-3-small", "input": "a", "encoding_format": "base64"},
        "",
    ),
    "responses": ("responses", RESPONSE, "reasoning_tokens=5"),
    "messages": ("messages", MESSAGES, "cached_tokens=8;cache_write_5m_tokens=4"),
    "rechunked": ("chat/completions", chat(), "chunk_bytes=7"),
    "gzip": ("chat/completions", chat(), "gzip=1"),
    "until close": ("chat/completions", chat(), "until_close=1"),
    "not json": ("chat/completions", chat(), "not_json=1"),
    "429": ("chat/completions", chat(), "status=429"),
    "500": ("messages", MESSAGES, "status=500"),
    "401": ("chat/completions", chat(), "status=401"),
}
STREAMED: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat with usage": ("chat/completions", chat(stream_options={"include_usage": True}), ""),
    "chat tools": (
        "chat/completions",
        chat(tools=[TOOL], tool_choice="required", stream_options={"include_usage": True}),
        "",
    ),
    "chat n=2": ("chat/completions", chat(n=2, stream_options={"include_usage": True}), ""),
    "chat reasoning": ("chat/completions", chat(stream_options={"include_usage": True}), "reasoning_tokens=6"),
    "chat crlf": ("chat/completions", chat(stream_options={"include_usage": True}), "line_end=crlf;comments=1"),
    "chat cr": ("chat/completions", chat(stream_options={"include_usage": True}), "line_end=cr"),
    "chat in sevens": ("chat/completions", chat(stream_options={"include_usage": True}), "chunk_bytes=7;text=unicode"),
    "chat without done": ("chat/completions", chat(stream_options={"include_usage": True}), "done=0"),
    "chat with length": ("chat/completions", chat(stream_options={"include_usage": True}), "content_length=1"),
    "chat error inside": ("chat/completions", chat(stream_options={"include_usage": True}), "error_after_chunks=3"),
    "completions": (
        "completions",
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Once", "stream_options": {"include_usage": True}},
        "",
    ),
    "responses": ("responses", RESPONSE, "reasoning_tokens=5"),
    "responses in ones": ("responses", RESPONSE, "chunk_bytes=1;output_tokens=3"),
    "messages": ("messages", MESSAGES, "reasoning_tokens=4;text=unicode"),
    "messages in fives": ("messages", MESSAGES, "chunk_bytes=5"),
    "bad json": ("chat/completions", chat(stream_options={"include_usage": True}), "malformed=bad_json"),
    "bad utf-8": ("chat/completions", chat(stream_options={"include_usage": True}), "malformed=bad_utf8"),
}


def both(provider: Provider, unit: Unit, path: str, body: dict[str, Any], script: str) -> tuple[Answer, Answer]:
    headers = {"x-scripted": script} if script else {}
    direct = ask(provider.port, "POST", f"/v1/{path}", headers, body)
    return direct, ask(unit.port, "POST", f"/v1/{path}", headers, body)


def assert_same(direct: Answer, relayed: Answer) -> None:
    assert (relayed.status, relayed.reason) == (direct.status, direct.reason)
    assert relayed.comparable_headers() == direct.comparable_headers()
    assert relayed.body == direct.body
    assert relayed.ended == direct.ended


@pytest.mark.parametrize("name", WHOLE)
def test_whole_answers_are_the_same(provider: Provider, unit: Unit, name: str) -> None:
    assert_same(*both(provider, unit, *WHOLE[name]))


@pytest.mark.parametrize("name", STREAMED)
def test_streams_are_the_same(provider: Provider, unit: Unit, name: str) -> None:
    path, body, script = STREAMED[name]
    direct, relayed = both(provider, unit, path, body | {"stream": True}, script)
    assert len(direct.body) > 200
    assert_same(direct, relayed)


@pytest.mark.parametrize("include", [None, False])
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_the_usage_chunk_that_was_asked_for_is_taken_out_again(
    provider: Provider, unit: Unit, path: str, include: bool | None
) -> None:
    body = chat(stream=True) if path == "chat/completions" else {"model": "gpt-4o", "prompt": "x", "stream": True}
    if include is not None:
        body["stream_options"] = {"include_usage": include}
    asked = ask(provider.port, "POST", f"/v1/{path}", {}, body | {"stream_options": {"include_usage": True}})
    relayed = ask(unit.port, "POST", f"/v1/{path}", {}, body)
    events = asked.body.split(b"\n\n")
    usage = [event for event in events if b'"choices":[]' in event]
    assert len(usage) == 1, "the provider's stream has one usage chunk"
    assert relayed.body == b"\n\n".join(event for event in events if event not in usage)
    row = unit.row(relayed.call_id)
    told = json.loads(usage[0].removeprefix(b"data: "))["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (told["prompt_tokens"], told["completion_tokens"])
    assert row["usage_source"] == "provider"


def test_other_stream_options_and_all_other_bytes_of_the_body_stay(provider: Provider, unit: Unit) -> None:
    """A provider that refuses stream_options gets the call once more, as it was; the caller sees only that answer."""
    headers = {"x-scripted": "reject_stream_options=1"}
    direct = ask(provider.port, "POST", "/v1/chat/completions", headers, chat(stream=True, seed=1))
    before = len(provider.invoice())
    relayed = ask(unit.port, "POST", "/v1/chat/completions", headers, chat(stream=True, seed=1))
    assert_same(direct, relayed)
    assert [line["status"] for line in provider.invoice()[before:]] == [400, 200]
    rows = sorted((r for r in unit.rows() if r["call_id"] == relayed.call_id), key=lambda r: r["attempt"])
    assert [(row["attempt"], row["outcome"], row["status"]) for row in rows] == [
        (1, "upstream_error", 400),
        (2, "ok", 200),
    ]
    again = ask(unit.port, "POST", "/v1/chat/completions", headers, chat(stream=True, seed=2))
    assert again.status == 200
    assert provider.invoice()[-2]["status"] != 400, "the refusal is remembered"


def test_a_refusal_of_the_callers_own_stream_options_is_the_callers(provider: Provider, unit: Unit) -> None:
    body = chat(model="gpt-4o", stream=True, stream_options={"include_usage": True})
    assert_same(*both(provider, unit, "chat/completions", body, "reject_stream_options=1"))


def test_models_and_unknown_paths_pass_through(provider: Provider, unit: Unit) -> None:
    for method, path in (("GET", "models"), ("HEAD", "models"), ("GET", "models/gpt-4o"), ("GET", "nowhere?x=1")):
        direct = ask(provider.port, method, f"/v1/{path}")
        relayed = ask(unit.port, method, f"/v1/{path}")
        assert_same(direct, relayed)
        assert relayed.header("x-submeter-cache") == "bypass"


def test_large_bodies_stream_both_ways(provider: Provider, unit: Unit) -> None:
    size = 30_000_000
    assert_same(
        ask(provider.port, "GET", f"/v1/files/f/content?bytes={size}"),
        ask(unit.port, "GET", f"/v1/files/f/content?bytes={size}"),
    )
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"a" * size + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    direct = ask(provider.port, "POST", "/v1/files", headers, part)
    relayed = ask(unit.port, "POST", "/v1/files", headers, part)
    assert relayed.json()["bytes"] == size
    assert_same(direct, relayed)
    row = unit.row(relayed.call_id)
    assert (row["cost_state"], row["cost_nano_usd"], row["endpoint"]) == ("unmetered", None, "files")


def test_chunked_request_bodies_and_100_continue_work(provider: Provider, unit: Unit) -> None:
    body = json.dumps(chat(temperature=0.5)).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    )
    with RawConnection(unit.port) as connection:
        connection.send(head)
        assert connection.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in body:
            connection.send(b"1\r\n%c\r\n" % byte)
        connection.send(b"0\r\n\r\n")
        answer = connection.read_answer()
        assert answer.status == 200
        # and the connection serves on
        connection.send(request("POST", "/v1/chat/completions", body=chat()))
        assert connection.read_answer().status == 200
    assert unit.row(answer.call_id)["bytes_in"] == len(body)


def test_http_1_0_gets_an_answer_that_ends_with_the_connection(unit: Unit) -> None:
    data = request("POST", "/v1/chat/completions", body=chat(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with RawConnection(unit.port) as connection:
        connection.send(data)
        answer = connection.read_answer()
    assert answer.header("transfer-encoding") is None
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_pipelined_requests_are_answered_in_order(unit: Unit) -> None:
    bodies = [chat(messages=[{"role": "user", "content": f"number {i} " * (i + 1)}]) for i in range(4)]
    with RawConnection(unit.port) as connection:
        connection.send(b"".join(request("POST", "/v1/chat/completions", body=body) for body in bodies))
        answers = [connection.read_answer() for _ in bodies]
    rows = {row["call_id"]: row for row in unit.rows()}
    sizes = [len(json.dumps(body)) for body in bodies]
    assert [rows[answer.call_id]["bytes_in"] for answer in answers] == sizes


def test_a_websocket_is_tunnelled(unit: Unit) -> None:
    head = request(
        "GET",
        "/v1/responses",
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )
    masked = bytes(a ^ b for a, b in zip(b"hello", b"\x01\x02\x03\x04\x01", strict=True))
    with RawConnection(unit.port) as connection:
        connection.send(head + b"\x81\x85\x01\x02\x03\x04" + masked)
        status, _, headers = connection.read_head()
        assert status == 101
        assert dict(headers)[b"Sec-WebSocket-Accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert connection.read_exactly(7) == b"\x81\x05hello"
        connection.send(b"\x88\x80\x00\x00\x00\x00")  # close
        assert connection.read_exactly(2)[:1] == b"\x88"


def test_a_stream_of_1000_chunks_arrives_chunk_for_chunk(provider: Provider, unit: Unit) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    script = {"x-scripted": "output_tokens=1000"}
    direct = ask(provider.port, "POST", "/v1/chat/completions", script, body)
    relayed = ask(unit.port, "POST", "/v1/chat/completions", script, body)
    assert len(direct.chunks) > 1000
    assert relayed.chunks == direct.chunks


@pytest.mark.parametrize("chunks", [1, 2, 5])
@pytest.mark.parametrize("extra", ["", "line_end=crlf", "text=unicode;split_utf8=1"])
def test_no_chunk_waits_for_the_next(unit: Unit, chunks: int, extra: str) -> None:
    """The provider falls silent after some chunks: what it has sent is here, whole, although nothing follows."""
    with RawConnection(unit.port, deadline_s=5.0) as connection:
        headers = {"x-scripted": f"output_tokens=9;stall_after_chunks={chunks};{extra}"}
        connection.send(request("POST", "/v1/chat/completions", headers, chat(stream=True)))
        connection.read_head()
        received = b""
        while received.count(b'"content":"') - received.count(b'"content":""') < chunks:
            chunk = connection.read_chunk()
            assert chunk is not None
            received += chunk
        end = b"\r\n\r\n" if "crlf" in extra else b"\n\n"
        while not received.endswith(end):
            received += connection.read_chunk() or b""


def test_a_character_cut_by_the_provider_arrives_whole_and_at_once(provider: Provider, unit: Unit) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    headers = {"x-scripted": "text=unicode;split_utf8=1;output_tokens=30"}
    direct = ask(provider.port, "POST", "/v1/chat/completions", headers, body)
    relayed = ask(unit.port, "POST", "/v1/chat/completions", headers, body)
    assert relayed.body == direct.body
    assert relayed.body.decode()  # whole characters again
    assert any(not _is_utf8(chunk) for chunk in relayed.chunks), "the cut within a character came through as it was"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
