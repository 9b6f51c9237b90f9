"""Many callers at once, each on a connection of its own, and what one call for all of them must look like."""

import asyncio
from dataclasses import dataclass
from typing import Any

from harness.processes import Unit
from harness.raw import request

DEADLINE_S = 60.0
SLOWLY = "output_tokens=20;gap_ms=40;ttft_ms=300"


@dataclass
class Told:
    """What one caller was told."""

    status: int
    cache: str
    call_id: str
    body: bytes
    whole: bool


async def ask(
    port: int,
    body: dict[str, Any],
    script: str = SLOWLY,
    key: str = "sk-one",
    *,
    begun: asyncio.Event | None = None,
    leave: asyncio.Event | None = None,
) -> Told:
    """One caller, on a connection of its own. ``begun``: set when its answer begins; ``leave``: go when it is set."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = {"x-scripted": script, "Authorization": f"Bearer {key}", "Connection": "close"}
    writer.write(request("POST", "/v1/chat/completions", headers, body))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if begun is not None:
            begun.set()
        if leave is not None:
            await leave.wait()
            return _told(head, b"")
        return _told(head, await reader.read())
    finally:
        writer.transport.abort()


def _told(head: bytes, raw: bytes) -> Told:
    first, *lines = head.decode().strip().split("\r\n")
    named = dict(line.lower().split(": ", 1) for line in lines)
    body, whole = raw, True
    if named.get("transfer-encoding") == "chunked":
        body, whole = _unchunked(raw)
    elif "content-length" in named:
        whole = len(raw) == int(named["content-length"])
    return Told(int(first.split()[1]), named["x-submeter-cache"], named["x-submeter-call-id"], body, whole)


def _unchunked(raw: bytes) -> tuple[bytes, bool]:
    out = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        if int(size or b"0", 16) == 0:
            return out, bool(size)
        out += raw[: int(size, 16)]
        raw = raw[int(size, 16) + 2 :]
    return out, False


def survivors(unit: Unit, callers: int, body: dict[str, Any], script: str) -> list[Told]:
    """What those were told whose connection was not lost."""

    async def all_of_them() -> list[Told | BaseException]:
        calls = (ask(unit.port, body, script) for _ in range(callers))
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), DEADLINE_S)

    told = asyncio.run(all_of_them())
    lost = [answer for answer in told if isinstance(answer, BaseException)]
    assert all(isinstance(why, OSError | EOFError) for why in lost), lost
    return [answer for answer in told if isinstance(answer, Told)]


def together(unit: Unit, callers: int, body: dict[str, Any], script: str = SLOWLY, key: str = "sk-one") -> list[Told]:
    async def all_of_them() -> list[Told]:
        calls = (ask(unit.port, body, script, key) for _ in range(callers))
        return await asyncio.wait_for(asyncio.gather(*calls), DEADLINE_S)

    return asyncio.run(all_of_them())


def rows_of(unit: Unit, answers: list[Told]) -> list[dict[str, Any]]:
    ids = {answer.call_id for answer in answers}
    rows = [row for row in unit.rows() if row["call_id"] in ids]
    assert len(rows) == len(ids) == len(answers), "each caller has one row"
    return rows


def assert_shared(unit: Unit, answers: list[Told], *, lines: list[dict[str, Any]]) -> None:
    """One miss paid for all of them."""
    assert {(answer.status, answer.whole) for answer in answers} == {(200, True)}
    assert len({answer.body for answer in answers}) == 1
    assert len(lines) == 1
    rows = rows_of(unit, answers)
    (leader,) = (row for row in rows if row["cache"] == "miss")
    followers = [row for row in rows if row["cache"] == "coalesced"]
    assert len(followers) == len(answers) - 1
    assert leader["cost_nano_usd"] == lines[0]["cost_nano_usd"]
    assert leader["upstream_request_id"] == lines[0]["request_id"]
    for row in followers:
        assert (row["cost_nano_usd"], row["saved_nano_usd"]) == (0, leader["cost_nano_usd"])
        assert (row["operation_id"], row["outcome"], row["attempt"]) == (leader["call_id"], "ok", 1)
        assert row["upstream_request_id"] is None
        assert 0 <= row["ttfb_ns"] <= row["e2e_ns"]
        assert (row["ttft_ns"] is None) == (leader["ttft_ns"] is None)
        for column in ("input_tokens", "output_tokens", "model_served", "finish_reason", "bytes_out", "stream"):
            assert row[column] == leader[column], column
