"""What settles a call, what a restart must feed again, and which segments it needs for that."""

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from journal.kit import edit, entries_of, finish, progress, reading, segments, settle, start, writing
from submeter.core.record import Finish, Progress, Start, Tally
from submeter.journal.format import Began
from submeter.journal.open_calls import OpenCalls, Settled
from submeter.journal.reader import Entry, JournalReader, Position, remove_until, writer_alive

ONE, TWO = b"1" * 16, b"2" * 16


def entry(
    record: Start | Progress | Finish | Tally | Began, offset: int, sequence: int = 1, instance: bytes = ONE
) -> Entry:
    return Entry(record, Position(sequence, offset), instance, sequence)


def test_finish_settles_with_the_latest_progress() -> None:
    calls = OpenCalls()
    assert calls.feed(entry(start("a"), 1)) == []
    assert calls.feed(entry(start("a", attempt=2), 2)) == []
    assert calls.feed(entry(progress("a", 1), 3)) == []
    assert calls.feed(entry(progress("a", 9), 4)) == []
    assert calls.feed(entry(Tally("refused", "14", 1), 5)) == []
    assert len(calls) == 2
    assert calls.feed(entry(finish("a"), 6)) == [Settled(start("a"), finish("a"), progress("a", 9))]
    assert calls.feed(entry(finish("a", attempt=2), 7)) == [
        Settled(start("a", attempt=2), finish("a", attempt=2), None)
    ]
    assert len(calls) == 0
    assert calls.orphan_finishes == 0


def test_a_new_instance_leaves_the_open_calls_of_the_old_one() -> None:
    calls = OpenCalls()
    calls.feed(entry(start("a"), 1))
    calls.feed(entry(progress("a", 5), 2))
    calls.feed(entry(start("b"), 3))
    assert calls.feed(entry(Began(7, "0.1.0"), 1, 2, TWO)) == [
        Settled(start("a"), None, progress("a", 5)),
        Settled(start("b"), None, None),
    ]
    assert calls.feed(entry(start("c"), 2, 2, TWO)) == []
    assert len(calls) == 1


def test_a_new_instance_may_begin_with_any_record() -> None:
    calls = OpenCalls()
    calls.feed(entry(start("a"), 1))
    calls.feed(entry(start("b"), 2))
    both = calls.feed(entry(finish("b"), 1, 2, TWO))
    assert [(s.start.call_id, s.finish) for s in both] == [("a", None), ("b", None)]
    assert calls.orphan_finishes == 1


def test_a_dead_writer_leaves_its_open_calls_once() -> None:
    calls = OpenCalls()
    assert calls.writer_dead() == []
    calls.feed(entry(start("a"), 1))
    assert calls.writer_dead() == [Settled(start("a"), None, None)]
    assert calls.writer_dead() == []
    assert calls.given_up == ONE
    assert calls.feed(entry(Began(7, "0.1.0"), 1, 2, TWO)) == []


def test_a_restart_remembers_who_was_given_up() -> None:
    after = OpenCalls(committed=Position(1, 1), given_up=ONE)
    after.feed(entry(start("a"), 1))
    assert after.writer_dead() == []
    again = OpenCalls(committed=Position(1, 1), given_up=ONE)
    again.feed(entry(start("a"), 1))
    assert again.feed(entry(start("b"), 1, 2, TWO)) == []
    assert again.writer_dead() == [Settled(start("b"), None, None)]


def test_what_was_committed_settles_nothing_again() -> None:
    calls = OpenCalls(committed=Position(1, 3))
    assert calls.feed(entry(start("a"), 1)) == []
    assert calls.feed(entry(start("b"), 2)) == []
    assert calls.feed(entry(finish("a"), 3)) == []
    assert len(calls) == 1
    assert calls.feed(entry(finish("b"), 4)) == [Settled(start("b"), finish("b"), None)]
    assert calls.is_committed(entry(Tally("refused", "14", 1), 3))
    assert not calls.is_committed(entry(Tally("refused", "14", 1), 4))


def test_a_finish_without_start_is_counted_unless_it_was_committed() -> None:
    calls = OpenCalls(committed=Position(1, 1))
    assert calls.feed(entry(finish("shipped and removed"), 1)) == []
    assert calls.orphan_finishes == 0
    assert calls.feed(entry(finish("lost"), 2)) == []
    assert calls.orphan_finishes == 1


def test_the_lowest_segment_is_that_of_the_open_start_or_of_the_uncommitted_finish() -> None:
    calls = OpenCalls()
    calls.feed(entry(start("a"), 1, 3))
    calls.feed(entry(start("b"), 2, 3))
    assert calls.lowest_sequence(Position(3, 2)) == 3
    calls.feed(entry(start("a"), 1, 4))  # the copy in the next segment
    calls.feed(entry(start("b"), 2, 4))
    assert calls.lowest_sequence(Position(4, 2)) == 4
    assert calls.lowest_sequence(Position(3, 2)) == 3
    calls.feed(entry(finish("a"), 1, 5))
    calls.feed(entry(finish("b"), 2, 5))
    calls.feed(entry(start("c"), 3, 5))
    assert len(calls) == 1
    assert calls.lowest_sequence(Position(5, 0)) == 4
    assert calls.lowest_sequence(Position(5, 1)) == 4
    assert calls.lowest_sequence(Position(5, 2)) == 5


