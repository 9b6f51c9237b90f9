"""An answer as the cache keeps it, its bytes, and its pace.

One entry serves both forms: ``core.conversion`` says it in the other one. The bytes are msgpack, no pickle; whatever
else lies under a key (another schema, a truncated value, anybody's bytes) reads as a miss.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import msgspec

from submeter.core.record import TokenClasses
from submeter.core.sse import SseScanner

SCHEMA = 2
MAX_PACE_ENTRIES = 256

Form = Literal["stream", "whole"]
Pace = tuple[tuple[int, int], ...]
"""(body offset, ns since the previous one) of the pieces as they arrived; of the first one since the request was
complete."""


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
    pace: Pace
    """Of a stream, at most ``MAX_PACE_ENTRIES``; of what has none, empty."""


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


def recorded_pace(sizes: Sequence[int], arrived_ns: Sequence[int], t0_ns: int) -> Pace:
    """The pace of pieces of these sizes in bytes. Where there are too many, those that came within the same part of
    the time between the first and the last become one: none is earlier by more than that part, the end is on time."""
    first_at: dict[int, tuple[int, int]] = {}
    offsets = accumulate(sizes, initial=0)
    for offset, at_ns in zip(offsets, arrived_ns, strict=False):  # the last offset is the body's length
        first_at.setdefault(at_ns, (offset, at_ns))
    if len(first_at) > MAX_PACE_ENTRIES:
        begin_ns, span_ns = arrived_ns[0], arrived_ns[-1] - arrived_ns[0]
        pieces, first_at = first_at, {}
        for offset, at_ns in pieces.values():
            first_at.setdefault((at_ns - begin_ns) * (MAX_PACE_ENTRIES - 1) // span_ns, (offset, at_ns))
    pace: list[tuple[int, int]] = []
    for offset, at_ns in first_at.values():
        pace.append((offset, at_ns - t0_ns))
        t0_ns = at_ns
    return tuple(pace)


def moved_pace(pace: Pace, body: bytes, changed: bytes) -> Pace:
    """The pace of a body from which something was taken out: what follows it comes when the rest came."""
    if len(body) == len(changed):
        return pace
    same = bisect_left(range(len(changed)), True, key=lambda at: body[: at + 1] != changed[: at + 1])
    return tuple((min(offset, same), gap_ns) for offset, gap_ns in pace)


def schedule(stream: bytes, pace: Pace) -> list[tuple[int, int]]:
    """(ns since the request was complete, up to which offset the stream is written by then). An event is written when
    the last of it had come."""
    ends = [0, *accumulate(map(len, SseScanner().feed(stream)))]
    pieces_end = [*(offset for offset, _ in pace[1:]), len(stream)]
    steps: list[tuple[int, int]] = []
    written = due_ns = 0
    for (_, gap_ns), piece_end in zip(pace, pieces_end, strict=True):
        due_ns += gap_ns
        upto = piece_end if piece_end == len(stream) else ends[bisect_right(ends, piece_end) - 1]
        if upto > written:
            steps.append((due_ns, upto))
            written = upto
    return steps
