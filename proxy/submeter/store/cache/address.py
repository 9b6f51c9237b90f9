"""From a Redis URL to clients.

``redis://user:password@host:6379/0``, with TLS ``rediss://…``, or ``unix:///path/to/socket``. A Redis Cluster is any of
its nodes with ``?cluster=true``, and more of them to begin with as ``&node=host:port``:
``rediss://:password@10.0.0.1:6379?cluster=true&node=10.0.0.2:6379``.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

if TYPE_CHECKING:
    import redis
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster

DEFAULT_PORT = 6379
NO_LIMIT = 1 << 16
"""Connections: ``server`` bounds how many commands there are at once."""


class Address(msgspec.Struct, frozen=True):
    """Where Redis is. ``url`` may hold a password: it is not for printing."""

    url: str
    cluster: bool = False
    nodes: tuple[tuple[str, int], ...] = ()

    def client(self) -> "Redis":
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # One repeat, at once: a connection that a restart has closed costs no failure. A connection that does not tell
        # what client it is opens in half the time. No timeouts beside our own deadline: the client keeps them by
        # asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
        return Redis.from_url(
            self.url,
            max_connections=NO_LIMIT,
            protocol=3,
            retry=Retry(NoBackoff(), 1),
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=None,
        )

    def cluster_client(self, timeout_s: float) -> "RedisCluster":
        from redis.asyncio.cluster import ClusterNode, RedisCluster
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        return RedisCluster.from_url(
            self.url,
            startup_nodes=[ClusterNode(host, port) for host, port in self.nodes],
            retry=Retry(NoBackoff(), 1),
            protocol=3,
            driver_info=None,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            require_full_coverage=False,
            max_connections=NO_LIMIT,
        )

    def plain_client(self, timeout_s: float) -> "redis.Redis | redis.RedisCluster":
        """For commands, which may wait."""
        import redis
        from redis.cluster import ClusterNode

        common: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        if not self.cluster:
            return redis.Redis.from_url(self.url, **common)
        nodes = [ClusterNode(host, port) for host, port in self.nodes]  # type: ignore[no-untyped-call]
        return redis.RedisCluster.from_url(self.url, startup_nodes=nodes, require_full_coverage=False, **common)


def parse_address(url: str) -> Address:
    """Raises ``ValueError``, without the URL in it, for what is none of Redis's."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("expected redis://host:6379/0, rediss://… or unix:///path/to/socket")
    query = parse_qsl(parts.query, keep_blank_values=True)
    cluster = ("cluster", "true") in query
    if cluster and (parts.scheme == "unix" or parts.hostname is None):
        raise ValueError("a cluster's URL names one of its nodes: redis://host:6379?cluster=true")
    rest = urlencode([(name, value) for name, value in query if name not in ("cluster", "node")])
    nodes = [_host_and_port(value) for name, value in query if name == "node"]
    return Address(urlunsplit(parts._replace(query=rest)), cluster, tuple(nodes))


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if parts.hostname is None:
        raise ValueError("node=host:port expected in a cluster's URL")
    return parts.hostname, parts.port or DEFAULT_PORT
