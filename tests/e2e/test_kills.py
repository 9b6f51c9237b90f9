"""Processes die: each invoice line still has exactly one row, and whoever saw a whole answer has a final one."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.processes import Provider, Unit, running, wait_for
from harness.raw import RawConnection, chat, request

STREAMS = 200


class Client:
    """One stream's reader: what it saw of it."""

    def __init__(self) -> None:
        self.call_id: str | None = None
        self.whole = False


async def under_way(clients: list[Client]) -> None:
    """Until some clients have seen a whole answer and many are in the middle of one."""
    deadline = asyncio.get_running_loop().time() + 30
    tenth = len(clients) // 10
    while sum(client.whole for client in clients) < tenth:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    assert sum(client.call_id is not None and not client.whole for client in clients) > tenth


async def read_stream(port: int, number: int, client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    script = f"output_tokens={20 + number % 60};gap_ms=20;ttft_ms={number % 300}"
    writer.write(request("POST", "/v1/chat/completions", {"x-scripted": script}, chat(stream=True, user=f"u{number}")))
    received = b""
    try:
        while data := await reader.read(1 << 16):
            received += data
            if client.call_id is None and b"x-submeter-call-id: " in received:
                client.call_id = received.partition(b"x-submeter-call-id: ")[2][:36].decode()
            client.whole = client.whole or b"data: [DONE]" in received
            if received.endswith(b"0\r\n\r\n"):
                return
    except ConnectionError:
        pass
    finally:
        writer.close()


def assert_nothing_lost(provider: Provider, unit: Unit, clients: list[Client]) -> list[dict[str, Any]]:
    rows = unit.rows()
    keys = [(row["call_id"], row["attempt"]) for row in rows]
    assert len(keys) == len(set(keys)), "a call has two rows"
    users = [row["user"] for row in rows]
    assert len(users) == len(set(users)), "each client made one call, and a client has two rows"
    by_request: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_request.setdefault(row["upstream_request_id"] or "", []).append(row)
    unknown = []
    for line in provider.invoice():
        found = by_request.get(line["request_id"], [])
        assert len(found) <= 1
        if not found:
            unknown.append(line)
            continue
        (row,) = found
        assert row["cost_low_nano_usd"] <= line["cost_nano_usd"] <= row["cost_high_nano_usd"]
        if row["cost_state"] == "exact":
            assert row["cost_nano_usd"] == line["cost_nano_usd"]
    # Of a relay that died before a call's first token, the journal has no request id: such a line has a row without.
    indeterminate = [row for row in rows if row["outcome"] == "indeterminate" and row["upstream_request_id"] is None]
    assert len(unknown) <= len(indeterminate)
    assert len(provider.invoice()) <= len(rows)
    final = {row["call_id"] for row in rows if row["outcome"] == "ok"}
    for client in clients:
        if client.whole:
            assert client.call_id in final, "a client saw the whole answer, and its row is not final"
    return rows


def test_a_relay_killed_during_200_streams(tmp_path: Path) -> None:
    clients = [Client() for _ in range(STREAMS)]

    async def drive(unit: Unit) -> None:
        streams = [asyncio.ensure_future(read_stream(unit.port, n, client)) for n, client in enumerate(clients)]  # noqa: TID251
        await under_way(clients)
        (victim,) = unit.pids("submeter.relay")
        os.kill(victim, signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(*streams), 30)

    with running(tmp_path) as (provider, unit):
        asyncio.run(drive(unit))
        (successor,) = wait_for(lambda: unit.pids("submeter.relay"), "another relay")
        assert successor
        rows = assert_nothing_lost(provider, unit, clients)
        assert any(client.whole for client in clients)
        assert any(row["outcome"] == "indeterminate" for row in rows)
        assert any(not client.whole for client in clients)
        # the same socket serves on
        with RawConnection(unit.port) as connection:
            connection.send(request("POST", "/v1/chat/completions", body=chat()))
            assert connection.read_answer().status == 200
        unit_log = unit.log()
    assert "relay 0 ended (signal 9); starting it again" in unit_log


def test_the_meter_killed_while_it_ships(tmp_path: Path) -> None:
    clients = [Client() for _ in range(STREAMS)]

    async def drive(unit: Unit) -> None:
        streams = [asyncio.ensure_future(read_stream(unit.port, n, client)) for n, client in enumerate(clients)]  # noqa: TID251
        for _ in range(4):
            await asyncio.sleep(0.5)
            for pid in unit.pids("submeter.meter"):
                os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(*streams), 30)

    with running(tmp_path) as (provider, unit):
        unit.wait_ops()
        asyncio.run(drive(unit))
        rows = assert_nothing_lost(provider, unit, clients)
        assert len(rows) == STREAMS == len(provider.invoice())
        assert all(client.whole for client in clients), "no caller noticed"
        assert sum(row["cost_nano_usd"] for row in rows) == sum(line["cost_nano_usd"] for line in provider.invoice())


def test_everything_killed_at_once_and_started_again(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    unit = Unit(tmp_path, provider)
    clients = [Client() for _ in range(50)]

    async def drive() -> None:
        streams = [asyncio.ensure_future(read_stream(unit.port, n, client)) for n, client in enumerate(clients)]  # noqa: TID251
        await under_way(clients)
        unit.kill()
        await asyncio.wait_for(asyncio.gather(*streams), 30)

    try:
        asyncio.run(drive())
        unit.start()
        assert_nothing_lost(provider, unit, clients)
    finally:
        unit.close()
        provider.close()


def test_sigterm_lets_calls_in_flight_finish_and_ships_them(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    unit = Unit(tmp_path, provider)
    try:
        with RawConnection(unit.port) as busy, RawConnection(unit.port) as idle:
            idle.send(request("GET", "/healthz"))
            assert idle.read_answer().body == b"ok\n"
            script = {"x-scripted": "output_tokens=30;gap_ms=30"}
            busy.send(request("POST", "/v1/chat/completions", script, chat(stream=True)))
            busy.read_head()
            unit.process.send_signal(signal.SIGTERM)
            assert idle.read_some() == b"", "an idle kept connection is closed at once"
            received = b""
            while chunk := busy.read_chunk():
                received += chunk
            assert received.endswith(b"data: [DONE]\n\n")
        assert unit.process.wait(20) == 0
        unit.start()
        (row,) = unit.rows()
        assert (row["outcome"], row["cost_state"], row["output_tokens"]) == ("ok", "exact", 30)
    finally:
        unit.close()
        provider.close()


@pytest.mark.parametrize("workers", ["3"])
def test_several_relays_share_a_port_and_one_is_killed(tmp_path: Path, workers: str) -> None:
    clients = [Client() for _ in range(90)]

    async def drive(unit: Unit) -> None:
        streams = [asyncio.ensure_future(read_stream(unit.port, n, client)) for n, client in enumerate(clients)]  # noqa: TID251
        await under_way(clients)
        os.kill(unit.pids("submeter.relay")[1], signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(*streams), 30)

    with running(tmp_path, "--workers", workers) as (provider, unit):
        wait_for(lambda: len(unit.pids("submeter.relay")) == 3, "three relays")
        asyncio.run(drive(unit))
        rows = assert_nothing_lost(provider, unit, clients)
        whole = sum(client.whole for client in clients)
        assert 0 < whole < 90
        assert sum(row["outcome"] == "ok" for row in rows) >= whole
