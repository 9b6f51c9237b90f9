"""Answers shared by relays and hosts, in Redis (6.2 or later), Valkey or a Redis Cluster."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from submeter.core.kept import KeptAnswer
from submeter.store.cache import names
from submeter.store.cache.address import Address
from submeter.store.cache.batch import BatchedGets
from submeter.store.cache.breaker import make_breakers
from submeter.store.cache.contract import NOBODY, CacheStats, CacheUnavailable, Owner
from submeter.store.cache.flights import FOLLOW_DEADLINE_S, SharedFlights
from submeter.store.cache.seal import Sealer
from submeter.store.cache.server import Server
from submeter.store.keys import Secrets

PUTS = 8
"""At once: nobody waits for them, so they leave the connections, and the deadline's time, to the questions."""


class RedisCache:
    """Sealed answers. A slow or broken server costs a call at most ``deadline_s``, and after a few failures nothing
    for a while."""

    def __init__(
        self, address: Address, secrets: Secrets, deadline_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stats = CacheStats()
        self._sealer = Sealer(secrets)
        breakers = make_breakers(clock)
        self._server = Server(address, deadline_s, self.stats, breakers)
        self._gets = BatchedGets(self._server)
        self._puts = asyncio.Semaphore(PUTS)
        # Followers hold a connection each while they wait; they must not take those of the questions.
        self._waiting = Server(address, deadline_s, self.stats, breakers, max_wait_s=FOLLOW_DEADLINE_S)
        self._shared = SharedFlights(self._server, self._waiting, self._sealer, self.stats)

    @property
    def shared(self) -> SharedFlights:
        return self._shared

    async def get(self, key: str) -> KeptAnswer | None:
        name = names.answer(key)
        value = await self._gets.get(name)
        answer = self._sealer.open_answer(name, value) if isinstance(value, bytes) else None
        self.stats.hits += answer is not None
        self.stats.misses += answer is None
        self.stats.rejected += answer is None and value is not None
        return answer

    async def put(self, key: str, answer: KeptAnswer, ttl_s: float, owner: Owner = NOBODY) -> None:
        name = names.answer(key)
        value = self._sealer.seal_answer(name, answer, owner)
        ttl_ms = max(1, round(ttl_s * 1000))
        with suppress(CacheUnavailable):
            async with self._puts:
                await self._server.ask(name, lambda: self._server.client.set(name, value, px=ttl_ms))

    async def close(self) -> None:
        await self._server.close()
        await self._waiting.close()
