"""Deterministic calls are answered from the cache: the same bytes, no cost, and nobody else's answer."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from harness.processes import Provider, Unit, wait_for
from harness.raw import Answer, RawConnection, ask, chat, request
from harness.valkey import Valkey

NANO_INPUT, NANO_OUTPUT = 150, 600  # gpt-4o-mini: 0.15 and 0.60 USD per million tokens, in nano-USD per token
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
TEXTS = (f"Question {number}" for number in range(10_000))


@pytest.fixture(scope="module")
def provider(module_dir: Path) -> Iterator[Provider]:
    """Ids differ from call to call: equal bytes can only come from the cache."""
    provider = Provider(module_dir)
    yield provider
    provider.close()


def question(**more: Any) -> dict[str, Any]:
    """A chat call with temperature 0 that nobody has made yet."""
    return chat(messages=[{"role": "user", "content": next(TEXTS)}], temperature=0) | more


def call(unit: Unit, body: Any, path: str = "chat/completions", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(unit.port, "POST", f"/v1/{path}", named | {"Content-Type": "application/json"}, body)


def cached(answer: Answer) -> str | None:
    assert answer.status == 200
    return answer.header("x-submeter-cache")


def assert_never_hits(unit: Unit, body: dict[str, Any], *, said: str, path: str = "chat/completions") -> None:
    assert [cached(call(unit, body, path)) for _ in range(3)] == [said] * 3


DETERMINISTIC = {
    "chat": ("chat/completions", question()),
    "completions": ("completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once", "temperature": 0}),
    "responses": ("responses", {"model": "gpt-4o-mini", "input": "Say.", "temperature": 0}),
    "messages": (
        "messages",
        {
            "model": "claude-haiku-4-5",
            "max_tokens": 64,
            "temperature": 0,
            "messages": [{"role": "user", "content": "Say."}],
        },
    ),
    "embeddings": ("embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}),
}


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


def test_who_has_no_credential_has_no_cache(unit: Unit) -> None:
    body = question()
    assert [cached(call(unit, body, Authorization="")) for _ in range(2)] == ["bypass", "bypass"]


@pytest.mark.parametrize("control", ["no-store", "no-cache", "max-age=0, no-store"])
def test_a_caller_may_go_around_the_cache(unit: Unit, control: str) -> None:
    body = question()
    assert cached(call(unit, body, Cache_Control=control)) == "bypass"
    assert cached(call(unit, body)) == "miss", "it was not kept either"
    assert cached(call(unit, body, Cache_Control=control)) == "bypass"


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
    "reset_before_head=1",
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", BROKEN)
def test_a_broken_answer_is_not_kept(unit: Unit, script: str, stream: bool) -> None:
    body = question(stream=stream)
    broken = call(unit, body, x_scripted=script)
    assert broken.header("x-submeter-cache") in ("miss", "bypass")
    again = call(unit, body)
    if (script in ("not_json=1", "whole_cut=1") and stream) or (script.endswith("chunks=3") and not stream):
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


def test_no_cache_is_no_cache(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider, "--no-cache")
    try:
        assert_never_hits(unit, question(), said="bypass")
    finally:
        unit.close()


# ---- shared through Valkey ---------------------------------------------------------------------------------------


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    valkey = Valkey(tmp_path)
    yield valkey
    valkey.close()


def shared(tmp_path: Path, provider: Provider, url: str, *flags: str) -> Unit:
    return Unit(tmp_path, provider, "--redis", url, *flags)


def test_relays_share_what_they_keep(tmp_path: Path, provider: Provider, valkey: Valkey) -> None:
    unit = shared(tmp_path, provider, valkey.url, "--workers", "2")
    try:
        wait_for(lambda: len(unit.pids("submeter.relay")) == 2, "two relays")
        body = question(messages=[{"role": "user", "content": "CANARY-prompt"}])
        before = len(provider.invoice())
        first = call(unit, body, Authorization="Bearer sk-CANARY-key")
        with Redis(port=valkey.port) as server:
            wait_for(lambda: server.dbsize() == 1, "the answer to be kept")
            (key,) = server.keys()
            assert 0 < server.ttl(key) <= 86_400
            assert b"CANARY" not in key + server.get(key)
        answers = [
            call(unit, body, Authorization="Bearer sk-CANARY-key") for _ in range(20)
        ]  # by one relay or the other
        assert [cached(answer) for answer in answers] == ["hit"] * 20
        assert {answer.body for answer in answers} == {first.body}
        assert len(provider.invoice()) == before + 1
        assert sum(row["cache"] == "hit" for row in unit.rows()) == 20
    finally:
        unit.close()


def test_a_valkey_that_hangs_dies_or_is_absent_is_gone_around(
    tmp_path: Path, provider: Provider, valkey: Valkey
) -> None:
    unit = shared(tmp_path, provider, valkey.url)
    try:
        body = question()
        assert [cached(call(unit, body)), cached(call(unit, question()))] == ["miss", "miss"]
        wait_for(lambda: cached(call(unit, body)) == "hit", "a hit")
        valkey.freeze()
        assert_never_hits(unit, body, said="bypass")
        assert_never_hits(unit, question(), said="bypass")
        valkey.thaw()
        others = question(messages=[{"role": "user", "content": "other"}])
        wait_for(lambda: cached(call(unit, body)) == "hit", "the cache to be asked again")
        answer = call(unit, others)
        assert cached(answer) == "miss"
        assert answer.json()["id"] != call(unit, body).json()["id"], "no answer is mixed up after a time-out"
        valkey.kill()
        assert_never_hits(unit, body, said="bypass")
        assert {row["outcome"] for row in unit.rows()} == {"ok"}
    finally:
        unit.close()


def test_a_server_that_talks_nonsense_is_gone_around(tmp_path: Path, provider: Provider) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def babble() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=babble)
    thread.start()
    unit = shared(tmp_path, provider, f"redis://127.0.0.1:{listener.getsockname()[1]}")
    try:
        assert_never_hits(unit, question(), said="bypass")
    finally:
        unit.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
