"""The shared device and the provider's log in a real server: order and orders of magnitude, no timings."""

import asyncio
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from scripted.harness import BODIES, CHAT, CHAT_STREAM, Provider
from scripted.test_scripted_process import COMMAND, ENVIRONMENT, post, process
from submeter.scripted import Batching, Invoice, Log, Script, make_app, read_invoice, read_log, serve
from submeter.scripted.script import ScriptError

pytestmark = pytest.mark.anyio

SHARED = Batching(slots=2, step_ms=5, step_ms_per_running=1, prefill_tokens_per_s=10_000)


@asynccontextmanager
async def logged(directory: Path, batching: Batching | None = None) -> AsyncIterator[Provider]:
    """A provider that writes ``log.jsonl`` beside its invoice."""
    invoice_path = directory / "invoice.jsonl"
    with Invoice(invoice_path) as invoice, Log(directory / "log.jsonl") as log:
        async with serve(invoice, batching=batching, log=log) as url:
            yield Provider(url, invoice_path)


async def lines(directory: Path, count: int) -> list[dict[str, Any]]:
    """The log, once it has so many lines: one is written a moment after its answer."""
    async with asyncio.timeout(5):
        while len(read_log(directory / "log.jsonl")) < count:  # noqa: ASYNC110 -- the file is all there is to watch
            await asyncio.sleep(0.005)
    return read_log(directory / "log.jsonl")


# ---- the log -------------------------------------------------------------------------------------------------


async def test_the_log_tells_of_each_answer_when_its_tokens_went(tmp_path: Path) -> None:
    async with logged(tmp_path) as server:
        before = (time.time_ns(), time.monotonic_ns())
        streamed = await server.chat_stream("base_ms=20;output_ms_per_token=5;output_tokens=5")
        whole = await server.chat("base_ms=20;output_tokens=2")
        written = await lines(tmp_path, 2)
        after = (time.time_ns(), time.monotonic_ns())
    assert [line["request_id"] for line in written] == [answer.headers["x-request-id"] for answer in (streamed, whole)]
    assert [line["request_id"] for line in written] == [line["request_id"] for line in read_invoice(server.invoice)]
    for clock, low, high in zip(("wall_ns", "monotonic_ns"), before, after, strict=True):
        instants = [written[0][name][clock] for name in ("received", "first_token", "last_token")]
        assert [low, *instants, high] == sorted([low, *instants, high])
    first, last = written[0]["first_token"]["monotonic_ns"], written[0]["last_token"]["monotonic_ns"]
    assert first < last
    assert first - written[0]["received"]["monotonic_ns"] >= 20_000_000
    assert last - written[0]["received"]["monotonic_ns"] >= 40_000_000
    assert written[1]["first_token"] == written[1]["last_token"]


async def test_what_is_not_shown_is_no_token_of_the_log(tmp_path: Path) -> None:
    script = "reasoning_tokens=4;reasoning=hidden;base_ms=1;output_ms_per_token=5;output_tokens=1"
    async with logged(tmp_path) as server:
        await server.chat_stream(script)
        line = (await lines(tmp_path, 1))[0]
    assert line["first_token"] == line["last_token"]
    assert line["first_token"]["monotonic_ns"] - line["received"]["monotonic_ns"] >= 20_000_000


async def test_an_answer_that_ends_early_has_a_line_and_a_refused_call_none(tmp_path: Path) -> None:
    async with logged(tmp_path) as server:
        await server.chat("status=429")
        await server.chat_stream("cut_after_chunks=0")
        async with server.request("/v1/chat/completions", CHAT_STREAM, "base_ms=60000") as reader:
            await reader.readuntil(b"\r\n\r\n")
        written = await lines(tmp_path, 2)
        assert len(await server.settled(3)) == 3
    assert [(line["first_token"], line["last_token"]) for line in written] == [(None, None), (None, None)]


async def test_the_invoice_is_the_same_with_and_without_a_log(tmp_path: Path) -> None:
    async with logged(tmp_path, SHARED) as server:
        await server.chat()
    with Invoice(tmp_path / "other.jsonl") as invoice:
        async with serve(invoice) as url:
            await Provider(url, tmp_path / "other.jsonl").chat()
    one, other = read_invoice(server.invoice)[0], read_invoice(tmp_path / "other.jsonl")[0]
    differ = {"request_id", "started_at", "closed_at"}
    assert list(one) == list(other)
    assert {name for name in one if one[name] != other[name]} == differ


