"""One secret, a key for each duty."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from submeter.store.keys import derive, hkdf, load_or_create, load_secrets


def test_hkdf_is_that_of_rfc_5869() -> None:
    """Appendix A.1; the first 32 of its 42 bytes."""
    found = hkdf(b"\x0b" * 22, bytes(range(0xF0, 0xFA)), bytes(range(13)))
    assert found.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_hkdf_is_that_of_the_cryptography_package(secret: bytes, info: bytes, salt: bytes) -> None:
    assert hkdf(secret, info, salt) == HKDF(SHA256(), 32, salt or None, info).derive(secret)


def test_each_duty_has_a_key_of_its_own() -> None:
    secrets = derive(b"secret")
    keys = {secrets.keying, secrets.sealing, secrets.labelling, secrets.attributing}
    assert len(keys | {b"secret"}) == 5
    assert derive(b"secret") == secrets
    assert derive(b"Secret") != secrets


def test_hosts_that_share_a_secret_share_keys_and_others_do_not(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert load_secrets(one, "shared") == load_secrets(two, "shared")
    assert not one.exists(), "nothing is made that is not needed"
    assert load_secrets(one) == load_secrets(one) == derive(load_or_create(one, "cache"))
    assert load_secrets(one) != load_secrets(two)


def test_a_key_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    load_secrets(tmp_path)
    (tmp_path / "keys" / "cache.key").write_bytes(b"short")
    with pytest.raises(OSError, match="not a key"):
        load_secrets(tmp_path)


def test_keys_are_never_shown() -> None:
    secrets = derive(b"secret")
    assert repr(secrets) == str(secrets) == "Secrets(…)"
