"""Secrets of this installation, made on first use in ``<data_dir>/keys``: they key hashes, and never leave the host."""

import hashlib
import hmac
import secrets
from pathlib import Path

import msgspec

from submeter.store.once import make_once

KEY_BYTES = 32
CACHE_KEY = "cache"
"""The name of the cache's secret; its file is ``DATA_DIR/keys/cache.key``."""


class Secrets(msgspec.Struct, frozen=True):
    """The cache's keys, one for each duty. All come from one secret, which keys nothing itself."""

    keying: bytes
    """Of the hash that an answer is kept under."""
    sealing: bytes
    """Of what is kept."""
    labelling: bytes
    """Of the hashes that tell whose it is."""
    attributing: bytes
    """Of key ids and fingerprints in the ledger, on hosts that share the secret: one caller is the same on all."""

    def __repr__(self) -> str:
        return "Secrets(…)"


def load_secrets(data_dir: Path, shared: str | None = None) -> Secrets:
    """The cache's keys: from the text that ``cache.key_env`` names, which hosts can share, else from this data
    directory's own secret, made on first use. Raises ``OSError``."""
    return derive(load_or_create(data_dir, CACHE_KEY) if shared is None else shared.encode())


def derive(secret: bytes) -> Secrets:
    """HKDF with SHA-256 (RFC 5869), a label for each duty. The secret has to be random, as all of HKDF's input."""
    keys = {name: hkdf(secret, f"submeter cache {name}".encode()) for name in Secrets.__struct_fields__}
    return Secrets(**keys)


def hkdf(secret: bytes, info: bytes, salt: bytes = b"") -> bytes:
    """RFC 5869 for one block of output: 32 bytes."""
    extracted = hmac.digest(salt or bytes(hashlib.sha256().digest_size), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def load_or_create(data_dir: Path, name: str) -> bytes:
    """The 32-byte key called ``name``. Safe against two processes that both make it. Raises ``OSError``."""
    path = key_path(data_dir, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        make_once(path, secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} is not a key of {KEY_BYTES} bytes: remove it, and a new one is made")
    return key


def key_path(data_dir: Path, name: str) -> Path:
    return data_dir / "keys" / f"{name}.key"
