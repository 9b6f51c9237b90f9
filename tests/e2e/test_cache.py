"""Deterministic calls are answered from the cache: the same bytes, no cost, and nobody else's answer."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cache_calls import DETERMINISTIC, assert_never_hits, cached, call, question
from harness.processes import Provider, Unit
from harness.raw import RawConnection, request

NANO_INPUT, NANO_OUTPUT = 150, 600  # gpt-4o-mini: 0.15 and 0.60 USD per million tokens, in nano-USD per token
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def provider(module_dir: Path) -> Iterator[Provider]:
    """Ids differ from call to call: equal bytes can only come from the cache."""
    provider = Provider(module_dir)
    yield provider
    provider.close()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_repeated_call_costs_nothing_and_gets_the_same_bytes(provider: Provider, unit: Unit, name: str) -> None:
    path, body = DETERMINISTIC[name]
    before = len(provider.invoice())
    first, second = call(unit, body, path), call(unit, body, path)
    assert (cached(first), cached(second)) == ("miss", "hit")
    assert second.body == first.body
    assert second.header("content-type") == first.header("content-type")
    assert second.call_id != first.call_id
    assert len(provider.invoice()) == before + 1, "one line for two calls"
    miss, hit = unit.row(first.call_id), unit.row(second.call_id)
    assert (hit["cache"], hit["outcome"], hit["status"], hit["cost_nano_usd"]) == ("hit", "ok", 200, 0)
    assert hit["saved_nano_usd"] == miss["cost_nano_usd"] == provider.invoice()[-1]["cost_nano_usd"]
    assert miss["saved_nano_usd"] is None
    assert hit["upstream_request_id"] is None
    for column in ("input_tokens", "output_tokens", "model_served", "service_tier", "finish_reason", "bytes_out"):
        assert hit[column] == miss[column], f"{column} describes the answer"


def test_what_a_hit_saves_is_the_price_of_its_tokens(unit: Unit) -> None:
    body = question()
    call(unit, body)
    hit = unit.row(call(unit, body).call_id)
    assert hit["input_tokens"] > 0
    assert hit["output_tokens"] == 16
    assert hit["saved_nano_usd"] == hit["input_tokens"] * NANO_INPUT + 16 * NANO_OUTPUT


def test_the_spelling_of_a_request_does_not_matter(unit: Unit) -> None:
    body = question(seed=7)
    assert cached(call(unit, body)) == "miss"
    for spelled in (b"0.0", b"-0", b"0e5"):
        data = json.dumps(dict(reversed(body.items())), indent=1).encode()
        assert cached(call(unit, data.replace(b'"temperature": 0', b'"temperature": ' + spelled))) == "hit"
    assert cached(call(unit, body | {"seed": 8})) == "miss"
    assert cached(call(unit, body | {"unknown_member": 1})) == "miss"


@pytest.mark.parametrize("first_asks", [False, True])
def test_streams_are_replayed_with_or_without_the_usage_chunk(unit: Unit, first_asks: bool) -> None:
    """Whoever filled the cache: each gets the usage chunk exactly if it asked for it."""
    plain = question(stream=True)
    asking = plain | {"stream_options": {"include_usage": True}}
    first = call(unit, asking if first_asks else plain)
    with_usage, without = call(unit, asking), call(unit, plain)
    assert [cached(answer) for answer in (first, with_usage, without)] == ["miss", "hit", "hit"]
    assert first.body == (with_usage if first_asks else without).body
    events = with_usage.body.split(b"\n\n")
    usage = [event for event in events if b'"choices":[]' in event]
    assert len(usage) == 1
    assert without.body == b"\n\n".join(event for event in events if event not in usage)
    assert with_usage.header("content-type") == first.header("content-type")
    assert with_usage.ended
    hit = unit.row(without.call_id)
    assert hit["stream"] is True
    assert hit["saved_nano_usd"] == hit["input_tokens"] * NANO_INPUT + 16 * NANO_OUTPUT


def test_a_streamed_hit_in_http_1_0_ends_with_the_connection(unit: Unit) -> None:
    body = question(stream=True)
    first = call(unit, body)
    with RawConnection(unit.port) as connection:
        data = request("POST", "/v1/chat/completions", {"Connection": "keep-alive"}, body)
        connection.send(data.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        again = connection.read_answer()
    assert (cached(again), again.header("transfer-encoding"), again.body) == ("hit", None, first.body)


def test_nobody_gets_anothers_answer(unit: Unit) -> None:
    body = question()
    assert cached(call(unit, body, Authorization="Bearer sk-a")) == "miss"
    assert cached(call(unit, body, Authorization="Bearer sk-b")) == "miss"
    assert cached(call(unit, body, Authorization="Bearer sk-a")) == "hit"
    assert cached(call(unit, body, Authorization="Bearer sk-a", OpenAI_Organization="org-2")) == "miss"
    assert cached(call(unit, body, Authorization="Bearer sk-a", x_api_key="sk-b")) == "miss", "which of them counts?"


def test_who_has_no_credential_has_no_cache(unit: Unit) -> None:
    body = question()
    assert [cached(call(unit, body, Authorization="")) for _ in range(2)] == ["bypass", "bypass"]


@pytest.mark.parametrize("control", ["no-store", "No-Store", "max-age=0, no-store"])
def test_a_caller_may_go_around_the_cache(unit: Unit, control: str) -> None:
    body = question()
    assert cached(call(unit, body, Cache_Control=control)) == "bypass"
    assert cached(call(unit, body)) == "miss", "it was not kept either"
    assert cached(call(unit, body, Cache_Control=control)) == "bypass"


def test_a_caller_may_have_the_answer_made_anew(unit: Unit) -> None:
    body = question()
    first = call(unit, body)
    anew = call(unit, body, Cache_Control="no-cache")
    assert (cached(first), cached(anew)) == ("miss", "bypass")
    assert anew.body != first.body, "ids differ from call to call here"
    again = call(unit, body)
    assert (cached(again), again.body) == ("hit", anew.body)


def test_a_caller_may_want_a_fresh_answer(unit: Unit) -> None:
    body = question()
    first = call(unit, body)
    for lenient in ("max-age=3600", 'max-age="3600"', "max-stale"):
        again = call(unit, body, Cache_Control=lenient)
        assert (cached(again), again.body) == ("hit", first.body)
    time.sleep(0.01)  # older than nothing
    fresh = call(unit, body, Cache_Control="max-age=0")
    assert cached(fresh) == "miss"
    again = call(unit, body)
    assert (cached(again), again.body) == ("hit", fresh.body), "it has taken the place of the old one"


def test_a_caller_may_say_how_long_its_answer_is_kept(unit: Unit) -> None:
    not_kept, short, odd = question(), question(), question()
    assert cached(call(unit, not_kept, x_submeter_cache_ttl="0")) == "miss"
    assert cached(call(unit, not_kept)) == "miss"
    assert cached(call(unit, not_kept, x_submeter_cache_ttl="0")) == "hit", "it reads all the same"
    assert cached(call(unit, short, x_submeter_cache_ttl="1")) == "miss"
    assert cached(call(unit, odd, x_submeter_cache_ttl="soon")) == "miss"
    time.sleep(1.2)
    assert cached(call(unit, short)) == "miss"
    assert cached(call(unit, odd)) == "hit"


@pytest.mark.parametrize(
    "more",
    [{"temperature": 0.1}, {"temperature": None}, {"temperature": "0"}, {"n": 2}, {"tools": [TOOL]}, {"store": True}],
    ids=str,
)
def test_what_may_differ_next_time_is_not_kept(unit: Unit, more: dict[str, Any]) -> None:
    body = question()
    assert_never_hits(unit, body | more, said="bypass")
    assert cached(call(unit, body)) == "miss"


def test_without_a_temperature_nothing_is_kept(unit: Unit) -> None:
    body = question()
    del body["temperature"]
    assert_never_hits(unit, body, said="bypass")


BROKEN = [
    "error_after_chunks=3", "cut_after_chunks=3", "reset_after_chunks=3", "end_after_chunks=3", "whole_cut=1",
    "usage=none", "usage=nan", "usage=negative", "not_json=1", "malformed=bad_json", "status=500", "status=429",
    "reset_before_head=1", "done=0", "gzip=1",
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", BROKEN)
def test_a_broken_answer_is_not_kept(unit: Unit, script: str, stream: bool) -> None:
    body = question(stream=stream)
    broken = call(unit, body, x_scripted=script)
    assert broken.header("x-submeter-cache") in ("miss", "bypass")
    again = call(unit, body)
    streams_alone = script == "done=0" or script.endswith("chunks=3")
    if (script in ("not_json=1", "whole_cut=1") and stream) or (streams_alone and not stream):
        assert cached(again) == "hit", "this script breaks nothing here"
    else:
        assert cached(again) == "miss"
    assert cached(call(unit, body)) == "hit"


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_answer_is_not_kept(unit: Unit, stream: bool) -> None:
    body = question(stream=stream, max_tokens=3)
    assert_never_hits(unit, body, said="miss")


def test_a_client_that_leaves_fills_nothing(unit: Unit) -> None:
    body = question(stream=True)
    with pytest.raises(TimeoutError):
        _leave(unit, body)
    assert cached(call(unit, body)) == "miss"


def _leave(unit: Unit, body: dict[str, Any]) -> None:
    with socket.create_connection(("127.0.0.1", unit.port), 0.3) as connection:
        data = json.dumps(body).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-test\r\n"
        head += (
            f"Content-Type: application/json\r\nx-scripted: stall_after_chunks=2\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        connection.sendall(head.encode() + data)
        while connection.recv(65536):
            pass


CUTS = ["cut_after_chunks", "reset_after_chunks", "end_after_chunks", "error_after_chunks"]


@pytest.mark.parametrize("name", ["chat", "completions", "responses", "messages"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_stream_cut_anywhere_is_never_kept(unit: Unit, name: str, cut: str) -> None:
    path, body = DETERMINISTIC[name]
    body = body | {"stream": True, "user": f"{name}, {cut}"}
    for chunks in range(17):  # 16 with tokens: none of them is missing, but the end is
        call(unit, body, path, x_scripted=f"{cut}={chunks}")
        again = call(unit, body, path, Cache_Control="max-stale", x_scripted=f"{cut}={chunks}")
        assert again.header("x-submeter-cache") == "miss", f"after {chunks} chunks"
    assert [cached(call(unit, body, path)) for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize("name", ["chat", "completions", "responses", "messages"])
@pytest.mark.parametrize("stream_first", [False, True])
def test_one_entry_serves_both_forms(unit: Unit, provider: Provider, name: str, stream_first: bool) -> None:
    path, body = DETERMINISTIC[name]
    body = body | {"user": f"both forms of {name}, {stream_first}"}
    before = len(provider.invoice())
    asked = [body | {"stream": stream_first}, body | {"stream": not stream_first}]
    first = call(unit, asked[0], path)
    call(unit, asked[0], path)  # once this is answered the first is kept, which its own caller does not wait for
    other = call(unit, asked[1], path)
    assert (cached(first), cached(other)) == ("miss", "hit")
    assert len(provider.invoice()) == before + 1
    whole, stream = (other, first) if stream_first else (first, other)
    assert (whole.header("content-type") or "").startswith("application/json")
    assert (stream.header("content-type") or "").startswith("text/event-stream")
    assert whole.json()["id"].encode() in stream.body, "one answer"
    miss, hit = unit.row(first.call_id), unit.row(other.call_id)
    assert hit["saved_nano_usd"] == miss["cost_nano_usd"]
    for column in ("input_tokens", "output_tokens", "model_served", "finish_reason"):
        assert hit[column] == miss[column]


def test_models_and_routes_have_settings_of_their_own(tmp_path: Path, provider: Provider) -> None:
    config = "cache: {routes: {embeddings: {enabled: false}}, models: {gpt-4o*: {ttl_s: 1}, gpt-4o: {enabled: false}}}"
    unit = Unit(tmp_path, provider, config=config)
    try:
        path, embeddings = DETERMINISTIC["embeddings"]
        assert_never_hits(unit, embeddings, said="bypass", path=path)
        assert_never_hits(unit, question(model="gpt-4o"), said="bypass")
        body = question(model="gpt-4o-mini")
        assert [cached(call(unit, body)) for _ in range(2)] == ["miss", "hit"]
        time.sleep(1.2)
        assert cached(call(unit, body)) == "miss"
    finally:
        unit.close()


def test_an_answer_that_is_too_large_is_not_kept(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider, config="cache: {max_answer_bytes: 1000}")
    try:
        large, small = question(), question()
        assert [cached(call(unit, large, x_scripted="output_tokens=300")) for _ in range(2)] == ["miss", "miss"]
        assert [cached(call(unit, small, x_scripted="output_tokens=5")) for _ in range(2)] == ["miss", "hit"]
    finally:
        unit.close()


def test_callers_share_an_upstream_that_is_declared_to_be_shared(tmp_path: Path, provider: Provider) -> None:
    config = "upstreams: {openai: {api_key_env: OF_ALL, share_cache: true}}"
    unit = Unit(tmp_path, provider, config=config, OF_ALL="sk-of-all")
    try:
        body = question()
        answers = [call(unit, body, Authorization=f"Bearer sk-{name}" if name else "") for name in ("a", "b", "")]
        assert [cached(answer) for answer in answers] == ["miss", "hit", "hit"]
        path, messages = DETERMINISTIC["messages"]
        answers = [call(unit, messages, path, Authorization=f"Bearer sk-{name}") for name in ("a", "b")]
        assert [cached(answer) for answer in answers] == ["miss", "miss"], "another upstream is not"
    finally:
        unit.close()


def test_no_cache_is_no_cache(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider, "--no-cache")
    try:
        assert_never_hits(unit, question(), said="bypass")
    finally:
        unit.close()
