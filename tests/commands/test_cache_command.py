"""``submeter cache``: what it sees in a real Redis and a real cluster, what it purges, and how it ends without one."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis
from typer.testing import CliRunner

from harness.kept import ANSWER, opened
from harness.processes import free_port
from harness.redis_cluster import LocalCluster
from harness.redis_server import RedisServer
from store.ledger_rows import make_call
from submeter.commands.cache import app
from submeter.errors import UsageError
from submeter.store.cache import Owner, names
from submeter.store.keys import load_secrets
from submeter.store.ledger import Ledger

NOW_NS = time.time_ns()
SAVED_NANO_USD = 1_234_567
ROWS = [
    make_call(0, started_at_ns=NOW_NS, cache="miss", model_requested="gpt-4o", model_served="gpt-4o-2024-08-06"),
    make_call(1, started_at_ns=NOW_NS, cache="hit", cost_nano_usd=0, saved_nano_usd=SAVED_NANO_USD),
    make_call(2, started_at_ns=NOW_NS, cache="coalesced", cost_nano_usd=0, saved_nano_usd=SAVED_NANO_USD),
    make_call(3, started_at_ns=NOW_NS, cache="bypass", model_requested="claude", model_served=None),
    make_call(4, started_at_ns=NOW_NS - 30 * 86_400 * 10**9, cache="hit", cost_nano_usd=0, saved_nano_usd=5),
]

ALICE, BOB = "a11ce00000000000", "b0b0000000000000"
KEPT = [  # tenant, model requested, model served
    (ALICE, "gpt-4o", "gpt-4o-2024-08-06"),
    (ALICE, "claude", None),
    (BOB, "gpt-4o", "gpt-4o-2024-11-20"),
    (BOB, "unheard-of", None),
]
NAMES = [names.answer(f"{number:064x}") for number in range(len(KEPT))]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    with Ledger.open(str(tmp_path / "data" / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        ledger.ship(ROWS, {})
    return tmp_path / "data"


@pytest.fixture
def url(redis: RedisServer, data_dir: Path) -> str:
    """A Redis with four answers, and keys of others."""
    with Redis(port=redis.port) as client:
        client.flushall()
        client.set("others", b"x" * 10)
    asyncio.run(fill(redis.url, data_dir))
    return redis.url


async def fill(url: str, data_dir: Path) -> None:
    async with opened(url, secrets=load_secrets(data_dir)) as cache:
        assert cache.shared is not None
        for number, (tenant, model, served) in enumerate(KEPT):
            answer = msgspec.structs.replace(ANSWER, model_served=served)
            await cache.put(f"{number:064x}", answer, 600, Owner(tenant, model))
        await cache.shared.claim(f"{0:064x}", "token", 600)


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, UsageError)
    return str(result.exception)


def left(redis: RedisServer) -> list[int]:
    """The numbers of the answers that are still there."""
    with Redis(port=redis.port) as client:
        return [number for number, name in enumerate(NAMES) if client.exists(name)]


def size_of(redis: RedisServer, *numbers: int) -> int:
    with Redis(port=redis.port) as client:
        return sum(client.strlen(NAMES[number]) for number in numbers)


def test_stats_tells_what_redis_holds_and_what_the_ledger_saved(redis: RedisServer, url: str, data_dir: Path) -> None:
    found = json.loads(run("stats", "--json", "--redis", url, "--data-dir", data_dir))
    assert {name: found[name] for name in ("where", "answers", "bytes")} == {
        "where": url,
        "answers": 4,
        "bytes": size_of(redis, 0, 1, 2, 3),
    }
    assert found["models"] == [
        {"model": "claude", "answers": 1, "bytes": size_of(redis, 1)},
        {"model": "gpt-4o", "answers": 1, "bytes": size_of(redis, 2)},
        {"model": "gpt-4o-2024-08-06", "answers": 1, "bytes": size_of(redis, 0)},
        {"model": None, "answers": 1, "bytes": size_of(redis, 3)},
    ]
    sums = {name: found[name] for name in ("calls", "hits", "coalesced", "misses", "saved_nano_usd")}
    assert sums == {"calls": 4, "hits": 2, "coalesced": 1, "misses": 1, "saved_nano_usd": 2 * SAVED_NANO_USD}
    assert (found["hit_rate"], found["hit_rate_of_cacheable"]) == (2 / 4, 2 / 3)


def test_stats_for_people(url: str, data_dir: Path) -> None:
    text = run("stats", "--since", "all", "--redis", url, "--data-dir", data_dir)
    for part in (
        "gpt-4o-2024-08-06",
        "of no call in the ledger",
        "60.0% of all calls",
        "75.0% of those",
        "$0.002469139",
    ):
        assert part in text


def test_stats_without_redis_says_where_the_answers_are(data_dir: Path) -> None:
    found = json.loads(run("stats", "--json", "--data-dir", data_dir))
    assert (found["where"], found["answers"], found["bytes"], found["models"]) == ("memory", None, None, None)
    assert found["hits"] == 2
    assert "memory of each relay" in run("stats", "--data-dir", data_dir)


def test_stats_of_nothing_has_no_rate(tmp_path: Path) -> None:
    with Ledger.open(str(tmp_path / "ledger.sqlite3")) as ledger:
        ledger.migrate()
    found = json.loads(run("stats", "--json", "--data-dir", tmp_path))
    assert (found["hit_rate"], found["hit_rate_of_cacheable"], found["saved_nano_usd"]) == (None, None, 0)


PURGES = {
    "a model as requested": (["--model", "gpt-4o"], [1, 3]),
    "a model as served": (["--model", "gpt-4o-2024-11-20"], [0, 1, 3]),
    "two models": (["--model", "claude", "--model", "unheard-of"], [0, 2]),
    "a tenant": (["--tenant", ALICE], [2, 3]),
    "a tenant's model": (["--tenant", BOB, "--model", "gpt-4o"], [0, 1, 3]),
    "nobody's": (["--tenant", "gpt-4o"], [0, 1, 2, 3]),
    "everything": (["--all"], []),
}


@pytest.mark.parametrize("name", PURGES)
def test_purge_removes_what_is_meant_and_nothing_else(redis: RedisServer, url: str, data_dir: Path, name: str) -> None:
    options, remain = PURGES[name]
    removed = [number for number in range(4) if number not in remain]
    size = size_of(redis, *removed)
    found = json.loads(run("purge", *options, "--json", "--redis", url, "--data-dir", data_dir))
    assert found == {"where": url, "purged": len(removed), "bytes": size}
    assert left(redis) == remain
    with Redis(port=redis.port) as client:
        assert client.get("others") == b"x" * 10
        assert client.get(names.flight(f"{0:064x}")) == b"token", "a call in the air goes on"


def test_purge_for_people(url: str, data_dir: Path) -> None:
    assert run("purge", "--all", "--redis", url, "--data-dir", data_dir) == "purged 4 answers, 0.0 MiB\n"


def test_what_is_none_of_ours_goes_with_all_only(redis: RedisServer, url: str, data_dir: Path) -> None:
    with Redis(port=redis.port) as client:
        client.set(NAMES[0], b"forged")
        client.delete(NAMES[1])
        client.lpush(NAMES[1], b"of another type")
    found = json.loads(run("stats", "--json", "--redis", url, "--data-dir", data_dir))
    assert (found["answers"], found["models"][-1]["answers"]) == (4, 3)
    run("purge", "--tenant", ALICE, "--redis", url, "--data-dir", data_dir)
    assert left(redis) == [0, 1, 2, 3]
    run("purge", "--all", "--redis", url, "--data-dir", data_dir)
    assert left(redis) == []


def test_a_cluster_is_seen_and_purged_whole(tmp_path: Path, data_dir: Path) -> None:
    cluster = LocalCluster(tmp_path / "cluster")
    try:
        asyncio.run(fill(cluster.url, data_dir))
        where = ("--redis", cluster.url, "--data-dir", data_dir)
        assert json.loads(run("stats", "--json", *where))["answers"] == 4
        assert json.loads(run("purge", "--tenant", ALICE, "--json", *where))["purged"] == 2
        assert json.loads(run("purge", "--all", "--json", *where))["purged"] == 2
        assert json.loads(run("stats", "--json", *where))["answers"] == 0
    finally:
        cluster.close()


def test_purge_has_to_be_told_what(url: str, data_dir: Path) -> None:
    where = ("--redis", url, "--data-dir", data_dir)
    for options in ([], ["--all", "--model", "gpt-4o"], ["--all", "--tenant", ALICE]):
        assert "--model" in refused("purge", *options, *where)


def test_purge_without_redis_says_why_it_cannot(data_dir: Path) -> None:
    text = refused("purge", "--all", "--data-dir", data_dir)
    assert "memory of each relay" in text
    assert "--redis" in text


def test_purge_needs_the_key_that_tells_whose_answers_are_whose(url: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert "--data-dir" in refused("purge", "--tenant", ALICE, "--redis", url, "--data-dir", elsewhere)
    assert not (elsewhere / "keys").exists()
    assert json.loads(run("purge", "--all", "--json", "--redis", url, "--data-dir", elsewhere))["purged"] == 4


@pytest.mark.parametrize("query", ["", "?cluster=true"])
def test_a_redis_that_does_not_answer(data_dir: Path, query: str) -> None:
    load_secrets(data_dir)
    url = f"redis://:canary@127.0.0.1:{free_port()}{query}"
    for command in (["stats"], ["purge", "--all"]):
        text = refused(*command, "--redis", url, "--data-dir", data_dir)
        assert "does not answer" in text
        assert "canary" not in text
