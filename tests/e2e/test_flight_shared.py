"""Relays that share a Redis share their flights: one upstream call for all of them."""

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.crowd import DEADLINE_S, Told, ask, assert_shared, survivors, together
from harness.processes import Provider, Unit, wait_for
from harness.raw import chat
from harness.valkey import Valkey
from submeter.tasks import spawn

PATIENT = "cache: {deadline_ms: 2000}"
"""Machines that test are busy; how long a cache may take is not what is tested here."""
SLOWLY = "output_tokens=40;gap_ms=50;ttft_ms=2500"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    provider = Provider(tmp_path)
    yield provider
    provider.close()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    valkey = Valkey(tmp_path)
    yield valkey
    valkey.close()


@pytest.fixture
def unit(tmp_path: Path, provider: Provider, valkey: Valkey) -> Iterator[Unit]:
    unit = Unit(tmp_path, provider, "--redis", valkey.url, "--workers", "4", config=PATIENT)
    wait_for(lambda: unit.log().count("relay ready") == 4, "four relays")
    yield unit
    unit.close()


def question(text: str, *, stream: bool = True) -> dict[str, object]:
    return chat(messages=[{"role": "user", "content": text}], temperature=0, stream=stream)


def test_a_thousand_callers_of_four_relays_are_one_line_of_the_invoice(unit: Unit, provider: Provider) -> None:
    answers = together(unit, 1000, question("A thousand"), SLOWLY)
    assert Counter(answer.cache for answer in answers) == {"miss": 1, "coalesced": 999}
    assert answers[0].body.endswith(b"data: [DONE]\n\n")
    assert_shared(unit, answers, lines=provider.invoice())
    assert {answer.cache for answer in together(unit, 20, question("A thousand"))} == {"hit"}


def test_a_flight_goes_on_for_the_callers_of_other_relays(unit: Unit, provider: Provider) -> None:
    """Six times, since the kernel chooses whose relay is whose."""
    script = "output_tokens=60;gap_ms=40"

    async def lead_and_leave(text: str) -> Told:
        begun, followed, leave = asyncio.Event(), asyncio.Event(), asyncio.Event()
        leading = spawn(ask(unit.port, question(text), script, begun=begun, leave=leave), "leader")
        await begun.wait()
        following = spawn(ask(unit.port, question(text), script, begun=followed), "follower")
        await followed.wait()
        leave.set()
        await leading
        return await following

    async def several() -> list[Told]:
        return await asyncio.gather(*(lead_and_leave(f"Left {number}") for number in range(6)))

    answers = asyncio.run(asyncio.wait_for(several(), DEADLINE_S))
    assert {(answer.status, answer.cache, answer.whole) for answer in answers} == {(200, "coalesced", True)}
    assert all(answer.body.endswith(b"data: [DONE]\n\n") for answer in answers)
    assert [line["complete"] for line in provider.invoice()] == [True] * 6


def test_a_leader_that_nobody_follows_anywhere_is_cancelled(unit: Unit, provider: Provider) -> None:
    async def leave() -> Told:
        begun = asyncio.Event()
        script = "output_tokens=400;gap_ms=20"
        return await ask(unit.port, question("Left alone"), script, begun=begun, leave=begun)

    call_id = asyncio.run(asyncio.wait_for(leave(), DEADLINE_S)).call_id
    (line,) = wait_for(provider.invoice, "the invoice line")
    assert line["closed_by_client"]
    assert unit.row(call_id)["outcome"] == "client_gone"


def test_tenants_do_not_share_across_relays_either(unit: Unit, provider: Provider) -> None:
    body = question("Of two tenants")
    ours: list[list[Told]] = []
    asking = threading.Thread(target=lambda: ours.append(together(unit, 40, body, SLOWLY, "sk-a")))
    asking.start()
    theirs = together(unit, 40, body, SLOWLY, "sk-b")
    asking.join()
    assert len(provider.invoice()) == 2
    assert [len({answer.body for answer in answers}) for answers in (ours[0], theirs)] == [1, 1]
    assert ours[0][0].body != theirs[0].body


def test_a_broken_stream_is_said_to_all_relays(unit: Unit, provider: Provider) -> None:
    script = "output_tokens=40;gap_ms=20;ttft_ms=1500;cut_after_chunks=20"
    answers = together(unit, 60, question("Breaks off"), script)
    assert len(provider.invoice()) == 1
    assert all(b"upstream_incomplete" in answer.body for answer in answers)
    assert {row["outcome"] for row in unit.rows()} == {"upstream_incomplete"}


def test_a_server_that_freezes_in_the_middle_is_no_callers_error(
    unit: Unit, provider: Provider, valkey: Valkey
) -> None:
    freezing = threading.Timer(1.0, valkey.freeze)
    freezing.start()
    answers = together(unit, 60, question("Frozen", stream=False), "ttft_ms=4000")
    freezing.join()
    assert {(answer.status, answer.whole) for answer in answers} == {(200, True)}
    assert 1 <= len(provider.invoice()) <= 4, "each relay has its own flight then"
    valkey.thaw()


def test_relays_that_die_in_the_middle_are_not_waited_for(unit: Unit, provider: Provider) -> None:
    """All relays but one are killed before the first byte: whoever had led, the callers of that one are answered."""
    relays = unit.pids("submeter.relay")

    def kill() -> None:
        for pid in relays[1:]:
            os.kill(pid, signal.SIGKILL)

    killing = threading.Timer(1.0, kill)
    killing.start()
    told = survivors(unit, 60, question("Killed", stream=False), "ttft_ms=4000")
    killing.join()
    assert 0 < len(told) < 60
    assert {(answer.status, answer.whole) for answer in told} == {(200, True)}
    assert len({answer.body for answer in told}) == 1
    assert len(provider.invoice()) <= 2
