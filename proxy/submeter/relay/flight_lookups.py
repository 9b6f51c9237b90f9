"""Questions to a cache that is elsewhere: who asks the same at the same time shares one of them."""

import asyncio

from submeter.core.kept import KeptAnswer
from submeter.store.cache import NOBODY, Cache, CacheStats, CacheUnavailable, Owner, SharedFlights

Found = KeptAnswer | CacheUnavailable | None


class SharedLookups:
    """A ``Cache``. A thousand callers of one answer would else be a thousand commands within one deadline."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._asking: dict[str, asyncio.Future[Found]] = {}

    @property
    def stats(self) -> CacheStats:
        return self._cache.stats

    @property
    def shared(self) -> SharedFlights | None:
        return self._cache.shared

    async def get(self, key: str) -> KeptAnswer | None:
        asking = self._asking.get(key)
        found = await (self._ask(key) if asking is None else asyncio.shield(asking))
        if isinstance(found, CacheUnavailable):
            raise CacheUnavailable
        return found

    async def put(self, key: str, answer: KeptAnswer, ttl_s: float, owner: Owner = NOBODY) -> None:
        await self._cache.put(key, answer, ttl_s, owner)

    async def close(self) -> None:
        await self._cache.close()

    async def _ask(self, key: str) -> Found:
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        found: Found = CacheUnavailable()
        try:
            found = await self._cache.get(key)
        except CacheUnavailable:
            pass
        finally:
            del self._asking[key]
            asking.set_result(found)
        return found
