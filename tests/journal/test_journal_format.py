"""Bytes of a segment: nothing but what was written is ever read, whatever happens to the bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.kit import finish, progress, start
from submeter.core.record import Finish, Progress, Start, Tally, TokenClasses
from submeter.journal import format as journal_format
from submeter.journal.format import (
    BEGAN,
    FINISH,
    FRAME_MAGIC,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    OPEN,
    PROGRESS,
    START,
    TALLY,
    Began,
    Corrupt,
    Frame,
    Header,
    RecordTooLarge,
    decode,
    decode_header,
    decode_record,
    encode_frame,
    encode_payload,
    frames,
)

COUNTS = st.integers(0, 2**63 - 1)
OPTIONAL_TEXT = st.none() | st.text(max_size=40)
TOKENS = st.builds(TokenClasses, input_uncached=COUNTS, cached_read=COUNTS, output_text=COUNTS)
STARTS = st.builds(
    Start,
    call_id=st.text(max_size=40),
    attempt=st.integers(1, 9),
    operation_id=st.text(max_size=40),
    endpoint=st.text(max_size=40),
    upstream=st.text(max_size=40),
    started_at_ns=COUNTS,
    team=OPTIONAL_TEXT,
    user=OPTIONAL_TEXT,
    temperature=st.none() | st.floats(allow_nan=False),
    stream=st.booleans(),
)
PROGRESSES = st.builds(
    Progress, st.text(max_size=40), st.integers(1, 9), st.none() | COUNTS, COUNTS, st.none() | TOKENS
)
FINISHES = st.builds(
    Finish,
    call_id=st.text(max_size=40),
    attempt=st.integers(1, 9),
    outcome=st.sampled_from(["ok", "client_gone", "timeout"]),
    status=st.none() | st.integers(100, 599),
    usage=st.none() | TOKENS,
    provider_cost=OPTIONAL_TEXT,
)
TALLIES = st.builds(Tally, st.sampled_from(["refused", "passed"]), st.text(max_size=20), COUNTS)
TYPED = st.one_of(
    st.tuples(st.sampled_from([START, OPEN]), STARTS),
    st.tuples(st.sampled_from([PROGRESS, journal_format.FIRST]), PROGRESSES),
    st.tuples(st.just(FINISH), FINISHES),
    st.tuples(st.just(TALLY), TALLIES),
    st.tuples(st.just(BEGAN), st.builds(Began, COUNTS, st.text(max_size=20))),
)
HEADERS = st.builds(
    Header, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), COUNTS, COUNTS, COUNTS
)
SEED = Header(b"i" * 16, b"b" * 16, 7, 0, 1).crc


def five_frames() -> list[bytes]:
    records = [
        (START, start("a")),
        (PROGRESS, progress("a", 9)),
        (FINISH, finish("a")),
        (TALLY, Tally("refused", "14", 3)),
        (START, start("b", team="søk")),
    ]
    return [
        encode_frame(SEED, lsn, kind, encode_payload(record)) for lsn, (kind, record) in enumerate(records, start=1)
    ]


@given(TYPED, HEADERS, st.integers(1, 2**64 - 1))
def test_a_record_comes_back_as_it_was(typed: tuple[int, journal_format.Record], header: Header, lsn: int) -> None:
    kind, record = typed
    data = encode_frame(header.crc, lsn, kind, encode_payload(record))
    frame = decode(data, 0, header.crc)
    assert isinstance(frame, Frame)
    assert (frame.lsn, frame.type, frame.end) == (lsn, kind, len(data))
    assert decode_record(frame) == record


@given(HEADERS, st.binary(max_size=30))
def test_a_header_comes_back_as_it_was(header: Header, following: bytes) -> None:
    data = header.encode()
    assert len(data) == HEADER_BYTES
    assert decode_header(data + following) == header
    assert all(decode_header(data[:length]) is None for length in range(HEADER_BYTES))


@given(HEADERS, st.integers(0, HEADER_BYTES - 1), st.integers(1, 255))
def test_a_changed_header_is_none(header: Header, at: int, mask: int) -> None:
    data = bytearray(header.encode())
    data[at] ^= mask
    assert decode_header(bytes(data)) is None


def test_a_changed_byte_costs_one_record_and_invents_none() -> None:
    written = five_frames()
    data = b"".join(written)
    whole = list(frames(data, 0, SEED))
    ends = [frame.end for frame in whole]
    for at in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            changed = data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
            hit = sum(end <= at for end in ends)
            assert list(frames(changed, 0, SEED)) == whole[:hit] + whole[hit + 1 :]


def test_bad_bytes_end_at_the_next_valid_frame() -> None:
    first, second, *_ = five_frames()
    damaged = b"\0" + first[1:]
    assert decode(damaged + second, 0, SEED) == Corrupt(len(first))
    assert decode(damaged + second[:-1], 0, SEED) is None
    assert decode(first + b"junk" + second, len(first), SEED) == Corrupt(len(first) + 4)


def test_a_tail_cut_anywhere_holds_the_records_before_it() -> None:
    data = b"".join(five_frames())
    whole = list(frames(data, 0, SEED))
    for length in range(len(data)):
        assert list(frames(data[:length], 0, SEED)) == [frame for frame in whole if frame.end <= length]


@given(st.binary(max_size=200), st.integers(0, 5))
def test_junk_between_frames_is_passed_over(junk: bytes, place: int) -> None:
    written = five_frames()
    data = b"".join([*written[:place], junk, *written[place:]])
    assert [(f.lsn, f.payload) for f in frames(data, 0, SEED)] == [
        (f.lsn, f.payload) for f in frames(b"".join(written), 0, SEED)
    ]


@given(st.binary(max_size=300))
def test_random_bytes_hold_no_record(data: bytes) -> None:
    assert list(frames(FRAME_MAGIC + data, 0, SEED)) == []
    assert decode_header(data) is None


def test_a_frame_belongs_to_its_segment_and_its_lsn() -> None:
    frame = five_frames()[0]
    other = Header(b"i" * 16, b"b" * 16, 8, 0, 1).crc
    assert decode(frame, 0, SEED) is not None
    assert decode(frame, 0, other) is None
    assert encode_frame(SEED, 1, START, b"x") != encode_frame(SEED, 2, START, b"x")


def test_no_text_can_hold_the_frame_magic() -> None:
    for at in (0, 3):
        with pytest.raises(UnicodeDecodeError):
            FRAME_MAGIC[at : at + 1].decode()


def test_an_unknown_type_or_version_or_payload_is_a_frame_but_no_record() -> None:
    payload = encode_payload(start("a"))
    assert decode_record(Frame(1, 99, 1, payload, 0)) is None
    assert decode_record(Frame(1, START, 2, payload, 0)) is None
    assert decode_record(Frame(1, START, 1, b"\xc1", 0)) is None
    assert decode_record(Frame(1, START, 1, encode_payload(Tally("refused", "1", 1)), 0)) is None


def test_fields_may_be_added_at_the_end() -> None:
    fields = list(msgspec.structs.astuple(finish("a")))
    newer = msgspec.msgpack.encode([*fields[:9], [3, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0], *fields[10:], "new"])
    older = msgspec.msgpack.encode(fields[:4])
    assert decode_record(Frame(1, FINISH, 1, newer, 0)) == finish("a")
    assert decode_record(Frame(1, FINISH, 1, older, 0)) == Finish("a", 1, "ok", 200)


def test_a_record_over_16_kib_is_refused_by_name_and_size() -> None:
    room = MAX_PAYLOAD_BYTES - len(encode_payload(start("a", team="x" * 300))) + 300
    assert len(encode_payload(start("a", team="x" * room))) == MAX_PAYLOAD_BYTES
    with pytest.raises(RecordTooLarge, match="a Start record of 16385 bytes is over the journal's limit of 16384"):
        encode_payload(start("a", team="x" * (room + 1)))