def test_the_starts_of_a_dead_writer_stay_until_its_successor_is_committed() -> None:
    calls = OpenCalls()
    calls.feed(entry(start("a"), 1, 3))
    calls.feed(entry(Tally("refused", "14", 1), 1, 4))
    calls.writer_dead()
    assert calls.lowest_sequence(Position(4, 1)) == 3
    calls.feed(entry(Began(7, "0.1.0"), 1, 5, TWO))
    assert calls.lowest_sequence(Position(4, 1)) == 3
    assert calls.lowest_sequence(Position(5, 1)) == 5


STORY = st.lists(
    st.tuples(
        st.sampled_from(["start", "first", "progress", "finish", "hit", "tally", "die"]),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=30,
)


def tell(directory: Path, steps: list[tuple[str, str]]) -> None:
    """Several lives of a relay, with segments of a few records."""
    lives: list[list[tuple[str, str]]] = [[]]
    for step in steps:
        lives[-1].append(step)
        if step[0] == "die":
            lives.append([])
    number = 0
    for life in lives:
        ids: dict[str, str] = {}
        with writing(directory, segment_bytes=400) as writer:
            for step, name in life:
                number += 1
                if step == "hit":
                    writer.start_and_finish(start(f"hit{number}"), finish(f"hit{number}"))
                elif step == "tally":
                    writer.tally([Tally("refused", "14", number)])
                elif step == "start":
                    ids[name] = f"{name}{number}"
                    writer.start(start(ids[name]))
                elif step == "finish" and name in ids:
                    writer.finish(finish(ids.pop(name)))
                elif step in ("first", "progress") and name in ids:
                    writer.progress(progress(ids[name], number))


@given(steps=STORY, places=st.lists(st.integers(0, 100), min_size=1, max_size=4))
def test_a_meter_that_restarts_anywhere_settles_each_call_once(steps: list[tuple[str, str]], places: list[int]) -> None:
    """It ships in batches, removes what it may, dies between or after feeding, and reads again from the begin."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tell(directory, steps)
        expected_calls = OpenCalls()
        expected = settle(entries_of(directory), expected_calls) + expected_calls.writer_dead()

        rows: list[Settled] = []
        committed: Position | None = None
        for stop in [*places, 10_000]:
            with reading(directory) as reader:
                calls = OpenCalls(committed)
                for _ in range(stop):
                    batch = reader.read(1 + stop % 4)
                    settled = [s for e in batch for s in calls.feed(e)]
                    new = [e for e in batch if not calls.is_committed(e)]
                    if not batch:
                        break
                    if new:
                        rows += settled
                        committed = new[-1].position
                        remove_until(directory, calls.lowest_sequence(committed))
                # Fed, but never committed: the meter dies here.
                for e in reader.read(2):
                    calls.feed(e)
                assert calls.orphan_finishes == 0
        rows += calls.writer_dead()
        assert rows == expected


def test_the_loop_of_the_docstring(tmp_path: Path) -> None:
    """A relay dies with a call open; its restart, even without any call, and its death alone, make it indeterminate."""
    with writing(tmp_path) as writer:
        writer.start(start("a"))
    reader, calls = JournalReader(tmp_path), OpenCalls()
    settled: list[Settled] = []
    for _ in range(3):
        alive = writer_alive(tmp_path)
        entries = reader.read(500)
        settled += [s for e in entries for s in calls.feed(e)]
        if not entries and not alive:
            settled += calls.writer_dead()
    reader.close()
    assert settled == [Settled(start("a"), None, None)]

    with writing(tmp_path):
        assert settle(entries_of(tmp_path)) == settled


def test_copies_in_later_segments_settle_nothing_twice(tmp_path: Path) -> None:
    with writing(tmp_path, segment_bytes=300) as writer:
        writer.start(start("long"))
        for number in range(12):
            writer.start_and_finish(start(str(number)), finish(str(number)))
        writer.finish(finish("long"))
    assert len(segments(tmp_path)) > 3
    settled = settle(entries_of(tmp_path))
    assert sorted(s.start.call_id for s in settled) == sorted(["long", *map(str, range(12))])
    sequences = [e.sequence for e in entries_of(tmp_path) if e.record == start("long")]
    assert all(later == earlier + 1 for earlier, later in pairwise(sequences))


def test_a_lost_start_makes_its_finish_an_orphan(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.start(start("a"))
        writer.finish(finish("a"))
    edit(segments(tmp_path)[0], lambda data: data.replace(b"chat/completions", b"chat/completionz", 1))
    calls = OpenCalls()
    with reading(tmp_path) as reader:
        assert settle(reader.read(10), calls) == []
        assert reader.corrupt_records == 1
    assert calls.orphan_finishes == 1
