"""One contract for both caches; what only one of them promises comes after it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from harness.valkey import Valkey
from submeter.core.record import TokenClasses
from submeter.store import cache as cache_module
from submeter.store.cache import (
    BREAK_AFTER,
    SCHEMA,
    Cache,
    CachedAnswer,
    CacheUnavailable,
    MemoryCache,
    RedisCache,
    open_cache,
)

KEY = "0123456789abcdef" * 4 + ":whole"
DEADLINE_S = 1.0

ANSWER = CachedAnswer(
    schema=SCHEMA,
    content_type=b"text/event-stream; charset=utf-8",
    body=b'data: {"a":"\xc3\xa4"}\n\n\x00\xff',
    model_served="gpt-4o-mini-2024-07-18",
    service_tier=None,
    finish_reason="stop",
    usage=TokenClasses(input_uncached=11, output_text=16),
)

Check = Callable[[Cache], Awaitable[None]]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    yield valkey
    valkey.close()


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest, valkey: Valkey) -> str | None:
    """What each test of the contract opens a cache with."""
    if request.param == "memory":
        return None
    with Redis(port=valkey.port) as server:
        server.flushall()
    return valkey.url


@asynccontextmanager
async def opened(url: str | None, *, deadline_s: float = DEADLINE_S) -> AsyncIterator[Cache]:
    cache = open_cache(url, max_bytes=1_000_000, deadline_s=deadline_s)
    try:
        yield cache
    finally:
        await cache.close()


def with_cache(url: str | None, check: Check) -> None:
    async def run() -> None:
        async with opened(url) as cache:
            await check(cache)

    asyncio.run(run())


# ---- the contract --------------------------------------------------------------------------------------------


def test_what_was_put_is_got(url: str | None) -> None:
    async def check(cache: Cache) -> None:
        assert await cache.get(KEY) is None
        await cache.put(KEY, ANSWER, 60)
        assert await cache.get(KEY) == ANSWER

    with_cache(url, check)


def test_keys_are_apart(url: str | None) -> None:
    """Also those that begin alike, as the stream and the whole answer of one request do."""
    stream = KEY.replace("whole", "stream")

    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 60)
        assert await cache.get(stream) is None
        await cache.put(stream, msgspec.structs.replace(ANSWER, body=b"stream"), 60)
        whole, streamed = await cache.get(KEY), await cache.get(stream)
        assert whole == ANSWER
        assert streamed is not None
        assert streamed.body == b"stream"

    with_cache(url, check)


def test_the_last_put_wins(url: str | None) -> None:
    later = msgspec.structs.replace(ANSWER, body=b"later")

    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 60)
        await cache.put(KEY, later, 60)
        assert await cache.get(KEY) == later

    with_cache(url, check)


def test_an_answer_is_forgotten_after_its_time(url: str | None) -> None:
    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 0.3)
        await cache.put("other", ANSWER, 60)
        assert await cache.get(KEY) == ANSWER
        await asyncio.sleep(0.4)
        assert await cache.get(KEY) is None
        assert await cache.get("other") == ANSWER

    with_cache(url, check)


# ---- memory ----------------------------------------------------------------------------------------------------


def sized(size: int) -> CachedAnswer:
    return msgspec.structs.replace(ANSWER, body=bytes(size))


def test_memory_is_bounded_by_bytes_and_the_least_recently_used_goes_first() -> None:
    async def check() -> None:
        cache = MemoryCache(3_500)
        for key in "abc":
            await cache.put(key, sized(1_000), 60)
        assert await cache.get("a") is not None  # so that b is the oldest now
        await cache.put("d", sized(1_000), 60)
        found = {key: await cache.get(key) is not None for key in "abcd"}
        assert found == {"a": True, "b": False, "c": True, "d": True}
        await cache.put("e", sized(3_000), 60)
        assert [key for key in "abcde" if await cache.get(key) is not None] == ["e"]

    asyncio.run(check())


def test_memory_does_not_take_what_is_larger_than_itself() -> None:
    async def check() -> None:
        cache = MemoryCache(2_000)
        await cache.put("a", sized(1_000), 60)
        await cache.put("b", sized(2_000), 60)
        assert await cache.get("a") is not None
        assert await cache.get("b") is None

    asyncio.run(check())


def test_memory_is_freed_by_replacing_and_by_time() -> None:
    async def check() -> None:
        cache = MemoryCache(2_500)
        for _ in range(10):
            await cache.put("a", sized(1_000), 60)
        await cache.put("b", sized(1_000), 60)
        assert await cache.get("a") is not None, "ten puts of one key take the room of one"
        await cache.put("b", sized(1_000), 0)
        await asyncio.sleep(0.01)
        assert await cache.get("b") is None
        await cache.put("c", sized(1_000), 60)
        assert await cache.get("a") is not None, "what has gone by its time takes no room"

    asyncio.run(check())


# ---- Redis -----------------------------------------------------------------------------------------------------


def plant(valkey: Valkey, value: bytes) -> None:
    """Put ``value`` where the answer lies."""
    with Redis(port=valkey.port) as server:
        (name,) = server.keys()
        server.set(name, value)


NOT_OURS = {
    "nothing": b"",
    "text": b"hello",
    "JSON": b'{"schema":1}',
    "a number": b"1",
    "cut": msgspec.msgpack.encode(ANSWER)[:-3],
    "an older schema": msgspec.msgpack.encode(msgspec.structs.replace(ANSWER, schema=SCHEMA - 1)),
    "a later schema": msgspec.msgpack.encode([SCHEMA + 1, "all", "other"]),
    "a pickle": b"cos\nsystem\n(S'true'\ntR.",
    "too deep": b"\x91" * 100_000,
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_redis_what_is_not_ours_is_a_miss(valkey: Valkey, name: str) -> None:
    with Redis(port=valkey.port) as server:
        server.flushall()

    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 60)
        plant(valkey, NOT_OURS[name])
        assert await cache.get(KEY) is None
        await cache.put(KEY, ANSWER, 60)
        assert await cache.get(KEY) == ANSWER, "and it is replaced"

    with_cache(valkey.url, check)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: msgspec.msgpack.encode(ANSWER)[:40] + tail))
@settings(max_examples=300, deadline=None)
def test_redis_no_bytes_make_reading_raise(value: bytes) -> None:
    found = cache_module._decode(value)
    assert found is None or found.schema == SCHEMA


def test_redis_another_type_under_the_key_is_gone_around(valkey: Valkey) -> None:
    with Redis(port=valkey.port) as server:
        server.flushall()

    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 60)
        with Redis(port=valkey.port) as server:
            (name,) = server.keys()
            server.delete(name)
            server.lpush(name, b"1")
        with pytest.raises(CacheUnavailable):
            await cache.get(KEY)

    with_cache(valkey.url, check)


def test_redis_expires_its_keys(valkey: Valkey) -> None:
    with Redis(port=valkey.port) as server:
        server.flushall()
        with_cache(valkey.url, lambda cache: cache.put(KEY, ANSWER, 90))
        (name,) = server.keys()
        assert 80 < server.ttl(name) <= 90


def test_redis_a_frozen_server_costs_the_deadline_then_nothing_and_mixes_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "BREAK_S", 0.2)
    other = msgspec.structs.replace(ANSWER, body=b"other")
    valkey = Valkey(tmp_path)

    async def check() -> None:
        async with opened(valkey.url, deadline_s=0.05) as cache:
            assert isinstance(cache, RedisCache)
            await cache.put("one", ANSWER, 60)
            await cache.put("two", other, 60)
            valkey.freeze()
            for _ in range(20):
                with pytest.raises(CacheUnavailable):
                    await cache.get("one")
            assert cache._failures == BREAK_AFTER, "the others did not wait for it"
            await cache.put("three", other, 60)  # raises nothing
            valkey.thaw()
            await asyncio.sleep(0.25)
            assert await cache.get("two") == other, "no late answer to another question"
            assert await cache.get("one") == ANSWER

    try:
        asyncio.run(check())
    finally:
        valkey.close()


def test_redis_a_dead_server_is_unavailable_and_another_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "BREAK_S", 0.05)

    async def check() -> None:
        valkey = Valkey(tmp_path)
        async with opened(valkey.url) as cache:
            await cache.put(KEY, ANSWER, 60)
            valkey.kill()
            for _ in range(5):
                with pytest.raises(CacheUnavailable):
                    await cache.get(KEY)
            again = Valkey(tmp_path, valkey.port)
            await asyncio.sleep(0.1)
            assert await cache.get(KEY) is None
            await cache.put(KEY, ANSWER, 60)
            assert await cache.get(KEY) == ANSWER
            again.close()

    asyncio.run(check())


def test_a_url_that_is_none_of_redis_is_an_error() -> None:
    with pytest.raises(ValueError, match="redis://"):
        open_cache("http://127.0.0.1", max_bytes=1, deadline_s=1.0)
