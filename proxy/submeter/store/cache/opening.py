"""Which cache the settings ask for."""

from submeter.store.cache.address import parse_address
from submeter.store.cache.contract import Cache
from submeter.store.cache.layered import LayeredCache
from submeter.store.cache.memory import MemoryCache
from submeter.store.cache.redis import RedisCache
from submeter.store.keys import Secrets


def open_cache(
    redis_url: str | None,
    *,
    max_bytes: int,
    deadline_s: float,
    secrets: Secrets,
    l1_s: float = 0.0,
) -> Cache:
    """Memory without a URL, where nothing is sealed. ``l1_s``: how long answers are kept in memory as well, before
    Redis. Raises ``ValueError`` for a URL that is none of Redis's."""
    if redis_url is None:
        return MemoryCache(max_bytes)
    far = RedisCache(parse_address(redis_url), secrets, deadline_s)
    return LayeredCache(MemoryCache(max_bytes), far, l1_s) if l1_s else far
