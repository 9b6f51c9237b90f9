"""Which Redis is of this machine alone: another may be shared by hosts, which then need one secret."""

import pytest

from submeter.config import load_settings
from submeter.config.urls import is_local_redis
from submeter.errors import UsageError


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "rediss://:secret@localhost",
        "redis://[::1]",
        "unix:///run/r.sock",
        "redis://127.0.0.1:7000?cluster=true&node=127.0.0.1:7001&node=[::1]:7002&node=localhost",
    ],
)
def test_every_host_that_is_named_is_this_machine(url: str) -> None:
    assert is_local_redis(url)


@pytest.mark.parametrize(
    "query",
    [
        "node=10.0.0.2:6379",
        "node=10.0.0.2%3A6379",
        "node=127.0.0.1:7001&node=cache.example",
        "node=cache.example&node=127.0.0.1:7001",
        "node=127.0.0.1@10.0.0.2",
        "node=[fe80::1]:7001",
        "node=",
        "node=[",
        "node=h:port",
    ],
)
def test_a_node_elsewhere_is_not(query: str) -> None:
    assert not is_local_redis(f"redis://127.0.0.1:7000?cluster=true&{query}")


def test_a_cluster_with_a_node_elsewhere_needs_a_key_that_its_hosts_share() -> None:
    environ = {
        "HOME": "/home/somebody",
        "SUBMETER_REDIS": "redis://127.0.0.1:7000?cluster=true&node=10.0.0.2:7000",
    }
    with pytest.raises(UsageError, match=r"name that in cache\.key_env"):
        load_settings(environ=environ).require_servable()
    environ |= {"SUBMETER_CACHE_KEY_ENV": "CACHE_KEY", "CACHE_KEY": "k" * 32}
    load_settings(environ=environ).require_servable()
