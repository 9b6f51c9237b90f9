"""A scripted provider and a ``submeter serve`` in front of it, on free ports and a directory of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from submeter.errors import UsageError

START_S = 15.0
STOP_S = 40.0


class DemoUnit:
    """Use with ``with``: both processes are gone afterwards. Nothing of the user's own configuration is read."""

    def __init__(self, directory: Path) -> None:
        self.data_dir = directory / "data"
        self.invoice = directory / "invoice.jsonl"
        self._directory = directory
        self._provider: subprocess.Popen[bytes] | None = None
        self._serve: subprocess.Popen[bytes] | None = None
        self._log = (directory / "submeter.log").open("wb")
        self.port, self.ops_port, self._provider_port = free_ports(3)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.ops_port}/"

    def __enter__(self) -> Self:
        provider_url = f"http://127.0.0.1:{self._provider_port}/v1"
        self._provider = self._start(
            "submeter.scripted", "--port", str(self._provider_port), "--invoice", str(self.invoice)
        )
        self._serve = self._start(
            "submeter.cli",
            "serve",
            "--config",
            str(self._config()),
            "--port",
            str(self.port),
            "--ops-port",
            str(self.ops_port),
            "--data-dir",
            str(self.data_dir),
            "--upstream",
            provider_url,
            "--upstream",
            f"anthropic={provider_url}",
        )
        self._wait_for(self._provider_port)
        self._wait_for(self.port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in (self._serve, self._provider):
            if process is not None:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_S)
                process.kill()
                process.wait()
        self._log.close()

    def _config(self) -> Path:
        path = self._directory / "submeter.yaml"
        path.write_text("ops_note: 'submeter demo: these calls are synthetic, and so is what they cost'\n")
        return path

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SUBMETER_")}
        return subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, "-m", module, *arguments],
            stdout=self._log,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops them in order
        )

    def _wait_for(self, port: int) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            time.sleep(0.02)
        raise UsageError(f"the demo's processes did not start; what they said is in {self._log.name}")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
