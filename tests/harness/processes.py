"""The real commands as processes: the scripted provider and ``submeter serve``, on free ports, with deadlines."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from submeter.scripted.invoice import read_invoice

T = TypeVar("T")
DEADLINE_S = 30.0
FAULT_OF_OURS = re.compile(r"Traceback|Exception in callback|error=|task .* ended with")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(look: Callable[[], T | None], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Poll until ``look`` gives something true; fails with ``what`` was waited for."""
    end = time.monotonic() + deadline_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.02)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of a command, without what would configure it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUBMETER_", "OPENAI_"))}
    return kept | {"PYTHONWARNINGS": "default"} | more


def submeter(*arguments: str, timeout_s: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "submeter.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=clean_environment(**environment),
        check=False,
    )


class Provider:
    """The scripted provider as a process of its own."""

    def __init__(self, directory: Path, config: dict[str, Any] | None = None) -> None:
        self.invoice_path = directory / "invoice.jsonl"
        self.port = free_port()
        command = [sys.executable, "-m", "submeter.scripted", "--port", str(self.port)]
        command += ["--invoice", str(self.invoice_path)]
        if config is not None:
            path = directory / "scripted.json"
            path.write_text(json.dumps(config))
            command += ["--config", str(path)]
        self._log = (directory / "provider.log").open("wb")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=clean_environment())
        wait_for(lambda: accepts(self.port), "the scripted provider")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def invoice(self) -> list[dict[str, Any]]:
        return read_invoice(self.invoice_path) if self.invoice_path.exists() else []

    def close(self) -> None:
        end(self.process)
        self._log.close()


class Unit:
    """``submeter serve``. ``flags`` are added to its command line; ``config`` becomes its submeter.yaml."""

    def __init__(
        self, directory: Path, provider: Provider | str, *flags: str, config: str = "{}", **environment: str
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.port, self.ops_port = free_port(), free_port()
        self._environment = environment
        url = provider if isinstance(provider, str) else provider.base_url
        config_path = directory / "submeter.yaml"
        config_path.write_text(config)
        self.command = [
            *(sys.executable, "-m", "submeter.cli", "serve", "--config", str(config_path)),
            *("--port", str(self.port), "--ops-port", str(self.ops_port), "--data-dir", str(self.data_dir)),
            *("--upstream", url, "--upstream", f"anthropic={url}"),
            *flags,
        ]
        self.log_path = directory / "serve.log"
        self._log = self.log_path.open("ab")
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def ops_url(self) -> str:
        return f"http://127.0.0.1:{self.ops_port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdout=self._log, stderr=self._log, env=clean_environment(**self._environment)
        )
        wait_for(lambda: healthy(self.port), "the data plane")

    def wait_ops(self) -> None:
        """Until the meter answers; calls are served before."""
        wait_for(lambda: accepts(self.ops_port) and self.ledger_exists(), "the ops plane")

    def ledger_exists(self) -> bool:
        return "meter ready" in self.log()

    def log(self) -> str:
        return self.log_path.read_text()

    def pids(self, module: str) -> list[int]:
        """The unit's processes that run ``module``: ``submeter.relay`` or ``submeter.meter``."""
        found = []
        for pid in children(self.process.pid):
            with suppress(OSError):
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(pid)
        return sorted(found)

    def rows(self, *flags: str) -> list[dict[str, Any]]:
        """``submeter calls --settled --json``: every call begun before is among them."""
        self.wait_ops()
        run = submeter("calls", "--settled", "--json", "--last", "100000", "--data-dir", str(self.data_dir), *flags)
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]

    def row(self, call_id: str) -> dict[str, Any]:
        rows = [row for row in self.rows() if row["call_id"] == call_id]
        assert len(rows) == 1, f"{len(rows)} rows of {call_id}"
        return rows[0]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return end(self.process)

    def close(self) -> None:
        code = self.stop()
        self._log.close()
        assert code == 0, f"serve ended with {code}: {self.log()[-2000:]}"
        assert not re.search(r"Traceback|Exception in callback|error=|task .* ended with", self.log()), self.log()[
            -4000:
        ]

    def kill(self) -> None:
        """SIGKILL of everything at once, as a power cut would."""
        pids = [self.process.pid, *children(self.process.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(directory: Path, *flags: str, config: str = "{}", **script: Any) -> Iterator[tuple[Provider, Unit]]:
    """A provider with these defaults and a unit in front of it."""
    provider = Provider(directory, script)
    try:
        unit = Unit(directory, provider, *flags, config=config)
        try:
            yield provider, unit
        finally:
            unit.close()
    finally:
        provider.close()


def healthy(port: int) -> bool:
    """The data plane answers (its port is open before its relay runs)."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return connection.recv(100).startswith(b"HTTP/1.1 200")
    return False


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def end(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.wait()
