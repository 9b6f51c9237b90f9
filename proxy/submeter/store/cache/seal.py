"""What lies in Redis: sealed, bound to the key that it lies under, and labelled by keyed hashes alone.

A value is ``header ‖ nonce ‖ ciphertext``. AES-256-GCM (NIST SP 800-38D) with a random nonce, under a key of the
value's own, derived from the name that it lies under: a value that is moved to another name does not open, and no key
ever seals so much that two random nonces may meet. The header can be read without the secret, but not changed.
"""

import hmac
import os

import msgspec

from submeter.core.kept import SCHEMA, KeptAnswer, decode, encode
from submeter.store.cache.contract import Owner
from submeter.store.keys import Secrets

MAGIC = b"smc" + bytes([SCHEMA])
NONCE_BYTES = 12
TAG_BYTES = 16
LABEL_BYTES = 8
HEADER_BYTES = len(MAGIC) + 3 * LABEL_BYTES
NO_LABEL = bytes(LABEL_BYTES)


class Labels(msgspec.Struct, frozen=True):
    """Keyed hashes of whose an answer is; ``NO_LABEL`` where that is not known."""

    tenant: bytes
    model_requested: bytes
    model_served: bytes

    def is_of_model(self, label: bytes) -> bool:
        return label in (self.model_requested, self.model_served)


class Sealer:
    """Seals and opens values. ``open`` and ``open_answer`` say ``None`` for everything that this secret has not
    sealed under this name."""

    def __init__(self, secrets: Secrets) -> None:
        from cryptography.exceptions import InvalidTag  # 20 ms that a relay without Redis need not spend
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._secrets = secrets
        self._cipher = AESGCM
        self._forged = InvalidTag

    def seal(self, name: str, plain: bytes, header: bytes = MAGIC) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return header + nonce + self._cipher(self._key(name)).encrypt(nonce, plain, header)

    def open(self, name: str, value: bytes, header_bytes: int = len(MAGIC)) -> bytes | None:
        header, nonce = value[:header_bytes], value[header_bytes : header_bytes + NONCE_BYTES]
        sealed = value[header_bytes + NONCE_BYTES :]
        if not header.startswith(MAGIC) or len(sealed) < TAG_BYTES:
            return None
        try:
            return self._cipher(self._key(name)).decrypt(nonce, sealed, header)
        except self._forged:
            return None

    def seal_answer(self, name: str, answer: KeptAnswer, owner: Owner) -> bytes:
        labels = [
            self.label("tenant", owner.tenant),
            self.label("model", owner.model),
            self.label("model", answer.model_served),
        ]
        return self.seal(name, encode(answer), MAGIC + b"".join(labels))

    def open_answer(self, name: str, value: bytes) -> KeptAnswer | None:
        plain = self.open(name, value, HEADER_BYTES)
        return None if plain is None else decode(plain)

    def label(self, kind: str, value: str | None) -> bytes:
        """A keyed hash of a tenant or a model."""
        if value is None:
            return NO_LABEL
        return hmac.digest(self._secrets.labelling, f"{kind}\0{value}".encode(), "sha256")[:LABEL_BYTES]

    def _key(self, name: str) -> bytes:
        return hmac.digest(self._secrets.sealing, name.encode(), "sha256")


def read_labels(header: bytes) -> Labels | None:
    """The labels at the head of a value; ``None`` where it is none of this schema."""
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        return None
    first = len(MAGIC)
    parts = [header[at : at + LABEL_BYTES] for at in range(first, HEADER_BYTES, LABEL_BYTES)]
    return Labels(*parts)
