"""Memory before Redis: what one relay has just given again costs no round trip."""

from submeter.core.kept import KeptAnswer
from submeter.store.cache.contract import NOBODY, Cache, CacheStats, Owner
from submeter.store.cache.flights import SharedFlights
from submeter.store.cache.memory import MemoryCache


class LayeredCache:
    """Asks memory first, for ``l1_s`` after an answer was last read from behind it or kept. That is also how much
    later than Redis this relay forgets an answer, or learns of a purge."""

    def __init__(self, near: MemoryCache, far: Cache, l1_s: float) -> None:
        self._near = near
        self._far = far
        self._l1_s = l1_s

    @property
    def stats(self) -> CacheStats:
        """Of both: a miss in memory alone is none."""
        stats = CacheStats()
        for name in CacheStats.__slots__:
            setattr(stats, name, getattr(self._far.stats, name))
        stats.hits += self._near.stats.hits
        return stats

    @property
    def shared(self) -> SharedFlights | None:
        return self._far.shared

    async def get(self, key: str) -> KeptAnswer | None:
        found = await self._near.get(key)
        if found is None:
            found = await self._far.get(key)
            if found is not None:
                await self._near.put(key, found, self._l1_s)
        return found

    async def put(self, key: str, answer: KeptAnswer, ttl_s: float, owner: Owner = NOBODY) -> None:
        await self._near.put(key, answer, min(ttl_s, self._l1_s))
        await self._far.put(key, answer, ttl_s, owner)

    async def close(self) -> None:
        await self._near.close()
        await self._far.close()
