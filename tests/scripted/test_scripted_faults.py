"""Each key does what its row in the table says, seen at the socket."""

import asyncio
import gzip
import json
import time
import zlib

import pytest

import submeter.scripted
from scripted.harness import BODIES, CHAT, CHAT_STREAM, MESSAGES, Provider, read_answer, read_head
from submeter.scripted.script import KEYS

pytestmark = pytest.mark.anyio

STREAMS: dict[str, dict[str, object]] = {
    "chat/completions": CHAT_STREAM,
    "completions": {**BODIES["completions"], "stream": True},
    "responses": {**BODIES["responses"], "stream": True},
    "messages": {**MESSAGES, "stream": True},
}


def test_every_key_stands_in_the_table() -> None:
    table = submeter.scripted.__doc__ or ""
    assert [key for key in KEYS if f"``{key}``" not in table] == []


# ---- before the head ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503, 529])
async def test_status_answers_an_error_of_the_dialect(server: Provider, status: int) -> None:
    openai = await server.chat(f"status={status}")
    anthropic = await server.post("/v1/messages", MESSAGES, f"status={status}")
    assert (openai.status, anthropic.status) == (status, status)
    assert set(openai.json["error"]) == {"message", "type", "param", "code"}
    assert anthropic.json["type"] == "error"
    assert set(anthropic.json["error"]) == {"type", "message"}
    assert ("retry-after" in openai.headers) is (status in (429, 503, 529))
    assert openai.headers["x-ratelimit-limit-requests"] == "10000"
    assert anthropic.headers["anthropic-ratelimit-requests-limit"] == "10000"
    lines = server.lines()
    assert [line["status"] for line in lines] == [status, status]
    assert [line["cost_nano_usd"] for line in lines] == [0, 0]
    assert [line["tokens"]["input_uncached"] for line in lines] == [0, 0]
    assert lines[0]["request_id"] == openai.headers["x-request-id"]
    assert lines[1]["request_id"] == anthropic.headers["request-id"]


async def test_redirect(server: Provider) -> None:
    answer = await server.chat("redirect")
    assert (answer.status, answer.headers["location"]) == (307, "/v1/redirected")
    assert server.lines()[0]["cost_nano_usd"] == 0


async def test_reset_before_head(server: Provider) -> None:
    with pytest.raises(ConnectionResetError):
        await server.chat("reset_before_head=1")
    line = server.lines()[0]
    assert (line["status"], line["complete"], line["closed_by_client"]) == (None, False, False)
    assert (line["input_tokens"], line["output_tokens"]) == (6, 0)


async def test_hang_before_head_until_the_client_leaves(server: Provider, arrived: asyncio.Event) -> None:
    async with server.request("/v1/chat/completions", CHAT, "hang_before_head=1") as reader:
        await arrived.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
        assert server.lines() == []
    line = (await server.settled(1))[0]
    assert (line["status"], line["closed_by_client"]) == (None, True)


async def test_reject_stream_options_only_where_they_are(server: Provider) -> None:
    refused = await server.chat_stream("reject_stream_options=1")
    accepted = await server.chat("reject_stream_options=1")
    assert refused.status == 400
    assert "stream_options" in refused.json["error"]["message"]
    assert accepted.status == 200


async def test_an_unknown_key_is_named_with_the_nearest_known_one(server: Provider) -> None:
    answer = await server.chat("ttft_sm=5")
    assert answer.status == 400
    assert answer.json["error"]["message"] == "x-scripted: unknown key 'ttft_sm'; did you mean 'ttft_ms'?"
    answer = await server.chat("zzz=5")
    assert "the keys are ttft_ms, gap_ms" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("script", "named"),
    [("output_tokens=many", "output_tokens"), ("status=200", "status"), ("usage=odd", "usage"), ("gap_ms=nan", "gap")],
)
async def test_a_value_that_does_not_fit_is_named(server: Provider, script: str, named: str) -> None:
    answer = await server.chat(script)
    assert answer.status == 400
    assert named in answer.json["error"]["message"]


