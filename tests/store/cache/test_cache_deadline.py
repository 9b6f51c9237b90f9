"""A server has its time to answer, however busy the loop is that asks it."""

import asyncio
import time

import pytest

from harness.kept import ANSWER, KEY, SECRETS
from harness.redis_server import RedisServer
from submeter.store.cache import RedisCache
from submeter.store.cache.address import parse_address
from submeter.store.cache.deadline import SLICES, Deadline
from submeter.tasks import spawn

SHORT_S = 0.05


def test_what_takes_too_long_is_ended() -> None:
    async def check() -> None:
        deadline = Deadline(SHORT_S)
        with pytest.raises(TimeoutError):
            async with deadline:
                await asyncio.Event().wait()
        assert deadline.left_s == 0

    asyncio.run(check())


def test_what_is_done_in_time_leaves_nothing_behind() -> None:
    async def check() -> None:
        async with Deadline(SHORT_S) as deadline:
            assert deadline.left_s == pytest.approx(SHORT_S)
        await asyncio.sleep(2 * SHORT_S)  # a timer that is left would cancel this

    asyncio.run(check())


def test_a_cancellation_is_no_timeout() -> None:
    async def wait() -> None:
        async with Deadline(60):
            await asyncio.Event().wait()

    async def check() -> None:
        waiting = spawn(wait(), "waiting")
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(check())


def test_a_turn_counts_for_one_slice_however_long_it_takes() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        async with Deadline(SHORT_S):
            for _ in range(SLICES - 1):
                loop.call_soon(time.sleep, 2 * SHORT_S)
                await asyncio.sleep(0)

    asyncio.run(check())


def test_an_answer_that_came_while_the_loop_was_busy_is_taken(redis: RedisServer) -> None:
    async def check() -> None:
        cache = RedisCache(parse_address(redis.url), SECRETS, SHORT_S)
        try:
            await cache.put(KEY, ANSWER, 60)
            asking = spawn(cache.get(KEY), "lookup")
            await asyncio.sleep(0)
            time.sleep(4 * SHORT_S)  # noqa: ASYNC251 - as if other calls took all of the loop's time
            assert await asking == ANSWER
        finally:
            await cache.close()

    asyncio.run(check())
