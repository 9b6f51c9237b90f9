"""The invoice: its arithmetic, its prices, and one line per request whatever becomes of it."""

import asyncio
import importlib.util
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted.harness import BODIES, CHAT, CHAT_STREAM, MESSAGES, Provider, read_answer, read_head
from submeter.scripted import Invoice, read_invoice, total_nano_usd
from submeter.scripted.invoice import Bill
from submeter.scripted.prices import PRICES, Tokens, cost_nano_usd, price_of, tier_served

pytestmark = pytest.mark.anyio


# ---- prices and arithmetic ---------------------------------------------------------------------------------


def test_cost_written_out() -> None:
    haiku = Tokens(
        input_uncached=7,
        cached_read=1_000,
        cache_write=2,
        cache_write_5m=30,
        cache_write_1h=11,
        output_text=5,
        reasoning=3,
    )
    price, known = price_of("claude-haiku-4-5", "standard")
    assert known
    assert cost_nano_usd(haiku, price) == (
        7 * 1_000 + 1_000 * 100 + 2 * 1_250 + 30 * 1_250 + 11 * 2_000 + 5 * 5_000 + 3 * 5_000
    )
    mini, _ = price_of("gpt-4o-mini", "default")
    assert cost_nano_usd(Tokens(input_uncached=3, cached_read=1, output_text=2), mini) == 3 * 150 + 75 + 2 * 600


def test_each_class_is_rounded_half_even_before_the_sum() -> None:
    price = {"input": "0.0005", "cached_read": "0.0005", "output": "0.0015"}
    assert cost_nano_usd(Tokens(input_uncached=1, cached_read=1, output_text=1), price) == 0 + 0 + 2
    assert cost_nano_usd(Tokens(input_uncached=3, cached_read=5, output_text=0), price) == 2 + 2


def test_a_class_without_a_price_costs_what_input_costs() -> None:
    price, _ = price_of("gpt-3.5-turbo", "default")
    assert cost_nano_usd(Tokens(cached_read=2, cache_write=1), price) == 3 * 500


def test_an_unknown_model_has_a_made_up_price() -> None:
    price, known = price_of("my-model", "default")
    assert not known
    assert cost_nano_usd(Tokens(input_uncached=2, output_text=3), price) == 2 * 1_000 + 3 * 2_000


def test_a_tier_is_served_where_it_has_a_price() -> None:
    assert tier_served("o4-mini", "flex") == "flex"
    assert tier_served("gpt-4o", "flex") == tier_served("gpt-4o", None) == tier_served("odd", "flex") == "default"


@given(st.builds(Tokens, **{name: st.integers(0, 10**7) for name in Tokens.__struct_fields__}))
def test_cost_never_shrinks_as_tokens_are_added(tokens: Tokens) -> None:
    for model in PRICES:
        price, _ = price_of(model, "default")
        assert cost_nano_usd(tokens.plus(output_text=1), price) >= cost_nano_usd(tokens, price) >= 0
        assert cost_nano_usd(tokens, price) <= 15_000 * (tokens.input + tokens.output)


TIER_SUFFIXES = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
LITELLM_KEYS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
}


def test_the_table_agrees_with_the_map_that_litellm_ships() -> None:
    """The demo compares the ledger, priced from that map, with the invoice, priced from ours."""
    found = importlib.util.find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "model_prices_and_context_window_backup.json"
    theirs = json.loads(path.read_text(), parse_float=Decimal)
    for model, entry in PRICES.items():
        for suffix, prices in (("", entry.standard()), *((TIER_SUFFIXES[tier], p) for tier, p in entry.tiers.items())):
            stated = {name: theirs[model].get(key + suffix) for name, key in LITELLM_KEYS.items()}
            assert {name: Decimal(value) for name, value in prices.items()} == {
                name: value * 10**6 for name, value in stated.items() if value is not None
            }, (model, suffix)


# ---- lines -------------------------------------------------------------------------------------------------

