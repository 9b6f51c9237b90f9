"""Answers of deterministic calls: in memory by default, in Redis where relays share them.

contract   what every cache promises
memory     the embedded default
redis      answers shared by relays, sealed (seal), asked within a deadline (server, breaker), at an address
layered    memory before Redis
flights    one upstream call for all relays that want the same answer
inventory  what lies in Redis, and how it is purged; for `submeter cache`

A cache never fails a call: one that does not answer is gone around. Keys come from ``core.cachekey`` and are scoped to
one tenant. The Redis client and the cipher are imported where one of them is opened: a relay without Redis carries
neither.
"""

from submeter.store.cache.contract import NOBODY, Cache, CacheStats, CacheUnavailable, Owner
from submeter.store.cache.flights import Entry, SharedFlights
from submeter.store.cache.layered import LayeredCache
from submeter.store.cache.memory import MemoryCache
from submeter.store.cache.opening import open_cache
from submeter.store.cache.redis import RedisCache

__all__ = [
    "NOBODY",
    "Cache",
    "CacheStats",
    "CacheUnavailable",
    "Entry",
    "LayeredCache",
    "MemoryCache",
    "Owner",
    "RedisCache",
    "SharedFlights",
    "open_cache",
]