async def test_a_script_in_the_query_wins_over_the_header(server: Provider) -> None:
    answer = await server.post("/v1/chat/completions?scripted=output_tokens%3D2;seed=1", CHAT, "output_tokens=5;seed=1")
    assert answer.json["usage"]["completion_tokens"] == 2


# ---- in the body -------------------------------------------------------------------------------------------


def _deltas(data: list[bytes]) -> int:
    return sum(b'"delta":' in one and b'"delta":{"role"' not in one and b'"delta":{}' not in one for one in data)


@pytest.mark.parametrize(("key", "ended"), [("cut_after_chunks", "cut"), ("end_after_chunks", "properly")])
@pytest.mark.parametrize("chunks", [0, 1, 3, 16])
async def test_a_stream_ends_after_so_many_chunks(server: Provider, key: str, ended: str, chunks: int) -> None:
    answer = await server.chat_stream(f"{key}={chunks}")
    assert (answer.status, answer.ended) == (200, ended)
    assert _deltas(answer.data) == chunks
    assert b'finish_reason":"' not in answer.body
    line = server.lines()[0]
    assert (line["complete"], line["reported"], line["closed_by_client"]) == (False, False, False)
    assert (line["input_tokens"], line["output_tokens"]) == (6, chunks)


@pytest.mark.parametrize("endpoint", STREAMS)
async def test_every_dialect_can_be_cut(server: Provider, endpoint: str) -> None:
    answer = await server.post(f"/v1/{endpoint}", STREAMS[endpoint], "cut_after_chunks=2")
    assert answer.ended == "cut"
    assert server.lines()[0]["output_tokens"] == 2


async def test_reset_after_chunks(server: Provider) -> None:
    async with server.request("/v1/chat/completions", CHAT_STREAM, "reset_after_chunks=2;gap_ms=20") as reader:
        answer = await read_answer(reader)
    assert answer.ended == "reset"
    assert server.lines()[0]["output_tokens"] == 2


async def test_stall_after_chunks(server: Provider) -> None:
    async with server.request("/v1/chat/completions", CHAT_STREAM, "stall_after_chunks=2") as reader:
        answer = await read_head(reader)
        assert answer.status == 200
        await reader.readuntil(b"\n\n\r\n")
        await asyncio.sleep(0.05)
        assert server.lines() == []
    line = (await server.settled(1))[0]
    assert (line["output_tokens"], line["closed_by_client"]) == (2, True)


@pytest.mark.parametrize("endpoint", STREAMS)
async def test_error_after_chunks_in_the_dialect(server: Provider, endpoint: str) -> None:
    answer = await server.post(f"/v1/{endpoint}", STREAMS[endpoint], "error_after_chunks=1")
    assert answer.ended == "properly"
    error = answer.events[-1]
    assert ("error" in error) is (endpoint != "responses")
    assert (
        answer.body.rstrip()
        .split(b"\n\n")[-1]
        .startswith(b"data: " if endpoint in ("chat/completions", "completions") else b"event: error\n")
    )
    assert server.lines()[0]["complete"] is False


async def test_done_0_leaves_the_terminator_out(server: Provider) -> None:
    with_it, without = await server.chat_stream("fixed_ids"), await server.chat_stream("fixed_ids;done=0")
    assert with_it.body == without.body + b"data: [DONE]\n\n"


async def test_chunk_bytes_cuts_the_same_bytes_anew(server: Provider) -> None:
    plain = await server.chat_stream("fixed_ids")
    cut = await server.chat_stream("fixed_ids;chunk_bytes=7")
    assert cut.body == plain.body
    assert {len(chunk) for chunk in cut.chunks[:-1]} == {7}
    whole = await server.chat("chunk_bytes=100")
    assert "content-length" not in whole.headers
    assert [len(chunk) for chunk in whole.chunks[:-1]] == [100] * (len(whole.chunks) - 1)
    assert whole.json["usage"]["completion_tokens"] == 16


async def test_split_utf8_ends_a_write_inside_a_character(server: Provider) -> None:
    plain = await server.chat_stream("fixed_ids;text=unicode")
    split = await server.chat_stream("fixed_ids;text=unicode;split_utf8=1")
    assert split.body == plain.body
    for chunk in split.chunks[1:3]:
        with pytest.raises(UnicodeDecodeError):
            chunk.decode()


