"""Call ids are UUIDv7: version, variant, and the order of time."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.ids import uuid7

moments = st.integers(0, 2**48 - 1)
noise = st.binary(min_size=10, max_size=10)


def test_the_example_of_rfc_9562() -> None:
    """Appendix A.6: 2022-02-22T19:22:22Z, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F."""
    random = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert uuid7(1_645_557_742_000, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(moments, noise)
def test_version_variant_and_time(now_ms: int, random: bytes) -> None:
    text = uuid7(now_ms, random)
    read = uuid.UUID(text)
    assert str(read) == text
    assert (read.version, read.variant, read.int >> 80) == (7, uuid.RFC_4122, now_ms)


@given(moments, moments, noise, noise)
def test_ids_sort_by_time(one: int, other: int, noise_of_one: bytes, noise_of_other: bytes) -> None:
    if one != other:
        assert (uuid7(one, noise_of_one) < uuid7(other, noise_of_other)) == (one < other)


@given(noise, noise)
def test_all_other_bits_are_the_callers_noise(one: bytes, other: bytes) -> None:
    mask = ~(0xF << 76 | 0x3 << 62)
    differ = (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")) & mask != 0
    assert (uuid7(0, one) != uuid7(0, other)) == differ


def test_ten_bytes_of_noise() -> None:
    with pytest.raises(AssertionError):
        uuid7(0, b"123456789")
