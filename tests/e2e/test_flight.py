"""Identical calls at one time are one upstream call, whatever becomes of whom."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.crowd import DEADLINE_S, SLOWLY, Told, ask, assert_shared, rows_of, together
from harness.processes import Provider, Unit, free_port, wait_for
from harness.raw import chat, request
from submeter.tasks import spawn

LONG = "output_tokens=200;gap_ms=20"
TEXTS = (f"Shared question {number}" for number in range(10_000))


@pytest.fixture(scope="module")
def provider(module_dir: Path) -> Iterator[Provider]:
    provider = Provider(module_dir)
    yield provider
    provider.close()


def question(**more: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": next(TEXTS)}], temperature=0) | more


@pytest.mark.parametrize("callers", [50, 300])
def test_identical_streams_are_one_line_of_the_invoice(provider: Provider, unit: Unit, callers: int) -> None:
    before = len(provider.invoice())
    answers = together(unit, callers, question(stream=True))
    assert Counter(answer.cache for answer in answers) == {"miss": 1, "coalesced": callers - 1}
    assert answers[0].body.endswith(b"data: [DONE]\n\n")
    assert_shared(unit, answers, lines=provider.invoice()[before:])


def test_identical_whole_answers_too(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    answers = together(unit, 30, question(), "ttft_ms=500")
    assert json.loads(answers[0].body)["usage"]
    assert_shared(unit, answers, lines=provider.invoice()[before:])


def test_each_gets_the_usage_chunk_exactly_if_it_asked_for_it(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    plain = question(stream=True)
    asking = plain | {"stream_options": {"include_usage": True}}

    async def both() -> list[Told]:
        calls = (ask(unit.port, body, SLOWLY, "sk-one") for body in (plain, asking, plain, asking))
        return await asyncio.wait_for(asyncio.gather(*calls), DEADLINE_S)

    answers = asyncio.run(both())
    assert len(provider.invoice()) == before + 1
    without, with_usage = answers[0].body, answers[1].body
    assert [answer.body for answer in answers[2:]] == [without, with_usage]
    usage = [event for event in with_usage.split(b"\n\n") if b'"choices":[]' in event]
    assert len(usage) == 1
    assert without == with_usage.replace(usage[0] + b"\n\n", b"")


def test_a_refused_option_is_invisible_to_followers(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider)
    try:
        body = question(stream=True, model="gpt-4o")
        before = len(provider.invoice())
        answers = together(unit, 20, body, SLOWLY + ";reject_stream_options=1")
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert len(provider.invoice()) - before <= 2, "the refusal, which costs nothing, and the answer"
        assert Counter(answer.cache for answer in answers) == {"miss": 1, "coalesced": 19}
    finally:
        unit.close()


def test_two_tenants_never_share(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    body = question(stream=True)

    async def both() -> list[Told]:
        calls = (ask(unit.port, body, SLOWLY, key) for key in ("sk-a", "sk-b") * 5)
        return await asyncio.wait_for(asyncio.gather(*calls), DEADLINE_S)

    answers = asyncio.run(both())
    assert len(provider.invoice()) == before + 2
    ours, theirs = {answer.body for answer in answers[::2]}, {answer.body for answer in answers[1::2]}
    assert (len(ours), len(theirs), len(ours | theirs)) == (1, 1, 2)


def test_the_flight_goes_on_when_its_leader_has_left(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    body = question(stream=True)

    async def leave() -> tuple[Told, list[Told]]:
        begun, followed = asyncio.Event(), [asyncio.Event() for _ in range(10)]
        leave = asyncio.Event()
        leading = spawn(ask(unit.port, body, LONG, begun=begun, leave=leave), "leader")
        await begun.wait()
        following = [spawn(ask(unit.port, body, LONG, begun=event), "follower") for event in followed]
        await asyncio.gather(*(event.wait() for event in followed))
        leave.set()
        return await leading, await asyncio.gather(*following)

    leader, followers = asyncio.run(asyncio.wait_for(leave(), DEADLINE_S))
    assert (leader.cache, {answer.cache for answer in followers}) == ("miss", {"coalesced"})
    assert {(answer.status, answer.whole) for answer in followers} == {(200, True)}
    assert all(answer.body.endswith(b"data: [DONE]\n\n") for answer in followers)
    (line,) = provider.invoice()[before:]
    assert line["complete"]
    row = unit.row(leader.call_id)
    assert (row["cost_nano_usd"], row["cost_state"]) == (line["cost_nano_usd"], "exact")
    (again,) = together(unit, 1, body)
    assert (again.cache, again.body) == ("hit", followers[0].body), "it was kept, too"


def test_when_all_have_left_the_upstream_is_cancelled(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    body = question(stream=True)

    async def leave() -> list[Told]:
        begun = [asyncio.Event() for _ in range(5)]
        leave = asyncio.Event()
        calls = [spawn(ask(unit.port, body, LONG, begun=event, leave=leave), "caller") for event in begun]
        await asyncio.gather(*(event.wait() for event in begun))
        leave.set()
        return await asyncio.gather(*calls)

    rows = rows_of(unit, asyncio.run(asyncio.wait_for(leave(), DEADLINE_S)))
    assert {row["outcome"] for row in rows} == {"client_gone"}
    (line,) = wait_for(lambda: provider.invoice()[before:], "the invoice line")
    assert line["closed_by_client"]
    (leader,) = (row for row in rows if row["cache"] == "miss")
    assert leader["cost_low_nano_usd"] <= line["cost_nano_usd"] <= leader["cost_high_nano_usd"]
    assert {row["cost_nano_usd"] for row in rows if row["cache"] == "coalesced"} == {0}


def test_a_stream_that_breaks_off_says_so_to_all(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    answers = together(unit, 10, question(stream=True), "output_tokens=20;gap_ms=20;ttft_ms=300;cut_after_chunks=8")
    assert len(provider.invoice()) == before + 1
    assert len({answer.body for answer in answers}) == 1
    assert b"upstream_incomplete" in answers[0].body
    assert not any(answer.whole for answer in answers)
    rows = rows_of(unit, answers)
    assert {row["outcome"] for row in rows} == {"upstream_incomplete"}
    assert Counter(row["cache"] for row in rows) == {"miss": 1, "coalesced": 9}
    assert {row["cost_nano_usd"] for row in rows if row["cache"] == "coalesced"} == {0}


@pytest.mark.parametrize("script", ["status=500", "status=429"])
def test_an_error_is_told_to_each_by_the_upstream(provider: Provider, unit: Unit, script: str) -> None:
    answers = together(unit, 8, question(stream=True), script)
    assert {answer.status for answer in answers} == {int(script[-3:])}
    assert Counter(answer.cache for answer in answers) == {"miss": 8}
    rows = rows_of(unit, answers)
    assert {(row["outcome"], row["cache"]) for row in rows} == {("upstream_error", "miss")}
    assert len({row["operation_id"] for row in rows}) == 8


def test_who_has_nothing_when_the_upstream_dies_goes_alone(unit: Unit) -> None:
    """Each asks for itself: none is answered from the call that died, and none asks twice."""
    answers = together(unit, 6, question(stream=True), "reset_before_head=1")
    assert {answer.status for answer in answers} == {502}
    assert {row["cache"] for row in rows_of(unit, answers)} == {"miss"}


def test_an_upstream_that_cannot_be_reached_is_said_to_each(tmp_path: Path) -> None:
    unit = Unit(tmp_path, f"http://127.0.0.1:{free_port()}/v1")
    try:
        answers = together(unit, 6, question(stream=True))
        assert {answer.status for answer in answers} == {502}
        assert {(row["outcome"], row["refused"]) for row in rows_of(unit, answers)} == {("upstream_error", True)}
    finally:
        unit.close()


def test_what_is_not_kept_still_answers_everybody(provider: Provider, unit: Unit) -> None:
    body = question(stream=True, max_tokens=6)
    before = len(provider.invoice())
    answers = together(unit, 20, body, "gap_ms=40;ttft_ms=300")
    assert_shared(unit, answers, lines=provider.invoice()[before:])
    assert b'"finish_reason":"length"' in answers[0].body
    again = together(unit, 5, body, SLOWLY)
    assert Counter(answer.cache for answer in again) == {"miss": 5}, "for a while such calls go alone"


def test_an_answer_too_large_to_keep_reaches_all_who_keep_up(tmp_path: Path, provider: Provider) -> None:
    """A reader that takes nothing falls behind what is held and is cut; the others are not."""
    unit = Unit(tmp_path, provider, config="cache: {max_answer_bytes: 65536}")
    try:
        body = question(stream=True)
        before = len(provider.invoice())
        answers = asyncio.run(asyncio.wait_for(_with_a_slow_one(unit.port, body), DEADLINE_S))
        assert len(answers[0].body) > 3 << 20
        assert_shared(unit, answers, lines=provider.invoice()[before:])
        (slow,) = (row for row in unit.rows() if row["user"] == "slow")
        assert (slow["cache"], slow["outcome"], slow["cost_nano_usd"]) == ("coalesced", "client_gone", 0)
        assert together(unit, 1, body, "")[0].cache == "miss"
    finally:
        unit.close()


async def _with_a_slow_one(port: int, body: dict[str, Any]) -> list[Told]:
    script = "output_tokens=20000;tokens_per_chunk=1;ttft_ms=700"
    fast = [spawn(ask(port, body, script), "caller") for _ in range(4)]
    await asyncio.sleep(0.2)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(5)
        slow.connect(("127.0.0.1", port))
        headers = {"Authorization": "Bearer sk-one", "x-submeter-user": "slow"}
        slow.sendall(request("POST", "/v1/chat/completions", headers, body))
        return await asyncio.gather(*fast)