@pytest.mark.parametrize(("line_end", "end"), [("lf", b"\n"), ("crlf", b"\r\n"), ("cr", b"\r")])
async def test_line_ends(server: Provider, line_end: str, end: bytes) -> None:
    plain = await server.chat_stream("fixed_ids")
    answer = await server.chat_stream(f"fixed_ids;line_end={line_end}")
    assert answer.body == plain.body.replace(b"\n", end)


async def test_comments(server: Provider) -> None:
    answer = await server.chat_stream("comments=1;output_tokens=1")
    assert answer.body.startswith(b": keep-alive\n\ndata: {")
    assert answer.body.endswith(b": keep-alive\n\ndata: [DONE]\n\n")


async def test_content_length_and_until_close(server: Provider) -> None:
    plain = await server.chat_stream("fixed_ids")
    counted = await server.chat_stream("fixed_ids;content_length=1")
    unframed = await server.chat_stream("fixed_ids;until_close=1")
    assert "transfer-encoding" not in counted.headers
    assert counted.headers["content-length"] == str(len(plain.body))
    assert unframed.headers.keys().isdisjoint({"transfer-encoding", "content-length"})
    assert unframed.headers["connection"] == "close"
    assert counted.body == unframed.body == plain.body


async def test_gzip(server: Provider) -> None:
    plain = await server.chat_stream("fixed_ids")
    packed = await server.chat_stream("fixed_ids;gzip=1")
    counted = await server.chat_stream("fixed_ids;gzip=1;content_length=1")
    whole = await server.chat("gzip=1")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == gzip.decompress(counted.body) == plain.body
    first = zlib.decompressobj(wbits=31).decompress(packed.chunks[0])
    assert first.startswith(b"data: {")
    assert json.loads(gzip.decompress(whole.body))["object"] == "chat.completion"


@pytest.mark.parametrize("endpoint", STREAMS)
async def test_malformed_spoils_the_first_chunk_with_tokens(server: Provider, endpoint: str) -> None:
    async def stream(script: str) -> bytes:
        return (await server.post(f"/v1/{endpoint}", STREAMS[endpoint], f"fixed_ids;{script}")).body

    plain = await stream("")
    bad_json = await stream("malformed=bad_json")
    assert len(plain) - len(bad_json) == 1
    bad_utf8 = await stream("malformed=bad_utf8")
    assert bad_utf8.replace(b',"spoiled":"\xff\xfe"', b"") == plain
    no_blank_line = await stream("malformed=no_blank_line")
    assert no_blank_line.count(b"\n\n") == plain.count(b"\n\n") - 1
    huge = await stream("malformed=huge_line;huge_bytes=100000")
    assert len(huge) > len(plain) + 100000
    assert huge.replace(b',"padding":"' + b"x" * 100000 + b'"', b"") == plain


async def test_malformed_whole_is_not_reported(server: Provider) -> None:
    answer = await server.chat("malformed=bad_json")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)
    line = server.lines()[0]
    assert (line["reported"], line["complete"], line["output_tokens"]) == (False, True, 16)


async def test_not_json(server: Provider) -> None:
    answer = await server.chat("not_json=1")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    assert answer.body.startswith(b"<html>")
    assert server.lines()[0]["reported"] is False


async def test_whole_cut(server: Provider) -> None:
    answer = await server.chat("whole_cut=1")
    assert answer.ended == "cut"
    assert len(answer.body) == int(answer.headers["content-length"]) // 2
    line = server.lines()[0]
    assert (line["complete"], line["reported"], line["output_tokens"]) == (False, False, 16)


async def test_slow_close_keeps_the_body_open_after_the_last_event(server: Provider) -> None:
    async with server.request("/v1/chat/completions", CHAT_STREAM, "slow_close_ms=60000") as reader:
        await reader.readuntil(b"data: [DONE]\n\n\r\n")
        assert server.lines()[0]["complete"] is True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
    assert len(server.lines()) == 1


