"""Memory, alone and before Redis: bounds in bytes, and time by a clock of the test's own."""

import asyncio

import msgspec

from harness.kept import ANSWER, KEY
from submeter.core.kept import KeptAnswer
from submeter.store.cache import LayeredCache, MemoryCache
from submeter.store.cache.memory import ENTRY_BYTES


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def sized(size: int) -> KeptAnswer:
    """An answer that counts as ``size`` bytes."""
    return msgspec.structs.replace(ANSWER, body=bytes(size - ENTRY_BYTES), pace=())


async def held(cache: MemoryCache, keys: str) -> list[str]:
    return [key for key in keys if await cache.get(key) is not None]


def test_it_is_bounded_by_bytes_and_the_least_recently_used_goes_first() -> None:
    async def check() -> None:
        cache = MemoryCache(6_000)
        for key in "abc":
            await cache.put(key, sized(2_000), 60)
        assert await cache.get("a") is not None  # so that b is the oldest now
        await cache.put("d", sized(2_000), 60)
        assert await held(cache, "abcd") == ["a", "c", "d"]
        await cache.put("e", sized(6_000), 60)
        assert await held(cache, "abcde") == ["e"]

    asyncio.run(check())


def test_it_does_not_take_what_is_larger_than_itself() -> None:
    async def check() -> None:
        cache = MemoryCache(3_000)
        await cache.put("a", sized(3_000), 60)
        await cache.put("b", sized(3_001), 60)
        assert await held(cache, "ab") == ["a"]

    asyncio.run(check())


def test_it_is_freed_by_replacing_and_by_time() -> None:
    async def check() -> None:
        clock = Clock()
        cache = MemoryCache(4_000, clock)
        for _ in range(10):
            await cache.put("a", sized(2_000), 60)
        await cache.put("b", sized(2_000), 10)
        assert await held(cache, "ab") == ["a", "b"], "ten puts of one key take the room of one"
        clock.now_s += 10
        assert await held(cache, "ab") == ["a"]
        await cache.put("c", sized(2_000), 60)
        assert await held(cache, "abc") == ["a", "c"], "what has gone by its time takes no room"

    asyncio.run(check())


def test_before_another_cache_it_answers_for_its_own_time_only() -> None:
    async def check() -> None:
        clock = Clock()
        far = MemoryCache(1_000_000, clock)
        cache = LayeredCache(MemoryCache(1_000_000, clock), far, 5.0)
        await far.put(KEY, ANSWER, 60)
        assert [await cache.get(KEY), await cache.get(KEY)] == [ANSWER, ANSWER]
        assert (far.stats.hits, cache.stats.hits, cache.stats.misses) == (1, 2, 0)
        await far.close()  # forgets, as a purge does
        assert await cache.get(KEY) == ANSWER
        clock.now_s += 5
        assert await cache.get(KEY) is None

    asyncio.run(check())


def test_before_another_cache_it_never_keeps_longer_than_asked() -> None:
    async def check() -> None:
        clock = Clock()
        cache = LayeredCache(MemoryCache(1_000_000, clock), MemoryCache(1_000_000, clock), 5.0)
        await cache.put(KEY, ANSWER, 1)
        clock.now_s += 1
        assert await cache.get(KEY) is None

    asyncio.run(check())
