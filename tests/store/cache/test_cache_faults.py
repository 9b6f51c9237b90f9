"""A server that is frozen, dead, full, emptied, restarted, locked or no Redis at all: never more than the deadline,
never an error, never another answer."""

import asyncio
import socketserver
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from harness.kept import ANSWER, DEADLINE_S, KEY, OTHER, SECRETS
from harness.processes import free_port
from harness.redis_cluster import LocalCluster
from harness.redis_server import RedisServer
from harness.valkey import Valkey
from submeter.store.cache import CacheUnavailable, RedisCache
from submeter.store.cache.address import parse_address
from submeter.store.cache.breaker import BREAK_AFTER, BREAK_S, Breaker
from submeter.store.cache.redis import PUTS

SHORT_S = 0.05


class Clock:
    """The breaker's; deadlines are real."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def cache_at(url: str, clock: Clock, deadline_s: float = DEADLINE_S) -> AsyncIterator[RedisCache]:
    cache = RedisCache(parse_address(url), SECRETS, deadline_s, clock)
    try:
        yield cache
    finally:
        await cache.close()


async def unavailable(cache: RedisCache, times: int, key: str = KEY) -> None:
    for _ in range(times):
        with pytest.raises(CacheUnavailable):
            await cache.get(key)


@pytest.fixture(params=[RedisServer, Valkey])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may do anything to."""
    with request.param(tmp_path) as server:
        yield server


def test_frozen_it_costs_the_deadline_then_nothing_and_mixes_nothing_up(own: RedisServer) -> None:
    other, clock = msgspec.structs.replace(ANSWER, body=b"other"), Clock()

    async def check() -> None:
        async with cache_at(own.url, clock) as patient:
            await patient.put(KEY, ANSWER, 600)
            await patient.put(OTHER, other, 600)
        async with cache_at(own.url, clock, 0.5) as cache:
            assert await cache.get(KEY) == ANSWER
            own.freeze()
            await unavailable(cache, 20)
            await cache.put(OTHER, ANSWER, 600)  # raises nothing
            assert cache.stats.errors == BREAK_AFTER, "the others did not wait for it"
            assert cache.stats.breaker_open == 18
            clock.now_s += BREAK_S
            await unavailable(cache, 5)
            assert cache.stats.errors == BREAK_AFTER + 1, "one tries, the others go on"
            own.thaw()
            clock.now_s += BREAK_S
            assert await cache.get(OTHER) == other, "no late answer to another question, and no late put"
            assert await cache.get(KEY) == ANSWER

    asyncio.run(check())


def test_frozen_it_costs_calls_at_the_same_time_one_deadline(own: RedisServer) -> None:
    """More calls than there are connections to wait for."""

    async def check() -> None:
        async with cache_at(own.url, Clock(), SHORT_S) as cache:
            own.freeze()
            async with asyncio.timeout(DEADLINE_S):
                found = await asyncio.gather(*(cache.get(KEY) for _ in range(500)), return_exceptions=True)
            assert {type(one) for one in found} == {CacheUnavailable}

    asyncio.run(check())


def test_frozen_puts_that_wait_for_others_are_not_sent(own: RedisServer) -> None:
    async def check() -> None:
        async with cache_at(own.url, Clock(), SHORT_S) as cache:
            own.freeze()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*(cache.put(KEY, ANSWER, 600) for _ in range(10 * PUTS)))
            assert PUTS <= cache.stats.errors < PUTS + BREAK_AFTER
            assert cache.stats.errors + cache.stats.breaker_open == 10 * PUTS

    asyncio.run(check())


def test_a_crowd_of_our_own_is_no_fault_of_the_server(own: RedisServer) -> None:
    async def check() -> None:
        async with cache_at(own.url, Clock(), SHORT_S) as cache:
            cache._server._at_once = asyncio.Semaphore(0)  # as if others had all connections
            await unavailable(cache, 5)
            assert (cache.stats.errors, cache.stats.breaker_open) == (5, 0)

    asyncio.run(check())


