"""What every cache promises, on all of them: memory, Redis, Valkey, a cluster of three, and memory before Redis."""

import asyncio

import msgspec
import pytest

from harness.kept import ANSWER, KEY, OTHER, SECRETS, with_cache
from submeter.store.cache import Cache, Owner, open_cache

Where = tuple[str | None, float]


def test_what_was_put_is_got(any_url: Where) -> None:
    async def check(cache: Cache) -> None:
        assert await cache.get(KEY) is None
        await cache.put(KEY, ANSWER, 60, Owner("tenant", "model"))
        assert await cache.get(KEY) == ANSWER
        counted = cache.stats.as_dict()
        assert counted == {"hits": 1, "misses": 1, "rejected": 0, "errors": 0, "breaker_open": 0}

    with_cache(any_url[0], check, any_url[1])


def test_keys_are_apart(any_url: Where) -> None:
    """Also in a cluster, where they lie on different nodes."""
    keys = [f"{number:064x}" for number in range(20)]

    async def check(cache: Cache) -> None:
        for key in keys[::2]:
            await cache.put(key, msgspec.structs.replace(ANSWER, body=key.encode()), 60)
        found = [await cache.get(key) for key in keys]
        assert [answer and answer.body for answer in found[::2]] == [key.encode() for key in keys[::2]]
        assert found[1::2] == [None] * 10

    with_cache(any_url[0], check, any_url[1])


def test_the_last_put_wins(any_url: Where) -> None:
    later = msgspec.structs.replace(ANSWER, body=b"later")

    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 60)
        await cache.put(KEY, later, 60)
        assert await cache.get(KEY) == later

    with_cache(any_url[0], check, any_url[1])


def test_an_answer_is_forgotten_after_its_time(any_url: Where) -> None:
    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 0.1)
        await cache.put(OTHER, ANSWER, 60)
        await asyncio.sleep(0.4)
        assert await cache.get(KEY) is None
        assert await cache.get(OTHER) == ANSWER

    with_cache(any_url[0], check, any_url[1])


def test_an_answer_of_a_mebibyte_fits(any_url: Where) -> None:
    large = msgspec.structs.replace(ANSWER, body=bytes(range(256)) * 3_900)

    async def check(cache: Cache) -> None:
        await cache.put(KEY, large, 60)
        assert await cache.get(KEY) == large

    with_cache(any_url[0], check, any_url[1])


def test_many_at_once_get_their_own(any_url: Where) -> None:
    """More than there are connections."""
    keys = [f"{number:064x}" for number in range(300)]

    async def check(cache: Cache) -> None:
        answers = [msgspec.structs.replace(ANSWER, body=key.encode()) for key in keys]
        await asyncio.gather(*(cache.put(key, answer, 60) for key, answer in zip(keys, answers, strict=True)))
        assert await asyncio.gather(*(cache.get(key) for key in keys)) == answers
        assert cache.stats.hits == len(keys)

    with_cache(any_url[0], check, any_url[1])


def test_only_a_cache_that_relays_share_has_shared_flights(any_url: Where) -> None:
    async def check(cache: Cache) -> None:
        assert (cache.shared is None) == (any_url[0] is None)

    with_cache(any_url[0], check, any_url[1])


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "redis-socket", "unix:///s?cluster=true", "redis://h?cluster=true&node="]
)
def test_a_url_that_is_none_of_redis_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"redis://|host:port"):
        open_cache(url, max_bytes=1, deadline_s=1.0, secrets=SECRETS)
