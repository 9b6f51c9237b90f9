"""Call ids: UUIDv7 (RFC 9562), so that they sort by time and a partition can be told from an id."""


def uuid7(now_ms: int, random_bytes: bytes) -> str:
    """A UUIDv7 from Unix milliseconds and 10 random bytes, in the canonical form."""
    assert len(random_bytes) == 10
    value = (now_ms & (1 << 48) - 1) << 80 | int.from_bytes(random_bytes, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