LINE = {
    "request_id": r"req_[0-9a-f]{32}",
    "endpoint": "chat/completions",
    "model": "gpt-4o-mini",
    "service_tier": "default",
    "status": 200,
    "stream": True,
    "tokens": {
        "input_uncached": 1,
        "cached_read": 2,
        "cache_write": 3,
        "cache_write_5m": 0,
        "cache_write_1h": 0,
        "output_text": 16,
        "reasoning": 4,
    },
    "input_tokens": 6,
    "output_tokens": 20,
    "reported": True,
    "complete": True,
    "closed_by_client": False,
    "started_at": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z",
    "closed_at": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z",
    "price": {"input": "0.15", "cached_read": "0.075", "output": "0.60"},
    "price_known": True,
    "cost_nano_usd": 1 * 150 + 2 * 75 + 3 * 150 + 20 * 600,
}


async def test_a_whole_line(server: Provider) -> None:
    await server.chat_stream("cached_tokens=2;cache_write_tokens=3;reasoning_tokens=4")
    line = server.lines()[0]
    assert list(line) == list(LINE)
    for key, expected in LINE.items():
        if key in ("request_id", "started_at", "closed_at"):
            assert re.fullmatch(str(expected), line[key])
        else:
            assert line[key] == expected
    assert line["started_at"] < line["closed_at"]
    assert total_nano_usd([line, line]) == 2 * line["cost_nano_usd"]


@pytest.mark.parametrize("endpoint", BODIES)
async def test_the_line_is_there_when_the_answer_is(server: Provider, endpoint: str) -> None:
    for count in range(1, 4):
        answer = await server.post(f"/v1/{endpoint}", {**BODIES[endpoint], "stream": count > 1})
        assert answer.status == 200
        assert len(server.lines()) == count
    assert {line["endpoint"] for line in server.lines()} == {endpoint}
    assert [line["complete"] for line in server.lines()] == [True, True, True]


ENDINGS = {
    "chat/completions": b"data: [DONE]",
    "completions": b"data: [DONE]",
    "responses": b"event: response.completed",
    "messages": b"event: message_stop",
    "embeddings": b"}",
}


@pytest.mark.parametrize("script", ["", "done=0", "end_after_chunks=16", "cut_after_chunks=16", "whole_cut=1"])
@pytest.mark.parametrize("endpoint", BODIES)
@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_that_ends_an_answer_goes_out_before_its_line_is_on_the_disk(
    server: Provider, monkeypatch: pytest.MonkeyPatch, stream: bool, endpoint: str, script: str
) -> None:
    disk, waits = asyncio.Event(), asyncio.Event()

    async def slow_sync(_: Invoice) -> None:
        waits.set()
        await disk.wait()

    monkeypatch.setattr(Invoice, "sync", slow_sync)
    async with server.request(f"/v1/{endpoint}", {**BODIES[endpoint], "stream": stream}, script) as reader:
        await waits.wait()
        await asyncio.sleep(0.01)
        early = bytes(reader._buffer)  # type: ignore[attr-defined]
        assert not reader.at_eof()
        assert ENDINGS[endpoint] not in early
        assert b"\r\n0\r\n" not in early
        assert len(server.lines()) == 1
        disk.set()
        assert await reader.read(1) != b""


async def test_a_client_that_leaves_pays_for_what_was_generated(server: Provider) -> None:
    async with server.request("/v1/chat/completions", CHAT_STREAM, "ttft_ms=1;gap_ms=60000") as reader:
        await reader.readuntil(b'"delta":{"content":"')
    line = (await server.settled(1))[0]
    assert (line["complete"], line["closed_by_client"], line["reported"]) == (False, True, False)
    assert (line["input_tokens"], line["output_tokens"]) == (6, 1)
    assert line["cost_nano_usd"] == 6 * 150 + 1 * 600


async def test_a_client_that_leaves_before_the_first_token_pays_for_its_input(server: Provider) -> None:
    async with server.request("/v1/chat/completions", CHAT_STREAM, "ttft_ms=60000") as reader:
        assert (await read_head(reader)).status == 200
    line = (await server.settled(1))[0]
    assert (line["status"], line["cost_nano_usd"]) == (200, 6 * 150)


