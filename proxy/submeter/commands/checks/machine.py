"""Checks that need neither network nor database."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from submeter.commands.checks.finding import Finding, ok, problem, warning
from submeter.config import Settings, is_loopback, split_host_port
from submeter.errors import UsageError

DATA_DIRECTORY = "data directory"
FULL_BYTES = 100 * 1024 * 1024
"""With less than this free, the next hours' journal may not fit."""


def serving(settings: Settings) -> Iterator[Finding]:
    """Whether `submeter serve` would start with these settings."""
    try:
        settings.require_servable()
    except UsageError as error:
        text, _, mend = str(error).partition(": ")
        yield problem("configuration", text, mend)
    else:
        names = ", ".join(settings.upstreams)
        yield ok("configuration", f"understood; upstreams {names}")


def data_directory(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir
    if not path.exists():
        yield from _can_be_made(path)
    elif not path.is_dir():
        yield problem(DATA_DIRECTORY, f"{path} is no directory", "choose another with --data-dir")
    else:
        yield from _existing(path)
    yield from _free_space(_nearest_existing(path), settings.journal.quota_bytes)


def _can_be_made(path: Path) -> Iterator[Finding]:
    parent = _nearest_existing(path)
    if os.access(parent, os.W_OK | os.X_OK):
        yield ok(DATA_DIRECTORY, f"{path} does not exist yet; `submeter serve` makes it")
    else:
        yield problem(DATA_DIRECTORY, f"{path} cannot be made: {parent} is not writable", _writable(parent))


def _existing(path: Path) -> Iterator[Finding]:
    try:
        # Really write: a read-only or full file system looks writable to everything else.
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"submeter")
    except OSError as error:
        yield problem(DATA_DIRECTORY, f"{path} cannot be written: {error.strerror}", _writable(path))
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield problem(DATA_DIRECTORY, f"{path} is open to other users (mode {mode:04o})", f"chmod 700 {path}")
    else:
        yield ok(DATA_DIRECTORY, f"{path} is writable and private")


def _writable(path: Path) -> str:
    return f"chown or chmod {path} for the user that runs submeter, or choose another place with --data-dir"


def _nearest_existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _free_space(path: Path, quota_bytes: int) -> Iterator[Finding]:
    free = shutil.disk_usage(path).free
    text = f"{free / 2**30:.1f} GiB free where the data directory is"
    mend = "free some space, or choose another place with --data-dir"
    if free < FULL_BYTES:
        yield problem("disk", text, mend)
    elif free < quota_bytes:
        yield warning("disk", f"{text}, less than the journal may need ({quota_bytes / 2**30:.1f} GiB)", mend)
    else:
        yield ok("disk", text)


def sdk(settings: Settings, base_url: str | None) -> Iterator[Finding]:
    """Whether the OpenAI SDK, started in this shell, would come to us."""
    host = settings.host if is_loopback(settings.host) else "HOST"
    ours = f"http://{host}:{settings.port}/v1"
    if base_url is None:
        yield warning("OPENAI_BASE_URL", "not set in this shell", f"export OPENAI_BASE_URL={ours}")
    elif _is_ours(base_url, settings):
        yield ok("OPENAI_BASE_URL", "points here")
    else:
        text = "points elsewhere: calls of apps started in this shell are not metered here"
        yield warning("OPENAI_BASE_URL", text, f"export OPENAI_BASE_URL={ours}")


def _is_ours(base_url: str, settings: Settings) -> bool:
    try:
        host, port = split_host_port(base_url)
    except ValueError:
        return False
    return port == settings.port and (is_loopback(host) or host == settings.host)
