"""``cache.pace: recorded``: a hit comes as the answer had come, with one row whatever becomes of it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.cache_calls import DETERMINISTIC, cached, call, question
from harness.processes import Provider, Unit, wait_for
from harness.raw import Answer, RawConnection, request
from harness.redis_server import RedisServer

CONFIG = "{cache: {pace: recorded}, limits: {idle_timeout_s: 0.2, shutdown_s: 0.5}}"
SHORT, LONG = "ttft_ms=300;gap_ms=20", "ttft_ms=50;gap_ms=200"
DUE_NS = 295_000_000
"""When the first token comes; a loop counts in milliseconds."""


@pytest.fixture(scope="module")
def provider(module_dir: Path) -> Iterator[Provider]:
    """Ids differ from call to call: equal bytes can only come from the cache."""
    provider = Provider(module_dir)
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Unit]:
    unit = Unit(tmp_path_factory.mktemp("paced"), provider, config=CONFIG)
    yield unit
    unit.close()


@contextmanager
def first_events_of_a_hit(unit: Unit) -> Iterator[str]:
    """Of a stream that took seconds to come; the call's id."""
    body = question(stream=True)
    assert cached(call(unit, body, x_scripted=LONG)) == "miss"
    with RawConnection(unit.port) as connection:
        connection.send(request("POST", "/v1/chat/completions", {}, body))
        _, _, headers = connection.read_head()
        assert dict(headers)[b"x-submeter-cache"] == b"hit"
        for _ in range(2):  # the role, then a token
            assert b"[DONE]" not in (connection.read_chunk() or b"[DONE]"), "the rest is withheld"
        yield dict(headers)[b"x-submeter-call-id"].decode()


def rows_of(unit: Unit, *answers: Answer) -> list[dict[str, Any]]:
    """One row of each."""
    rows = unit.rows()
    found = [row for answer in answers for row in rows if row["call_id"] == answer.call_id]
    assert len(found) == len(answers)
    return found


def assert_left(row: dict[str, Any], outcome: str) -> None:
    assert (row["cache"], row["outcome"], row["cost_nano_usd"], row["cost_state"]) == ("hit", outcome, 0, "exact")
    assert row["saved_nano_usd"] is None, "who knows what it would have cost up to there"


@pytest.mark.parametrize(
    ("name", "script"),
    [
        *((name, SHORT) for name in ("chat", "completions", "responses", "messages")),
        ("chat", f"{SHORT};chunk_bytes=7"),
        ("messages", f"{SHORT};line_end=crlf"),
    ],
)
def test_the_same_bytes_at_the_same_pace(paced: Unit, name: str, script: str) -> None:
    path, body = DETERMINISTIC[name]
    body = body | {"stream": True, "user": script}
    first, second = call(paced, body, path, x_scripted=script), call(paced, body, path)
    assert (cached(first), cached(second)) == ("miss", "hit")
    assert second.body == first.body
    assert second.header("content-type") == first.header("content-type")
    assert second.ended
    assert len(second.chunks) > 1
    assert all(chunk.endswith((b"\n\n", b"\r\n\r\n")) for chunk in second.chunks), "events are whole"
    miss, hit = rows_of(paced, first, second)
    assert (hit["outcome"], hit["status"], hit["cost_nano_usd"]) == ("ok", 200, 0)
    assert hit["saved_nano_usd"] == miss["cost_nano_usd"]
    assert hit["e2e_ns"] >= hit["ttft_ns"] >= DUE_NS
    for column in ("input_tokens", "output_tokens", "model_served", "service_tier", "finish_reason", "bytes_out"):
        assert hit[column] == miss[column]


@pytest.mark.parametrize("first_asks", [False, True])
def test_with_or_without_the_usage_chunk(paced: Unit, first_asks: bool) -> None:
    plain = question(stream=True)
    asking = plain | {"stream_options": {"include_usage": True}}
    first = call(paced, asking if first_asks else plain, x_scripted=SHORT)
    with_usage, without = call(paced, asking), call(paced, plain)
    assert [cached(answer) for answer in (first, with_usage, without)] == ["miss", "hit", "hit"]
    assert first.body == (with_usage if first_asks else without).body
    events = with_usage.body.split(b"\n\n")
    assert without.body == b"\n\n".join(event for event in events if b'"choices":[]' not in event)
    miss, hit = rows_of(paced, first, without)
    assert (hit["saved_nano_usd"], hit["output_tokens"]) == (miss["cost_nano_usd"], miss["output_tokens"])
    assert hit["ttft_ns"] >= DUE_NS


def test_in_http_1_0(paced: Unit) -> None:
    body = question(stream=True)
    first = call(paced, body, x_scripted=SHORT)
    with RawConnection(paced.port) as connection:
        connection.send(request("POST", "/v1/chat/completions", {}, body).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        again = connection.read_answer()
    assert (cached(again), again.header("transfer-encoding"), again.body) == ("hit", None, first.body)
    assert paced.row(again.call_id)["outcome"] == "ok"


def test_the_connection_serves_the_next_call(paced: Unit) -> None:
    body = question(stream=True)
    first = call(paced, body, x_scripted=SHORT)
    with RawConnection(paced.port) as connection:
        connection.send(request("POST", "/v1/chat/completions", {}, body) * 2)  # the second ahead of its turn
        answers = [connection.read_answer() for _ in range(2)]
    assert [(cached(answer), answer.body) for answer in answers] == [("hit", first.body)] * 2


def test_another_form_comes_at_once(paced: Unit) -> None:
    body = question()
    whole = call(paced, body, x_scripted=LONG)
    stream = call(paced, body | {"stream": True})
    assert (cached(whole), cached(stream)) == ("miss", "hit")
    assert len(stream.chunks) == 1


def test_a_caller_that_leaves_in_the_middle_has_one_row(paced: Unit) -> None:
    with first_events_of_a_hit(paced) as call_id:
        pass
    row = paced.row(call_id)
    assert_left(row, "client_gone")
    assert row["ttft_ns"] is not None


def test_a_relay_that_stops_lets_go_at_its_deadline(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider, config=CONFIG)
    with first_events_of_a_hit(unit) as call_id:
        assert unit.stop() == 0
    unit.start()
    assert_left(unit.row(call_id), "client_gone")
    unit.close()


def test_a_relay_that_dies_leaves_one_row(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider, config=CONFIG)
    with first_events_of_a_hit(unit) as call_id:
        (relay,) = unit.pids("submeter.relay")
        os.kill(relay, signal.SIGKILL)
        wait_for(lambda: unit.pids("submeter.relay") not in ([], [relay]), "another relay")
    assert_left(unit.row(call_id), "indeterminate")
    unit.close()


def test_from_redis_too(tmp_path: Path, provider: Provider) -> None:
    redis = RedisServer(tmp_path)
    unit = Unit(tmp_path, provider, "--redis", redis.url, config=CONFIG)
    try:
        body = question(stream=True)
        first = call(unit, body, x_scripted=SHORT)
        wait_for(lambda: cached(call(unit, body)) == "hit", "the answer to be kept")
        again = call(unit, body)
        assert (cached(again), again.body) == ("hit", first.body)
        assert len(again.chunks) > 1
        assert unit.row(again.call_id)["ttft_ns"] >= DUE_NS
    finally:
        unit.close()
        redis.close()
