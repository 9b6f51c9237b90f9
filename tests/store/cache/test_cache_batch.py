"""Many questions at once are few commands, and each caller still gets what is its own."""

import asyncio
import socketserver
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
import pytest
from redis import Redis

from harness.kept import ANSWER, DEADLINE_S, SECRETS
from harness.redis_cluster import LocalCluster
from harness.redis_server import RedisServer
from submeter.store.cache import CacheUnavailable, RedisCache, names
from submeter.store.cache.address import parse_address
from submeter.store.cache.batch import AT_ONCE
from submeter.tasks import spawn

KEYS = [f"{number:064x}" for number in range(1000)]


@pytest.fixture
def client(redis: RedisServer) -> Iterator[Redis]:
    """Of a server that is empty and has counted nothing yet."""
    with Redis(port=redis.port) as client:
        client.flushall()
        client.config_resetstat()
        yield client


@asynccontextmanager
async def cache_at(url: str, deadline_s: float = DEADLINE_S) -> AsyncIterator[RedisCache]:
    cache = RedisCache(parse_address(url), SECRETS, deadline_s, lambda: 0.0)
    try:
        async with asyncio.timeout(2 * DEADLINE_S):
            yield cache
    finally:
        await cache.close()


def commands(client: Redis) -> dict[str, int]:
    counted = client.info("commandstats")
    wanted = ("get", "mget")
    return {name: counted[f"cmdstat_{name}"]["calls"] for name in wanted if f"cmdstat_{name}" in counted}


def test_questions_of_one_turn_go_together(redis: RedisServer, client: Redis) -> None:
    async def check() -> None:
        async with cache_at(redis.url) as cache:
            for key in KEYS[::10]:
                await cache.put(key, msgspec.structs.replace(ANSWER, body=key.encode()), 60)
            found = await asyncio.gather(*(cache.get(key) for key in KEYS))
            assert [answer and answer.body for answer in found[::10]] == [key.encode() for key in KEYS[::10]]
            assert sum(answer is None for answer in found) == 900
            assert (cache.stats.hits, cache.stats.misses, cache.stats.rejected) == (100, 900, 0)

    asyncio.run(check())
    assert commands(client) == {"get": 1, "mget": -(-999 // AT_ONCE)}


def test_questions_one_after_another_go_alone(redis: RedisServer, client: Redis) -> None:
    async def check() -> None:
        async with cache_at(redis.url) as cache:
            for key in KEYS[:10]:
                assert await cache.get(key) is None

    asyncio.run(check())
    assert commands(client) == {"get": 10}


def test_a_caller_that_leaves_takes_nothing_from_the_others(redis: RedisServer, client: Redis) -> None:
    async def check() -> None:
        async with cache_at(redis.url) as cache:
            for key in KEYS[:10]:
                await cache.put(key, ANSWER, 60)
            asking = [spawn(cache.get(key), "lookup") for key in KEYS[:10]]
            await asyncio.sleep(0)
            for left in (asking[0], asking[1], asking[5]):  # the one that went alone, and the first of those together
                left.cancel()
            found = await asyncio.gather(*asking, return_exceptions=True)
            stayed = [answer for number, answer in enumerate(found) if number not in (0, 1, 5)]
            assert stayed == [ANSWER] * 7
            assert await cache.get(KEYS[0]) == ANSWER
            assert cache.stats.errors == 0

    asyncio.run(check())
    assert commands(client)["get"] == 2, "the next one is alone again"


def test_what_is_wrong_with_one_value_is_no_matter_to_the_others(redis: RedisServer, client: Redis) -> None:
    async def check() -> None:
        async with cache_at(redis.url) as cache:
            for key in KEYS[:6]:
                await cache.put(key, msgspec.structs.replace(ANSWER, body=key.encode()), 60)
            of_another = client.get(names.answer(KEYS[5]))
            client.set(names.answer(KEYS[2]), of_another)
            client.set(names.answer(KEYS[3]), b"forged")
            client.delete(names.answer(KEYS[4]))
            client.lpush(names.answer(KEYS[4]), b"no string")
            found = await asyncio.gather(*(cache.get(key) for key in KEYS[:6]))
            bodies = [answer and answer.body for answer in found]
            assert bodies == [KEYS[0].encode(), KEYS[1].encode(), None, None, None, KEYS[5].encode()]
            assert (cache.stats.rejected, cache.stats.errors) == (2, 0)

    asyncio.run(check())


def test_a_server_that_hangs_is_every_callers_trouble_and_soon_left_alone(redis: RedisServer, client: Redis) -> None:
    async def check() -> None:
        async with cache_at(redis.url, 0.2) as cache:
            assert await cache.get(KEYS[0]) is None
            redis.freeze()
            try:
                async with asyncio.timeout(DEADLINE_S):
                    found = await asyncio.gather(*(cache.get(key) for key in KEYS), return_exceptions=True)
                assert {type(one) for one in found} == {CacheUnavailable}
                assert len(set(map(id, found))) == len(KEYS), "an exception of its own for each"
                counted = cache.stats
                assert counted.errors + counted.breaker_open == len(KEYS)
                before = counted.breaker_open
                with pytest.raises(CacheUnavailable):
                    await cache.get(KEYS[0])
                assert counted.breaker_open == before + 1, "it is left alone"
            finally:
                redis.thaw()

    asyncio.run(check())


def test_in_a_cluster_each_goes_alone(cluster: LocalCluster) -> None:
    clients = [Redis(port=node.port) for node in cluster.nodes]

    async def check() -> None:
        async with cache_at(cluster.url) as cache:
            await asyncio.gather(*(cache.get(key) for key in KEYS[:100]))

    for client in clients:
        client.config_resetstat()
    asyncio.run(check())
    counted = [commands(client) for client in clients]
    for client in clients:
        client.close()
    assert sum(each["get"] for each in counted) == 100
    assert not any("mget" in each for each in counted)


ODD = [
    b"*1\r\n$1\r\nx\r\n",
    b"*0\r\n",
    b"$3\r\nabc\r\n",
    b":3\r\n",
    b"_\r\n",
    b"-ERR no\r\n",
    b"%1\r\n+a\r\n+b\r\n",
    b"?",
]


@contextmanager
def saying(odd: bytes) -> Iterator[str]:
    """A server that greets as Redis does, and then says the same to every command."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while asked := self.request.recv(65_536):
                self.request.sendall(b"%1\r\n+proto\r\n:3\r\n" if b"HELLO" in asked else odd)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_answer_to_so_many_is_none(odd: bytes) -> None:
    async def check(url: str) -> None:
        async with cache_at(url, 0.2) as cache:
            found = await asyncio.gather(*(cache.get(key) for key in KEYS[:4]), return_exceptions=True)
            assert all(one is None or isinstance(one, CacheUnavailable) for one in found)
            assert len(found) == 4
            assert cache.stats.hits == 0

    with saying(odd) as url:
        asyncio.run(check(url))
