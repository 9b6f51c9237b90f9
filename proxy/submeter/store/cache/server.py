"""One Redis, Valkey or cluster: asked within a deadline, and left alone while it does not answer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from submeter.store.cache.address import NO_LIMIT, Address
from submeter.store.cache.breaker import Breaker, Breakers
from submeter.store.cache.contract import CacheStats, CacheUnavailable
from submeter.store.cache.deadline import Deadline
from submeter.tasks import spawn

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster

T = TypeVar("T")

CONNECTIONS = 32
"""Commands at once, as a connection carries one at a time; more of them wait for one another."""
CONNECT_S = 5.0
"""How long learning a cluster's layout may take; no call waits for longer than its own deadline."""
NODES_SHARE = 0.7
"""Of the deadline: a cluster's client has to see for itself that a node is silent, before we give up, so that it learns
the layout anew."""
FAIR_SHARE = 0.5
"""Of the deadline: a command that waited for our own others and left the server less time tells nothing of it."""


class Server:
    """``ask`` runs one command and raises ``CacheUnavailable`` only."""

    def __init__(
        self,
        address: Address,
        deadline_s: float,
        stats: CacheStats,
        breakers: Breakers,
        max_wait_s: float = 0.0,
    ) -> None:
        """``max_wait_s``: how much longer than the deadline a command may take, as it blocks in the server."""
        from redis.exceptions import ResponseError

        self._deadline_s = deadline_s + max_wait_s
        self._stats = stats
        self._breakers = breakers
        self._answered_no = ResponseError
        # What blocks in the server is bounded by the flights that are followed, not here.
        self._at_once = asyncio.Semaphore(NO_LIMIT if max_wait_s else CONNECTIONS)
        self._ready: asyncio.Task[None] | None = None
        self._cluster: RedisCluster | None = None
        self.client: Redis | RedisCluster
        if address.cluster:
            timeout_s = deadline_s * NODES_SHARE + max_wait_s
            self.client = self._cluster = address.cluster_client(timeout_s)
        else:
            self.client = address.client()

    @property
    def is_cluster(self) -> bool:
        return self._cluster is not None

    async def ask(self, name: str, command: Callable[[], Awaitable[T]], questions: int = 1) -> T:
        """``name``: the key that the command is about, or the first of them. ``questions``: how many it answers."""
        breaker = self._breaker(name)
        if not breaker.allows():
            self._stats.breaker_open += questions
            raise CacheUnavailable
        deadline, left_s = Deadline(self._deadline_s), 0.0
        try:
            async with deadline, self._at_once:
                left_s = deadline.left_s
                await self._connected()
                answer = await command()
        except self._answered_no as why:  # full, read-only, not allowed: it answers, so the next command may do better
            breaker.succeeded()
            self._stats.errors += questions
            raise CacheUnavailable from why
        except Exception as why:  # whatever a broken server makes the client raise
            was_fair = left_s >= self._deadline_s * FAIR_SHARE
            if was_fair or not isinstance(why, TimeoutError):
                breaker.failed()
            self._stats.errors += questions
            self._learn_again()
            raise CacheUnavailable from why
        breaker.succeeded()
        return answer

    async def close(self) -> None:
        if self._ready is not None:
            self._ready.cancel()
        await self.client.aclose()

    async def _connected(self) -> None:
        """A cluster's layout is learned beside the calls: it may take longer than one of them can wait."""
        if self._cluster is None:
            return
        if self._ready is None:
            self._ready = spawn(_learn(self._cluster), "cluster layout")
        await asyncio.shield(self._ready)

    def _learn_again(self) -> None:
        """The cluster's layout may have changed."""
        if self._ready is not None and self._ready.done():
            self._ready = None

    def _breaker(self, name: str) -> Breaker:
        """One node that fails costs no call that others serve."""
        return self._breakers["" if self._cluster is None else _node_of(self._cluster, name)]


async def _learn(cluster: "RedisCluster") -> None:
    # What goes wrong here goes wrong again in the command, which reports it.
    with suppress(Exception):
        async with asyncio.timeout(CONNECT_S):
            await cluster.initialize()


def _node_of(cluster: "RedisCluster", name: str) -> str:
    from redis.exceptions import SlotNotCoveredError

    try:
        node = cluster.get_node_from_key(name)
    except SlotNotCoveredError:  # or the layout is not known yet
        return ""
    return "" if node is None else str(node.name)