def test_frozen_no_flight_waits_for_it(own: RedisServer) -> None:
    async def check() -> None:
        async with cache_at(own.url, Clock(), SHORT_S) as cache:
            own.freeze()
            for ask in (
                cache.shared.claim(KEY, "t", 1),
                cache.shared.publish(KEY, "t", 1, b""),
                cache.shared.follow(KEY, "t"),
                cache.shared.listen(KEY, 1),
                cache.shared.is_heard(KEY),
                cache.shared.extend(KEY, "t", 1),
                cache.shared.release(KEY, "t"),
            ):
                with pytest.raises(CacheUnavailable):
                    await ask
            assert (cache.stats.errors, cache.stats.breaker_open) == (3, 4)

    asyncio.run(check())


def test_dead_it_is_unavailable_and_its_successor_is_found(own: RedisServer) -> None:
    clock = Clock()

    async def check() -> None:
        async with cache_at(own.url, clock) as cache:
            await cache.put(KEY, ANSWER, 600)
            own.kill()
            await unavailable(cache, 5)
            assert (cache.stats.errors, cache.stats.breaker_open) == (3, 2)
            own.restart()
            clock.now_s += BREAK_S
            assert await cache.get(KEY) is None
            await cache.put(KEY, ANSWER, 600)
            assert await cache.get(KEY) == ANSWER

    asyncio.run(check())


def test_restarted_between_two_calls_nobody_notices(own: RedisServer) -> None:
    async def check() -> None:
        async with cache_at(own.url, Clock()) as cache:
            await cache.put(KEY, ANSWER, 600)
            own.restart()
            assert await cache.get(KEY) is None
            await cache.put(KEY, ANSWER, 600)
            assert await cache.get(KEY) == ANSWER
            assert cache.stats.errors == 0

    asyncio.run(check())


def test_emptied_it_is_a_miss(own: RedisServer) -> None:
    async def check() -> None:
        async with cache_at(own.url, Clock()) as cache:
            await cache.put(KEY, ANSWER, 600)
            with Redis(port=own.port) as client:
                client.flushall()
            assert await cache.get(KEY) is None
            assert cache.stats.as_dict() == {"hits": 0, "misses": 1, "rejected": 0, "errors": 0, "breaker_open": 0}

    asyncio.run(check())


def test_full_it_still_gives_what_it_has(own: RedisServer) -> None:
    async def check() -> None:
        async with cache_at(own.url, Clock()) as cache:
            await cache.put(KEY, ANSWER, 600)
            with Redis(port=own.port) as client:
                client.config_set("maxmemory-policy", "noeviction")
                client.config_set("maxmemory", "1")
            for _ in range(5):
                await cache.put(OTHER, ANSWER, 600)
                with pytest.raises(CacheUnavailable):
                    await cache.shared.claim(OTHER, "t", 1)
            assert cache.stats.errors == 10
            assert await cache.get(KEY) == ANSWER
            assert await cache.get(OTHER) is None
            assert cache.stats.breaker_open == 0

    asyncio.run(check())


def test_another_type_under_the_key_is_gone_around(own: RedisServer) -> None:
    async def check() -> None:
        async with cache_at(own.url, Clock()) as cache:
            with Redis(port=own.port) as client:
                client.lpush(f"submeter:{{{KEY}}}:answer", b"1")
            await unavailable(cache, 5)
            assert cache.stats.breaker_open == 0, "it answers: other keys may do better"

    asyncio.run(check())


def test_with_a_password_only_who_has_it_gets_in(tmp_path: Path) -> None:
    async def check(server: RedisServer) -> None:
        for credential in (":right@", "default:right@"):
            async with cache_at(server.url.replace("//", f"//{credential}"), Clock()) as cache:
                await cache.put(KEY, ANSWER, 600)
                assert await cache.get(KEY) == ANSWER
        for credential in ("", ":wrong@", "nobody:right@"):
            async with cache_at(server.url.replace("//", f"//{credential}"), Clock()) as cache:
                await unavailable(cache, 1)
                await cache.put(KEY, ANSWER, 600)

    with RedisServer(tmp_path, requirepass="right") as server:
        asyncio.run(check(server))


