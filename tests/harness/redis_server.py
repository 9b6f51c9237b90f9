"""A real Redis as a process of its own on a free port: Debian's redis-server, which `make test` installs."""

import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from harness.processes import accepts, end, free_port, wait_for


def redis_program() -> str:
    """Skips where there is none, which under CI is a failure."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server: apt-get install redis-server")
    return found


class RedisServer:
    """Started by the constructor; ``kill``, ``freeze`` and ``restart`` are what may happen to it."""

    def __init__(self, directory: Path, at: int | None = None, *, program: str | None = None, **settings: str) -> None:
        """``settings``: of redis.conf, with ``_`` for ``-``. ``at``: the port, instead of a free one."""
        self.port = free_port() if at is None else at
        own = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(directory)}
        own |= {name.replace("_", "-"): value for name, value in settings.items()}
        words = [word for name, value in own.items() for word in (f"--{name}", value)]
        self._command = [redis_program() if program is None else program, *words]
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: accepts(self.port), "the Redis server")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        self.kill()
        self._start()

    def close(self) -> None:
        self.thaw()
        end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