# ---- the device ----------------------------------------------------------------------------------------------


async def test_all_get_their_answers_from_the_shared_device(tmp_path: Path) -> None:
    async with logged(tmp_path, SHARED) as server:
        streams = [server.chat_stream("output_tokens=6;tokens_per_chunk=4") for _ in range(5)]
        answers = await asyncio.gather(*streams, server.chat(), server.post("/v1/embeddings", BODIES["embeddings"]))
        written = await lines(tmp_path, 7)
    assert [(answer.status, answer.ended) for answer in answers] == [(200, "properly")] * 7
    assert sorted(line["output_tokens"] for line in server.lines()) == [0, 6, 6, 6, 6, 6, 16]
    # Five streams of six tokens, at most two an iteration: fifteen of 5 ms, and 1 ms for each token but the first ones.
    streamed = {answer.headers["x-request-id"] for answer in answers[:5]}
    of_streams = [line for line in written if line["request_id"] in streamed]
    began_ns = min(line["received"]["monotonic_ns"] for line in of_streams)
    assert max(line["last_token"]["monotonic_ns"] for line in of_streams) - began_ns >= (15 * 5 + 5 * 5) * 1_000_000


async def test_who_leaves_frees_the_slot(tmp_path: Path) -> None:
    one_slot = Batching(slots=1, step_ms=5)
    async with logged(tmp_path, one_slot) as server:
        async with server.request("/v1/chat/completions", CHAT_STREAM, "output_tokens=100000") as reader:
            await reader.readuntil(b'"content":"')
        assert (await server.chat("output_tokens=1")).status == 200


async def test_a_call_larger_than_the_cache_is_refused_and_not_billed(tmp_path: Path) -> None:
    async with logged(tmp_path, Batching(slots=1, step_ms=1, kv_tokens=500)) as server:
        refused, served = await server.chat("output_tokens=499"), await server.chat("output_tokens=2")
        lines = await server.settled(2)
    assert (refused.status, served.status) == (400, 200)
    assert "but the key-value cache holds 500" in refused.json["error"]["message"]
    assert lines[0]["output_tokens"] == 0


async def test_no_call_says_times_that_the_device_decides(tmp_path: Path) -> None:
    async with logged(tmp_path, SHARED) as server:
        answer = await server.chat("gap_ms=1;output_tokens=2")
        assert (await server.chat("output_tokens=2")).status == 200
    assert answer.status == 400
    assert answer.json["error"]["message"] == "x-scripted: gap_ms: this provider's batching decides the times"
    with Invoice(tmp_path / "i") as invoice, pytest.raises(ScriptError, match="noise: this provider's batching"):
        make_app(invoice, Script(noise=0.1), batching=SHARED)


# ---- as a process ----------------------------------------------------------------------------------------------


def arguments(directory: Path, config: dict[str, object]) -> list[str]:
    (directory / "config.json").write_text(json.dumps(config))
    return [
        "--invoice",
        str(directory / "i"),
        "--config",
        str(directory / "config.json"),
        "--log",
        str(directory / "l"),
    ]


def test_the_process_takes_batching_and_a_log(tmp_path: Path) -> None:
    config: dict[str, object] = {"output_tokens": 3, "batching": {"slots": 2, "step_ms": 2}}
    with process(*arguments(tmp_path, config)) as (running, url):
        with urllib.request.urlopen(post(url, CHAT)) as response:  # noqa: S310
            request_id = response.headers["x-request-id"]
            assert json.load(response)["usage"]["completion_tokens"] == 3
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    (line,) = read_log(tmp_path / "l")
    assert line["request_id"] == request_id
    assert line["first_token"]["monotonic_ns"] - line["received"]["monotonic_ns"] >= 4_000_000


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"batching": {"slot": 2, "step_ms": 1}}, "batching: "),
        ({"batching": {"slots": 2, "step_ms": 1}, "ttft_ms": 3}, "ttft_ms: this provider's batching decides"),
        ({"ttft_ms": 3, "noise": 0.1}, "ttft_ms and noise are two models of time"),
    ],
)
def test_a_bad_config_is_refused(tmp_path: Path, config: dict[str, object], said: str) -> None:
    ended = subprocess.run(
        [*COMMAND, *arguments(tmp_path, config)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
