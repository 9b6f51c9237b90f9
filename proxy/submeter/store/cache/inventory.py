"""What lies in Redis, read from names, sizes and headers alone, and how it is purged.

There is no index that could go stale: every answer carries keyed hashes of its tenant and models at its head, and Redis
is walked by SCAN, which keeps nobody waiting.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from submeter.store.cache import names
from submeter.store.cache.address import parse_address
from submeter.store.cache.contract import CacheUnavailable
from submeter.store.cache.seal import HEADER_BYTES, Labels, read_labels

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

BATCH = 500
TIMEOUT_S = 5.0


class Held(msgspec.Struct, frozen=True):
    """One answer as it lies in Redis."""

    name: bytes
    size_bytes: int
    labels: Labels | None
    """``None``: of another schema, or none of ours."""


class Inventory:
    """The answers in one Redis, Valkey or cluster."""

    def __init__(self, client: "Redis | RedisCluster") -> None:
        self._client = client

    def answers(self) -> Iterator[Held]:
        """All of them; those that come or go meanwhile may be among them or not."""
        for batch in self._batches():
            yield from batch

    def purge(self, wanted: Callable[[Held], bool]) -> Iterator[Held]:
        """Removes those that are wanted, and tells which."""
        for batch in self._batches():
            purged = [held for held in batch if wanted(held)]
            pipeline = self._client.pipeline(transaction=False)
            for held in purged:
                pipeline.unlink(held.name)
            pipeline.execute()
            yield from purged

    def _batches(self) -> Iterator[list[Held]]:
        found: Iterator[bytes] = self._client.scan_iter(match=names.ANSWERS, count=BATCH)
        while batch := list(islice(found, BATCH)):
            yield self._look_at(batch)

    def _look_at(self, batch: list[bytes]) -> list[Held]:
        pipeline = self._client.pipeline(transaction=False)
        for name in batch:
            pipeline.strlen(name)
            pipeline.getrange(name, 0, HEADER_BYTES - 1)
        answered = pipeline.execute(raise_on_error=False)
        return [_held(*one) for one in zip(batch, answered[::2], answered[1::2], strict=True)]


def _held(name: bytes, size_bytes: object, header: object) -> Held:
    if isinstance(size_bytes, int) and isinstance(header, bytes):
        return Held(name, size_bytes, read_labels(header))
    return Held(name, 0, None)  # an error: a value of another type lies there


@contextmanager
def open_inventory(redis_url: str) -> Iterator[Inventory]:
    """Raises ``ValueError`` for a URL that is none of Redis's, and ``CacheUnavailable`` where it does not answer."""
    from redis.exceptions import RedisClusterException, RedisError

    address = parse_address(redis_url)
    try:
        client = address.plain_client(TIMEOUT_S)
        try:
            yield Inventory(client)
        finally:
            client.close()
    except (RedisError, RedisClusterException) as why:
        raise CacheUnavailable(type(why).__name__) from why