async def test_a_client_that_leaves_before_a_whole_answer_pays_for_its_input(
    server: Provider, arrived: asyncio.Event
) -> None:
    async with server.request("/v1/messages", MESSAGES, "ttft_ms=60000"):
        await arrived.wait()
        await asyncio.sleep(0)
    line = (await server.settled(1))[0]
    assert (line["status"], line["closed_by_client"]) == (None, True)
    assert line["cost_nano_usd"] == 4 * 1_000


async def test_a_client_that_leaves_while_it_does_not_read(server: Provider) -> None:
    """The handler is waiting for the socket's buffers then, not for its clock."""
    script = "malformed=huge_line;huge_bytes=30000000"
    async with server.request("/v1/chat/completions", CHAT_STREAM, script) as reader:
        await read_head(reader)
    line = (await server.settled(1))[0]
    assert (line["closed_by_client"], line["output_tokens"]) == (True, 1)


async def test_a_request_that_never_arrives_whole(server: Provider, arrived: asyncio.Event) -> None:
    async with server.request("/v1/chat/completions", b"{", headers={"Content-Length": "100"}):
        await arrived.wait()
    line = (await server.settled(1))[0]
    assert (line["model"], line["status"], line["closed_by_client"], line["cost_nano_usd"]) == (None, None, True, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"model":5}',
        b"\xff",
        b"[" * 5_000,
        b'{"model":"m","messages":1,"input":1,"prompt":{}}',
        b'{"n":0}',
    ],
)
async def test_a_body_that_is_no_request(server: Provider, body: bytes) -> None:
    for path in ("chat/completions", "completions", "embeddings", "responses", "messages"):
        answer = await server.post(f"/v1/{path}", body)
        assert answer.status == 400
        assert "error" in answer.json
    assert [(line["status"], line["cost_nano_usd"]) for line in server.lines()] == [(400, 0)] * 5


async def test_keep_alive_connections_have_a_line_per_request(server: Provider) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = json.dumps(CHAT).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for _ in range(3):
        writer.write(head + body)
        assert (await read_answer(reader)).status == 200
    writer.close()
    assert len({line["request_id"] for line in server.lines()}) == 3


async def test_two_hundred_streams_at_once(server: Provider) -> None:
    answers = await asyncio.gather(*(server.chat_stream("ttft_ms=20;gap_ms=5;output_tokens=20") for _ in range(200)))
    assert {answer.ended for answer in answers} == {"properly"}
    lines = server.lines()
    assert {line["request_id"] for line in lines} == {answer.headers["x-request-id"] for answer in answers}
    assert total_nano_usd(lines) == 200 * (6 * 150 + 20 * 600)


async def test_a_thousand_chunks(server: Provider) -> None:
    answer = await server.chat_stream("output_tokens=1000")
    assert len(answer.events) == 1 + 1000 + 1 + 1
    assert server.lines()[0]["output_tokens"] == 1000


async def test_settling_twice_writes_one_line(tmp_path: Path) -> None:
    with Invoice(tmp_path / "i") as invoice:
        bill = Bill(invoice, "req_1", "chat/completions")
        await bill.settle(complete=True)
        await bill.settle(complete=False)
    assert [line["complete"] for line in read_invoice(tmp_path / "i")] == [True]


async def test_every_line_is_synced_before_settle_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sync may serve many lines, but only lines that were written before it began."""
    path, on_disk = tmp_path / "i", [0]
    monkeypatch.setattr("os.fsync", lambda _: on_disk.__setitem__(0, len(path.read_bytes().splitlines())))
    with Invoice(path) as invoice:

        async def settle(number: int) -> None:
            await Bill(invoice, f"req_{number}", "chat/completions").settle(complete=True)
            lines = [line["request_id"] for line in read_invoice(path)][: on_disk[0]]
            assert f"req_{number}" in lines

        await asyncio.gather(*(settle(number) for number in range(50)))
    assert len(read_invoice(path)) == 50