def certificate(directory: Path) -> tuple[str, str]:
    """A self-signed certificate of 127.0.0.1 and its key, made for this run."""
    key, certificate = str(directory / "key.pem"), str(directory / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=redis"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_over_tls_only_a_server_that_is_trusted_is_spoken_to(tmp_path: Path) -> None:
    trusted, key = certificate(tmp_path)
    settings = {"tls_cert_file": trusted, "tls_key_file": key, "tls_ca_cert_file": trusted, "tls_auth_clients": "no"}

    async def check(port: int) -> None:
        async with cache_at(f"rediss://127.0.0.1:{port}?ssl_ca_certs={trusted}", Clock()) as cache:
            await cache.put(KEY, ANSWER, 600)
            assert await cache.get(KEY) == ANSWER
        for untrusting in (f"rediss://127.0.0.1:{port}", f"redis://127.0.0.1:{port}"):
            async with cache_at(untrusting, Clock(), 1.0) as cache:
                await unavailable(cache, 1)

    port = free_port()
    with RedisServer(tmp_path, port, port="0", tls_port=str(port), **settings):
        asyncio.run(check(port))


# ---- a cluster ---------------------------------------------------------------------------------------------------


def test_a_cluster_with_one_dead_node_serves_what_the_others_have(tmp_path: Path) -> None:
    cluster, clock = LocalCluster(tmp_path), Clock()
    keys = [f"{number:064x}" for number in range(30)]

    async def served(cache: RedisCache) -> int:
        found = await asyncio.gather(*(cache.get(key) for key in keys), return_exceptions=True)
        assert all(one == ANSWER or isinstance(one, CacheUnavailable) for one in found)
        return sum(one == ANSWER for one in found)

    async def check() -> None:
        async with cache_at(cluster.url, clock) as patient:
            for key in keys:
                await patient.put(key, ANSWER, 600)
            assert await served(patient) == len(keys)
        async with cache_at(cluster.url, clock, 0.5) as cache:
            assert await served(cache) == len(keys)
            cluster.nodes[2].freeze()
            some = await served(cache)
            assert 0 < some < len(keys)
            await served(cache)
            errors = cache.stats.errors
            assert await served(cache) == some
            assert cache.stats.errors == errors, "its breaker is open, those of the others are not"
            cluster.nodes[2].thaw()
            clock.now_s += BREAK_S
            await served(cache)
            assert await served(cache) == len(keys)

    try:
        asyncio.run(check())
    finally:
        cluster.close()


# ---- no Redis at all ---------------------------------------------------------------------------------------------

GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x00" * 64,
    b"+OK\r\n" * 50,
    b"$999999999\r\nx",
    b"*-5\r\n%7\r\n",
    b"",
]


@contextmanager
def answering(garbage: bytes) -> Iterator[str]:
    """A TCP server that says the same to every connection and every command."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65_536):
                self.request.sendall(garbage)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False) as server:
        server.daemon_threads = True
        server.server_bind()
        server.server_activate()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("query", ["", "?cluster=true"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_no_answer(garbage: bytes, query: str) -> None:
    async def check(url: str) -> None:
        async with cache_at(url + query, Clock(), 0.2) as cache:
            for _ in range(5):
                try:
                    assert await cache.get(KEY) is None
                except CacheUnavailable:
                    pass
                await cache.put(KEY, ANSWER, 600)
            assert cache.stats.hits == 0

    with answering(garbage) as url:
        asyncio.run(check(url))


def test_nobody_there_is_unavailable() -> None:
    async def check() -> None:
        for scheme in ("redis", "rediss"):
            for query in ("", "?cluster=true"):
                async with cache_at(f"{scheme}://127.0.0.1:{free_port()}{query}", Clock()) as cache:
                    await unavailable(cache, 4)
                    assert cache.stats.breaker_open == 1

    asyncio.run(check())


# ---- the breaker -------------------------------------------------------------------------------------------------


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(Clock())
    for _ in range(10):
        for _ in range(BREAK_AFTER - 1):
            breaker.failed()
        assert breaker.allows()
        breaker.succeeded()
    for _ in range(BREAK_AFTER):
        breaker.failed()
    assert not breaker.allows()


def test_the_breaker_lets_one_try_and_closes_when_that_succeeds() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(BREAK_AFTER):
        breaker.failed()
    clock.now_s += BREAK_S
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    clock.now_s += BREAK_S  # what became of the first nobody heard
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    clock.now_s += BREAK_S
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]
