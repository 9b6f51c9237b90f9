"""The pace of a stream: as it was recorded, when something is taken out of it, and as it is given again."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from submeter.core.conversion.received import without_usage_chunk
from submeter.core.kept import MAX_PACE_ENTRIES, moved_pace, recorded_pace, schedule

FEW = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 10**9)), min_size=1, max_size=40)
MANY = st.builds(
    lambda random, pieces: [(random.randint(1, 300), random.randint(0, 10**7)) for _ in range(pieces)],
    st.randoms(use_true_random=True),
    st.integers(257, 600),
)
EVENTS = st.sampled_from([b"data: a\n\n", b": ping\n\n", b"event: x\r\ndata: {}\r\n\r\n", b"data: b\r\r"])


def arrivals(pieces: list[tuple[int, int]], t0_ns: int = 0) -> tuple[list[int], list[int]]:
    """Sizes, and when they came, from (size, gap)."""
    return [size for size, _ in pieces], [t0_ns + at for at in accumulate(gap for _, gap in pieces)]


def test_each_piece_has_its_offset_and_its_gap() -> None:
    assert recorded_pace([5, 7, 2], [1100, 1130, 1190], 1000) == ((0, 100), (5, 30), (12, 60))


def test_pieces_of_one_read_are_one() -> None:
    assert recorded_pace([5, 7, 2, 1], [1100, 1100, 1190, 1190], 1000) == ((0, 100), (12, 90))


@given(st.one_of(FEW, MANY), st.integers(0, 10**12))
def test_order_and_total_time_stay(pieces: list[tuple[int, int]], t0_ns: int) -> None:
    sizes, at_ns = arrivals(pieces, t0_ns)
    pace = recorded_pace(sizes, at_ns, t0_ns)
    offsets = [offset for offset, _ in pace]
    begins = dict(zip(accumulate(sizes, initial=0), at_ns, strict=False))
    assert len(pace) <= MAX_PACE_ENTRIES
    assert offsets[0] == 0
    assert offsets == sorted(set(offsets))
    times = list(accumulate(gap for _, gap in pace))
    assert [begins[offset] - t0_ns for offset in offsets] == times, "what is left begins when it came"
    assert times[-1] == at_ns[-1] - t0_ns
    if len(set(at_ns)) <= MAX_PACE_ENTRIES:
        assert len(pace) == len(set(at_ns)), "nothing is lost that need not be"


@given(MANY)
def test_of_too_many_none_is_early_by_more_than_its_part(pieces: list[tuple[int, int]]) -> None:
    sizes, at_ns = arrivals(pieces)
    pace = recorded_pace(sizes, at_ns, 0)
    given_at = dict(zip((offset for offset, _ in pace), accumulate(gap for _, gap in pace), strict=True))
    part_ns = (at_ns[-1] - at_ns[0]) / (MAX_PACE_ENTRIES - 1)
    current = 0
    for offset, came_ns in zip(accumulate(sizes, initial=0), at_ns, strict=False):
        current = given_at.get(offset, current)
        assert 0 <= came_ns - current <= part_ns


# -- as it is given ----------------------------------------------------------------------------------------------------


def test_an_event_is_written_when_the_last_of_it_had_come() -> None:
    stream = b"data: one\n\ndata: two\n\ndata: [DONE]\n\n"
    cut_in_two = len(b"data: one\n\ndata")
    assert schedule(stream, ((0, 50), (cut_in_two, 20), (cut_in_two + 8, 5))) == [
        (50, len(b"data: one\n\n")),
        (70, len(b"data: one\n\ndata: two\n\n")),
        (75, len(stream)),
    ]


def test_a_piece_without_a_whole_event_waits_for_the_next() -> None:
    assert schedule(b"data: one\n\nda", ((0, 50), (3, 20), (12, 5))) == [(70, 11), (75, 13)]


@given(st.lists(EVENTS, min_size=1, max_size=60), st.data())
def test_all_is_written_in_order_and_in_whole_events(events: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(events)
    cuts = sorted({0, *data.draw(st.lists(st.integers(0, len(stream) - 1), max_size=20))})
    pace = tuple((cut, gap) for gap, cut in enumerate(cuts))
    steps = schedule(stream, pace)
    assert steps[-1] == (sum(gap for _, gap in pace), len(stream))
    assert steps == sorted(steps)
    assert len({upto for _, upto in steps}) == len(steps)
    came_ns = list(accumulate(gap for _, gap in pace))
    for due_ns, upto in steps:
        piece = next(number for number in reversed(range(len(cuts))) if cuts[number] < upto)
        assert due_ns >= came_ns[piece], "never before it had come"
        assert upto == len(stream) or stream[:upto].endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))


# -- when something is taken out ---------------------------------------------------------------------------------------

ONE = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
TWO = b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


def test_what_is_unchanged_keeps_its_pace() -> None:
    pace = ((0, 100), (5, 10), (len(ONE), 20))
    assert moved_pace(pace, ONE + TWO, ONE + TWO) == pace


def test_without_its_usage_chunk_a_stream_keeps_its_pace() -> None:
    stream = ONE + TWO + USAGE + DONE
    pace = ((0, 100), (len(ONE), 20), (len(ONE + TWO), 30), (len(ONE + TWO + USAGE), 40))
    changed = without_usage_chunk(stream)
    assert changed == ONE + TWO + DONE
    assert schedule(changed, moved_pace(pace, stream, changed)) == [
        (100, len(ONE)),
        (120, len(ONE + TWO)),
        (190, len(ONE + TWO + DONE)),
    ]


@given(st.lists(st.sampled_from([ONE, TWO, USAGE]), min_size=1, max_size=12), st.data())
def test_wherever_it_stood(events: list[bytes], data: st.DataObject) -> None:
    stream = b"".join([*events, DONE])
    changed = without_usage_chunk(stream)
    cuts = sorted({0, *data.draw(st.lists(st.integers(0, len(stream) - 1), max_size=20))})
    pace = tuple((cut, 7) for cut in cuts)
    moved = moved_pace(pace, stream, changed)
    assert sum(gap for _, gap in moved) == sum(gap for _, gap in pace)
    assert schedule(changed, moved)[-1] == (7 * len(pace), len(changed))
