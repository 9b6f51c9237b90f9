"""Answers of deterministic calls: in memory by default, in Redis where relays share them.

A cache never fails a call: one that does not answer is gone around. Keys come from ``core.cachekey`` and are scoped to
one tenant; values are the answer as it was received. No pickle: values are msgpack of one struct, and anything else
that lies under a key reads as a miss.
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from submeter.core.record import TokenClasses

if TYPE_CHECKING:
    from redis.asyncio import Redis

SCHEMA = 1
BREAK_AFTER = 3
BREAK_S = 5.0


class CachedAnswer(msgspec.Struct, frozen=True, array_like=True):
    """A complete answer, and what metering knows of it."""

    schema: int
    content_type: bytes
    body: bytes
    model_served: str | None
    service_tier: str | None
    finish_reason: str | None
    usage: TokenClasses


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(CachedAnswer)


class CacheUnavailable(Exception):
    """The server is down, slow or makes no sense: the call goes on without a cache."""


class Cache(Protocol):
    """``get`` says "no" by ``None``, and raises ``CacheUnavailable``; ``put`` raises nothing."""

    async def get(self, key: str) -> CachedAnswer | None: ...
    async def put(self, key: str, answer: CachedAnswer, ttl_s: float) -> None: ...
    async def close(self) -> None: ...


class MemoryCache:
    """The least recently used answers of one relay, bounded by bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> CachedAnswer | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, value = entry
        if expires < asyncio.get_running_loop().time():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return _decode(value)

    async def put(self, key: str, answer: CachedAnswer, ttl_s: float) -> None:
        value = _encode(answer)
        if len(value) > self._max_bytes:
            return
        self._drop(key)
        self._entries[key] = (asyncio.get_running_loop().time() + ttl_s, value)
        self._bytes += len(value)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def close(self) -> None:
        self._entries.clear()

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry[1])


class RedisCache:
    """Answers shared through Redis or Valkey. A slow or broken server costs a call at most ``deadline_s``, and after
    ``BREAK_AFTER`` failures in a row nothing for ``BREAK_S``."""

    def __init__(self, client: "Redis", deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self._failures = 0
        self._closed_until = 0.0

    async def get(self, key: str) -> CachedAnswer | None:
        value = await self._ask("get", key)
        return _decode(value) if isinstance(value, bytes) else None

    async def put(self, key: str, answer: CachedAnswer, ttl_s: float) -> None:
        with suppress(CacheUnavailable):
            await self._ask("set", key, _encode(answer), ttl_s)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, what: Literal["get", "set"], key: str, value: bytes = b"", ttl_s: float = 0) -> object:
        now = asyncio.get_running_loop().time()
        if now < self._closed_until:
            raise CacheUnavailable
        name = f"submeter:{{{key[:32]}}}:{key}"
        call = (
            self._client.get(name) if what == "get" else self._client.set(name, value, px=max(1, round(ttl_s * 1000)))
        )
        try:
            found: object = await asyncio.wait_for(call, self._deadline_s)
        except Exception as why:  # whatever a broken server makes the client raise
            self._failures += 1
            if self._failures >= BREAK_AFTER:
                self._closed_until = now + BREAK_S
            raise CacheUnavailable from why
        self._failures = 0
        return found


def open_cache(redis_url: str | None, *, max_bytes: int, deadline_s: float) -> Cache:
    """Raises ``ValueError`` for a URL that is none of Redis's."""
    if redis_url is None:
        return MemoryCache(max_bytes)
    from redis.asyncio import Redis  # 10 MB and 100 ms that a relay without Redis need not spend

    return RedisCache(Redis.from_url(redis_url, protocol=3), deadline_s)


def _decode(value: bytes) -> CachedAnswer | None:
    try:
        answer = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return answer if answer.schema == SCHEMA else None