async def test_the_pace_is_kept(server: Provider) -> None:
    """Lower bounds only: a busy machine may be late, but never early."""
    started = time.monotonic()
    await server.chat_stream("ttft_ms=30;gap_ms=10;output_tokens=4")
    assert time.monotonic() - started >= 0.060
    started = time.monotonic()
    await server.chat("ttft_ms=30;gap_ms=10;output_tokens=4")
    assert time.monotonic() - started >= 0.060
    started = time.monotonic()
    await server.post("/v1/embeddings", BODIES["embeddings"], "ttft_ms=30")
    assert time.monotonic() - started >= 0.030


# ---- usage -------------------------------------------------------------------------------------------------


async def _usages(server: Provider, mode: str) -> list[object]:
    answer = await server.chat_stream(f"usage={mode};output_tokens=4", stream_options={"include_usage": True})
    return [event.get("usage", "absent") for event in answer.events]


async def test_usage_in_a_chat_stream(server: Provider) -> None:
    told = {mode: await _usages(server, mode) for mode in ("normal", "none", "null", "finish_chunk", "repeated")}
    block = told["normal"][-1]
    assert isinstance(block, dict)
    assert (block["prompt_tokens"], block["completion_tokens"], block["total_tokens"]) == (6, 4, 10)
    assert told["normal"] == [None] * 6 + [block]
    assert told["none"] == [None] * 6
    assert told["null"] == [None] * 7
    assert told["finish_chunk"] == [None] * 5 + [block]
    assert told["repeated"] == [None] * 6 + [block] * 3
    assert [line["reported"] for line in server.lines()] == [True, False, False, True, True]


async def test_usage_that_changes_along_a_chat_stream(server: Provider) -> None:
    cumulative = await _usages(server, "cumulative")
    decreasing = await _usages(server, "decreasing")
    counts = [block["completion_tokens"] for block in cumulative if isinstance(block, dict)]
    assert counts == [1, 2, 3, 4, 4]
    counts = [block["completion_tokens"] for block in decreasing if isinstance(block, dict)]
    assert counts == [104, 104, 104, 104, 4]


@pytest.mark.parametrize(
    ("mode", "completion"),
    [("negative", -5), ("float", 4.5), ("string", "4"), ("huge", 2**60 + 4), ("zero", 0), ("inconsistent", 4)],
)
async def test_usage_that_lies(server: Provider, mode: str, completion: object) -> None:
    streamed = (await _usages(server, mode))[-1]
    whole = (await server.chat(f"usage={mode};output_tokens=4")).json["usage"]
    assert streamed == whole
    assert whole["completion_tokens"] == completion
    honest = mode == "zero"
    for line in server.lines():
        assert line["reported"] is honest
        assert line["output_tokens"] == (0 if honest else 4)


async def test_usage_inconsistent_has_parts_beyond_the_whole(server: Provider) -> None:
    told = (await server.chat("usage=inconsistent")).json["usage"]
    assert told["prompt_tokens_details"]["cached_tokens"] > told["prompt_tokens"]
    assert told["completion_tokens_details"]["reasoning_tokens"] > told["completion_tokens"]


async def test_usage_nan_is_no_json(server: Provider) -> None:
    answer = await server.chat("usage=nan")
    assert b'"completion_tokens":NaN' in answer.body


async def test_usage_in_messages_streams(server: Provider) -> None:
    async def told(mode: str) -> list[object]:
        script = f"usage={mode};output_tokens=4;cached_tokens=2;cache_write_5m_tokens=3"
        answer = await server.post("/v1/messages", STREAMS["messages"], script)
        start = answer.events[0]["message"].get("usage", "absent")
        return [start, *(e.get("usage", "absent") for e in answer.events if e["type"] == "message_delta")]

    start, delta = await told("normal")
    assert start == {
        "input_tokens": 0,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
    }
    assert delta == {"output_tokens": 4}
    assert await told("none") == ["absent", "absent"]
    assert await told("null") == [None, None]
    assert (await told("repeated"))[1:] == [delta] * 3
    low, full = await told("cumulative")
    assert low["cache_creation_input_tokens"] == 0  # type: ignore[index]
    assert full == {**start, "output_tokens": 4}
    high, full = await told("decreasing")
    assert (high["output_tokens"], full["output_tokens"]) == (104, 4)  # type: ignore[index]
