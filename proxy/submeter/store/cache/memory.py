"""The embedded default: the answers of one relay, in its own memory."""

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from submeter.core.kept import KeptAnswer
from submeter.store.cache.contract import NOBODY, CacheStats, Owner

ENTRY_BYTES = 1024
"""About what the Python objects of one answer weigh beside its body."""
PACE_ENTRY_BYTES = 128


class _Entry(msgspec.Struct, frozen=True):
    expires_s: float
    size_bytes: int
    answer: KeptAnswer


class MemoryCache:
    """The least recently used answers, bounded by bytes. Nothing is sealed here: nobody else writes this memory."""

    shared = None

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.stats = CacheStats()
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def get(self, key: str) -> KeptAnswer | None:
        entry = self._entries.get(key)
        if entry is None or entry.expires_s <= self._clock():
            self._drop(key)
            self.stats.misses += 1
            return None
        self._entries.move_to_end(key)
        self.stats.hits += 1
        return entry.answer

    async def put(self, key: str, answer: KeptAnswer, ttl_s: float, owner: Owner = NOBODY) -> None:
        entry = _Entry(self._clock() + ttl_s, _size_bytes(answer), answer)
        if entry.size_bytes > self._max_bytes:
            return
        self._drop(key)
        self._entries[key] = entry
        self._bytes += entry.size_bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def close(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size_bytes


def _size_bytes(answer: KeptAnswer) -> int:
    return len(answer.body) + ENTRY_BYTES + PACE_ENTRY_BYTES * len(answer.pace)
