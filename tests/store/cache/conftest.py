"""Real servers, one of each for all tests, and every cache that the settings can ask for."""

from collections.abc import Iterator

import pytest
from redis import Redis, RedisCluster

from harness.redis_cluster import LocalCluster
from harness.redis_server import RedisServer
from harness.valkey import Valkey

SHARED = ["redis", "valkey", "cluster"]


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    cluster = LocalCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, backend: str) -> Iterator[Redis | RedisCluster]:
    """A client of the backend's server, for a test to look and meddle with. The server is empty."""
    client = _empty_client(request.getfixturevalue(backend))
    yield client
    client.close()


@pytest.fixture(params=SHARED)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a fixture: of a server that relays can share."""
    return str(request.param)


@pytest.fixture
def url(request: pytest.FixtureRequest, backend: str, server: Redis | RedisCluster) -> str:
    return str(request.getfixturevalue(backend).url)


@pytest.fixture(params=["memory", *SHARED, "layered"])
def any_url(request: pytest.FixtureRequest) -> tuple[str | None, float]:
    """What ``open_cache`` is given: a URL and for how long answers stay in memory before it."""
    if request.param == "memory":
        return None, 0.0
    name = "redis" if request.param == "layered" else request.param
    started = request.getfixturevalue(name)
    _empty_client(started).close()
    return started.url, 0.2 if request.param == "layered" else 0.0


def _empty_client(started: RedisServer | LocalCluster) -> Redis | RedisCluster:
    many = isinstance(started, LocalCluster)
    client = RedisCluster(host="127.0.0.1", port=started.nodes[0].port) if many else Redis(port=started.port)
    client.flushall()
    return client
