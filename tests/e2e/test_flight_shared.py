"""Relays that share a Redis share their flights: one upstream call for all of them."""

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.crowd import DEADLINE_S, Told, ask, assert_shared, survivors, together
from harness.processes import Provider, Unit, wait_for
from harness.raw import chat
from harness.redis_cluster import LocalCluster
from harness.redis_server import RedisServer
from harness.shared_redis import sharing
from harness.valkey import Valkey
from submeter.tasks import spawn

PATIENT = "cache: {deadline_ms: 2000}"
"""Machines that test are busy; how long a cache may take is not what is tested here."""
MUCH = "output_tokens=460000;tokens_per_chunk=200;gap_ms=1;ttft_ms=1500"
SLOWLY = "output_tokens=40;gap_ms=50;ttft_ms=2500"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def unit(tmp_path: Path, fresh_provider: Provider, valkey: Valkey) -> Iterator[Unit]:
    with sharing(tmp_path, fresh_provider, valkey.url, relays=4, config=PATIENT) as unit:
        yield unit


def question(text: str, *, stream: bool = True) -> dict[str, object]:
    return chat(messages=[{"role": "user", "content": text}], temperature=0, stream=stream)


def test_a_thousand_callers_of_four_relays_are_one_line_of_the_invoice(unit: Unit, fresh_provider: Provider) -> None:
    answers = together(unit, 1000, question("A thousand"), SLOWLY)
    assert Counter(answer.cache for answer in answers) == {"miss": 1, "coalesced": 999}
    assert answers[0].body.endswith(b"data: [DONE]\n\n")
    assert_shared(unit, answers, lines=fresh_provider.invoice())
    assert {answer.cache for answer in together(unit, 20, question("A thousand"))} == {"hit"}


def test_an_answer_of_several_windows_reaches_the_readers_of_all_relays(
    tmp_path: Path, fresh_provider: Provider, redis: RedisServer
) -> None:
    """Redis holds the last MiB of it, and all who keep up get all of it."""
    with sharing(tmp_path, fresh_provider, redis.url, relays=2, config=PATIENT) as unit:
        answers = together(unit, 16, question("Three MiB"), MUCH)
        assert len(answers[0].body) > 3 << 20
        assert Counter(answer.cache for answer in answers) == {"miss": 1, "coalesced": 15}
        assert_shared(unit, answers, lines=fresh_provider.invoice())
        assert together(unit, 1, question("Three MiB"), "")[0].cache == "miss", "too large to be kept"


def test_relays_share_their_flights_through_a_cluster(tmp_path: Path, fresh_provider: Provider) -> None:
    """Three questions, as each lies on a node of its choice."""
    with (
        closing(LocalCluster(tmp_path)) as cluster,
        sharing(tmp_path, fresh_provider, cluster.url, relays=2, config=PATIENT) as unit,
    ):
        for number in range(3):
            before = len(fresh_provider.invoice())
            answers = together(unit, 30, question(f"Of a cluster {number}"), SLOWLY)
            assert Counter(answer.cache for answer in answers) == {"miss": 1, "coalesced": 29}
            assert_shared(unit, answers, lines=fresh_provider.invoice()[before:])
        assert {answer.cache for answer in together(unit, 10, question("Of a cluster 0"))} == {"hit"}


def test_a_flight_goes_on_for_the_callers_of_other_relays(unit: Unit, fresh_provider: Provider) -> None:
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
    assert [line["complete"] for line in fresh_provider.invoice()] == [True] * 6


def test_a_leader_that_nobody_follows_anywhere_is_cancelled(unit: Unit, fresh_provider: Provider) -> None:
    async def leave() -> Told:
        begun = asyncio.Event()
        script = "output_tokens=400;gap_ms=20"
        return await ask(unit.port, question("Left alone"), script, begun=begun, leave=begun)

    call_id = asyncio.run(asyncio.wait_for(leave(), DEADLINE_S)).call_id
    (line,) = wait_for(fresh_provider.invoice, "the invoice line")
    assert line["closed_by_client"]
    assert unit.row(call_id)["outcome"] == "client_gone"


def test_tenants_do_not_share_across_relays_either(unit: Unit, fresh_provider: Provider) -> None:
    body = question("Of two tenants")
    ours: list[list[Told]] = []
    asking = threading.Thread(target=lambda: ours.append(together(unit, 40, body, SLOWLY, "sk-a")))
    asking.start()
    theirs = together(unit, 40, body, SLOWLY, "sk-b")
    asking.join()
    assert len(fresh_provider.invoice()) == 2
    assert [len({answer.body for answer in answers}) for answers in (ours[0], theirs)] == [1, 1]
    assert ours[0][0].body != theirs[0].body


def test_a_broken_stream_is_said_to_all_relays(unit: Unit, fresh_provider: Provider) -> None:
    script = "output_tokens=40;gap_ms=20;ttft_ms=1500;cut_after_chunks=20"
    answers = together(unit, 60, question("Breaks off"), script)
    assert len(fresh_provider.invoice()) == 1
    assert all(b"upstream_incomplete" in answer.body for answer in answers)
    assert {row["outcome"] for row in unit.rows()} == {"upstream_incomplete"}


def test_a_server_that_freezes_in_the_middle_is_no_callers_error(
    unit: Unit, fresh_provider: Provider, valkey: Valkey
) -> None:
    freezing = threading.Timer(1.0, valkey.freeze)
    freezing.start()
    answers = together(unit, 60, question("Frozen", stream=False), "ttft_ms=4000")
    freezing.join()
    assert {(answer.status, answer.whole) for answer in answers} == {(200, True)}
    assert 1 <= len(fresh_provider.invoice()) <= 4, "each relay has its own flight then"
    valkey.thaw()


def test_a_leader_that_is_killed_is_not_waited_for(unit: Unit, fresh_provider: Provider) -> None:
    """Before the first byte: once its claim is over another relay leads, for the callers of all three that are left."""
    body = question("Killed", stream=False)
    killed: list[int] = []

    def kill() -> None:
        killed.extend(wait_for(lambda: calling(unit, fresh_provider), "the leader's upstream call"))
        time.sleep(1.0)  # until the others follow
        os.kill(killed[0], signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    told = survivors(unit, 60, body, "ttft_ms=4000")
    killing.join()
    assert len(killed) == 1
    assert 0 < len(told) < 60
    assert Counter(answer.cache for answer in told) == {"miss": 1, "coalesced": len(told) - 1}
    lines = fresh_provider.invoice()
    assert len(lines) == 2, "the leader's that was killed, and the one that took its place"
    assert_shared(unit, told, lines=[line for line in lines if line["complete"]])
    assert {answer.cache for answer in together(unit, 4, body)} == {"hit"}


def calling(unit: Unit, fresh_provider: Provider) -> list[int]:
    """The relays that have a connection to the provider."""
    port = urlsplit(fresh_provider.base_url).port
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if int(line[2].partition(":")[2], 16) == port}
    return [pid for pid in unit.pids("submeter.relay") if sockets & {_target(fd) for fd in _open_files(pid)}]


def _open_files(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def _target(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""
