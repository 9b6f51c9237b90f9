"""An answer as the cache keeps it, and its bytes.

One entry serves both forms: ``core.conversion`` says it in the other one. The bytes are msgpack, no pickle; whatever
else lies under a key (another schema, a truncated value, anybody's bytes) reads as a miss.
"""

from typing import Literal

import msgspec

from submeter.core.record import TokenClasses

SCHEMA = 2
MAX_PACE_ENTRIES = 256

Form = Literal["stream", "whole"]


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A complete answer, what metering knows of it, and how it arrived."""

    schema: int
    form: Form
    """As received from the upstream: a stream has its usage chunk where the relay had asked for it."""
    content_type: bytes
    body: bytes
    call_id: str
    """Of the call that paid for it: its row has the cost, a relay knows no prices."""
    stored_at_ns: int
    """Wall clock, Unix nanoseconds."""
    model_served: str | None
    system_fingerprint: str | None
    service_tier: str | None
    finish_reason: str | None
    usage: TokenClasses
    web_searches: int | None
    ttft_ns: int | None
    e2e_ns: int | None
    pace: tuple[tuple[int, int], ...]
    """(body offset, ns since the previous one) of the chunks as they arrived, at most ``MAX_PACE_ENTRIES``."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KeptAnswer)


def encode(kept: KeptAnswer) -> bytes:
    return _encoder.encode(kept)


def decode(data: bytes) -> KeptAnswer | None:
    """``None`` for what is not exactly one answer of this schema."""
    try:
        kept = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return kept if kept.schema == SCHEMA and len(kept.pace) <= MAX_PACE_ENTRIES else None
