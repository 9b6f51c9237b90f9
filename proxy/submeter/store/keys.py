"""Secrets of this installation, made on first use in ``<data_dir>/keys``: they key hashes, and never leave the host."""

import os
import secrets
from pathlib import Path

KEY_BYTES = 32


def load_or_create(data_dir: Path, name: str) -> bytes:
    """The 32-byte key called ``name``. Safe against two processes that both make it. Raises ``OSError``."""
    directory = data_dir / "keys"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{name}.key"
    if not path.exists():
        _create(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} is not a key of {KEY_BYTES} bytes: remove it, and a new one is made")
    return key


def _create(path: Path) -> None:
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # the first one wins; a rename would let the second replace it
    except FileExistsError:
        pass
    finally:
        draft.unlink()
