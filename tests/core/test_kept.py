"""What the cache keeps comes back as it was, and nothing else does."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.kept import MAX_PACE_ENTRIES, SCHEMA, KeptAnswer, decode, encode
from submeter.core.record import TokenClasses

ANSWER = KeptAnswer(
    schema=SCHEMA,
    form="stream",
    content_type=b"text/event-stream",
    body=b"data: [DONE]\n\n",
    call_id="0193",
    stored_at_ns=1_790_000_000_000_000_000,
    model_served="gpt-4o-mini",
    system_fingerprint="fp_1",
    service_tier="default",
    finish_reason="stop",
    usage=TokenClasses(input_uncached=7, output_text=2),
    web_searches=None,
    ttft_ns=120_000_000,
    e2e_ns=340_000_000,
    pace=((0, 120_000_000), (14, 220_000_000)),
)
COUNTS = st.integers(0, 2**63 - 1)
MAYBE_TEXT = st.none() | st.text(max_size=20)
ANSWERS = st.builds(
    KeptAnswer,
    schema=st.just(SCHEMA),
    form=st.sampled_from(["stream", "whole"]),
    content_type=st.binary(max_size=20),
    body=st.binary(max_size=200),
    call_id=st.text(max_size=20),
    stored_at_ns=COUNTS,
    model_served=MAYBE_TEXT,
    system_fingerprint=MAYBE_TEXT,
    service_tier=MAYBE_TEXT,
    finish_reason=MAYBE_TEXT,
    usage=st.builds(TokenClasses, input_uncached=COUNTS, cached_read=COUNTS, output_image=COUNTS),
    web_searches=st.none() | COUNTS,
    ttft_ns=st.none() | COUNTS,
    e2e_ns=st.none() | COUNTS,
    pace=st.lists(st.tuples(COUNTS, COUNTS), max_size=MAX_PACE_ENTRIES).map(tuple),
)


@given(ANSWERS)
def test_an_answer_comes_back_as_it_was(answer: KeptAnswer) -> None:
    assert decode(encode(answer)) == answer


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    found = decode(data)
    assert found is None or found.schema == SCHEMA


@given(st.integers(0, len(encode(ANSWER)) - 1), st.binary(min_size=1, max_size=4))
def test_a_truncated_or_longer_value_is_a_miss(cut: int, more: bytes) -> None:
    assert decode(encode(ANSWER)[:cut]) is None
    assert decode(encode(ANSWER) + more) is None


@given(st.integers(0, len(encode(ANSWER)) - 1), st.integers(0, 255))
def test_a_flipped_byte_raises_nothing(at: int, byte: int) -> None:
    data = bytearray(encode(ANSWER))
    data[at] = byte
    found = decode(bytes(data))
    assert found is None or found.schema == SCHEMA


@pytest.mark.parametrize("schema", [0, 1, 3, 2**63, -1])
def test_another_schema_is_a_miss(schema: int) -> None:
    assert decode(encode(msgspec.structs.replace(ANSWER, schema=schema))) is None


def test_too_long_a_pace_is_a_miss() -> None:
    pace = ((0, 1),) * (MAX_PACE_ENTRIES + 1)
    assert decode(encode(msgspec.structs.replace(ANSWER, pace=pace))) is None


def test_deep_nesting_is_a_miss() -> None:
    """The decoder's own limit raises, and that is caught."""
    assert decode(b"\x91" * 100_000) is None
    assert decode(b"\x9f\x02" + b"\x91" * 100_000) is None


def test_a_missing_or_extra_member_is_a_miss() -> None:
    members = msgspec.msgpack.decode(encode(ANSWER))
    assert decode(msgspec.msgpack.encode(members[:-1])) is None
    assert decode(msgspec.msgpack.encode([*members, 1])) is None
