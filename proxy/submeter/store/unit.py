"""The name of a unit, {relays + one meter} with their data directory, among all that share a ledger."""

import re
import secrets
from pathlib import Path

from submeter.store.once import make_once

NAME = "unit"
_NAME = re.compile(rb"[0-9a-f]{32}")


def load_or_create(data_dir: Path) -> str:
    """32 hex digits, drawn once and kept in ``<data_dir>/unit`` (0600). Raises ``OSError``.

    Not beside the keys, which hosts may share: two units of one name would take each other's place in the ledger.
    """
    path = data_dir / NAME
    if not path.exists():
        make_once(path, secrets.token_hex(16).encode() + b"\n")
    return _read(path)


def load(data_dir: Path) -> str | None:
    """``None``: no meter has run on this data directory. Raises ``OSError``."""
    path = data_dir / NAME
    return _read(path) if path.exists() else None


def _read(path: Path) -> str:
    name = path.read_bytes().strip()
    if _NAME.fullmatch(name) is None:
        raise OSError(f"{path} is not the name of a unit: remove it, and a new one is made")
    return name.decode()
