"""The name of a unit, {relays + one meter} with their data directory, among all that share a ledger."""

import os
import re
import secrets
from pathlib import Path

NAME = "unit"
_NAME = re.compile(rb"[0-9a-f]{32}")


def load_or_create(data_dir: Path) -> str:
    """32 hex digits, drawn once and kept in ``<data_dir>/unit`` (0600). Raises ``OSError``.

    Not beside the keys, which hosts may share: two units of one name would take each other's place in the ledger.
    """
    path = data_dir / NAME
    if not path.exists():
        _create(path)
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


def _create(path: Path) -> None:
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_hex(16).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # the first one wins; a rename would let the second replace it
    except FileExistsError:
        pass
    finally:
        draft.unlink()
