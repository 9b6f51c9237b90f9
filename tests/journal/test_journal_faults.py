"""The writer on a failing disk: what it has acknowledged is read, whatever the disk did before, then or later."""

import errno
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.kit import (
    Clock,
    FaultyDisk,
    drain,
    entries_of,
    finish,
    progress,
    reading,
    records_of,
    segments,
    settle,
    start,
    start_until_refused,
    writing,
)
from submeter.core.record import Start, Tally
from submeter.journal.format import HEADER_BYTES
from submeter.journal.open_calls import OpenCalls
from submeter.journal.reader import Entry
from submeter.journal.writer import JournalUnavailable, JournalWriter


def started(entries: list[Entry]) -> list[str]:
    return [record.call_id for record in records_of(entries, Start) if isinstance(record, Start)]


@pytest.mark.parametrize("sync", ["os", "disk"])
def test_after_a_full_disk_all_of_the_next_ten_are_read(tmp_path: Path, sync: str) -> None:
    disk, clock = FaultyDisk(), Clock()
    with writing(tmp_path, fs=disk, clock=clock, sync=sync) as writer:
        writer.start(start("before"))
        disk.free_bytes = 20  # the next record tears
        with pytest.raises(JournalUnavailable, match=r"No space left on device.*free disk space"):
            writer.start(start("refused"))
        disk.free_bytes = None
        clock.now_s += 1
        for number in range(10):
            writer.start(start(f"next{number}"))
    acknowledged = ["before", "before", *(f"next{number}" for number in range(10))]  # carried into the new segment
    assert started(entries_of(tmp_path)) == acknowledged


@pytest.mark.parametrize("fault", ["write", "short_write"])
def test_one_failed_write_is_mended_unseen(tmp_path: Path, fault: str) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:
        writer.start(start("a"))
        disk.failing[fault] = 1
        writer.finish(finish("a"))
        writer.start_and_finish(start("b"), finish("b"))
    assert len(segments(tmp_path)) == 2
    assert [(s.start.call_id, s.finish) for s in settle(entries_of(tmp_path))] == [
        ("a", finish("a")),
        ("b", finish("b")),
    ]


def test_a_torn_record_that_cannot_be_cut_back_is_damage_but_no_loss(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:
        writer.start(start("a"))
        disk.failing = {"short_write": 1, "ftruncate": 1}
        writer.finish(finish("a"))
    with reading(tmp_path) as reader:
        [settled] = settle(drain(reader))
        assert (reader.corrupt_records, reader.torn_tails, reader.missing_records) == (1, 0, 0)
    assert settled.finish == finish("a")
    [copy] = (tmp_path / "quarantine").iterdir()
    assert segments(tmp_path)[0].read_bytes().endswith(copy.read_bytes())


def test_a_new_segment_that_can_only_be_emptied_is_no_damage(tmp_path: Path) -> None:
    disk, clock = FaultyDisk(), Clock()
    with writing(tmp_path, fs=disk, clock=clock) as writer:
        disk.failing = {"short_write": 2, "unlink": 1}
        with pytest.raises(JournalUnavailable):
            writer.start(start("refused"))
        clock.now_s += 1
        writer.start(start("a"))
    assert [path.stat().st_size > 0 for path in segments(tmp_path)] == [True, False, True]
    assert started(entries_of(tmp_path)) == ["a"]


def test_a_dead_disk_refuses_says_why_and_is_tried_once_a_second(tmp_path: Path) -> None:
    disk, clock = FaultyDisk(), Clock()
    with writing(tmp_path, fs=disk, clock=clock) as writer:
        disk.failing["write"] = 4
        with pytest.raises(JournalUnavailable, match=r"Input/output error.*move the data directory"):
            writer.start(start("a"))
        for wait_s, tries in ((0.0, 0), (0.9, 0), (0.2, 1), (0.5, 0), (0.5, 1), (0.0, 0)):
            clock.now_s += wait_s
            disk.calls.clear()
            with pytest.raises(JournalUnavailable, match="Input/output error"):
                writer.start(start("a"))
            assert [name for name, _ in disk.calls].count("write") == tries
        assert len(segments(tmp_path)) == 1
        clock.now_s += 1
        writer.start(start("a"))
    assert started(entries_of(tmp_path)) == ["a"]


def test_a_disk_that_is_full_at_the_start_is_no_reason_not_to_start(tmp_path: Path) -> None:
    disk, clock = FaultyDisk(), Clock()
    disk.free_bytes = HEADER_BYTES // 2
    with writing(tmp_path, fs=disk, clock=clock) as writer:
        assert segments(tmp_path) == []
        with pytest.raises(JournalUnavailable):
            writer.start(start("a"))
        disk.free_bytes = None
        clock.now_s += 1
        writer.start(start("b"))
    assert started(entries_of(tmp_path)) == ["b"]


def test_a_finish_that_was_refused_is_written_when_the_disk_is_well(tmp_path: Path) -> None:
    disk, clock = FaultyDisk(), Clock()
    with writing(tmp_path, fs=disk, clock=clock) as writer:
        writer.start(start("a"))
        writer.start(start("b"))
        writer.progress(progress("b", 4))
        disk.free_bytes = 0
        for call_id in ("a", "b"):
            with pytest.raises(JournalUnavailable):
                writer.finish(finish(call_id))
        disk.free_bytes = None
        clock.now_s += 1
        writer.tally([Tally("unmetered", "chat/completions", 1)])
    settled = settle(entries_of(tmp_path))
    assert [(s.start.call_id, s.finish, s.progress) for s in settled] == [
        ("a", finish("a"), None),
        ("b", finish("b"), progress("b", 4)),
    ]


def test_close_writes_the_refused_finishes(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:
        writer.start(start("a"))
        disk.failing["write"] = 2
        with pytest.raises(JournalUnavailable):
            writer.finish(finish("a"))
    assert [s.finish for s in settle(entries_of(tmp_path))] == [finish("a")]


def test_close_says_what_could_not_be_made_safe(tmp_path: Path) -> None:
    disk = FaultyDisk()
    writer = JournalWriter(tmp_path, fs=disk, sync_interval_s=3600)
    writer.start(start("a"))
    disk.failing["fdatasync"] = 2
    with pytest.raises(JournalUnavailable, match="Input/output error"):
        writer.close()
    with writing(tmp_path):
        pass  # the lock was given back


def test_a_failed_background_sync_moves_what_was_at_risk(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:
        writer.start(start("safe"))
        writer.finish(finish("safe"))
        writer.sync()
        writer.start(start("open"))
        writer.start_and_finish(start("hit"), finish("hit"))
        writer.tally([Tally("refused", "14", 5)])
        disk.failing["fdatasync"] = 1
        writer.sync()
        writer.sync()
        assert len(segments(tmp_path)) == 1
        writer.finish(finish("open"))
        assert len(segments(tmp_path)) == 2
        writer.sync()
        assert disk.synced_after_failure == []
        undisturbed = entries_of(tmp_path)
        disk.cut_power()
    after = entries_of(tmp_path)
    for entries in (undisturbed, after):
        assert Counter(s.start.call_id for s in settle(entries)) == {"safe": 1, "hit": 1, "open": 1}
        assert records_of(entries, Tally) == [Tally("refused", "14", 5)]


def test_a_sync_reaches_the_segments_left_since_the_last_one(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk, segment_bytes=300) as writer:
        for number in range(20):
            writer.start_and_finish(start(str(number)), finish(str(number)))
        assert len(segments(tmp_path)) > 5
        writer.sync()
        disk.cut_power()
        assert started(entries_of(tmp_path)) == [str(number) for number in range(20)]


def test_a_failed_sync_before_return_is_no_acknowledgement(tmp_path: Path) -> None:
    disk, clock = FaultyDisk(), Clock()
    with writing(tmp_path, fs=disk, clock=clock, sync="disk") as writer:
        writer.start(start("a"))
        disk.failing["fdatasync"] = 1
        writer.start(start("b"))
        disk.failing["fdatasync"] = 2
        with pytest.raises(JournalUnavailable):
            writer.start(start("refused"))
        clock.now_s += 1
        writer.finish(finish("a"))
        disk.cut_power()
        entries = entries_of(tmp_path)
    assert set(started(entries)) == {"a", "b"}
    assert [s.start.call_id for s in settle(entries)] == ["a"]
    assert disk.synced_after_failure == []


def test_a_name_that_could_not_be_synced_counts_as_a_failed_sync(tmp_path: Path) -> None:
    disk = FaultyDisk()
    disk.failing["sync_directory"] = 1
    with writing(tmp_path, fs=disk) as writer:
        writer.start(start("a"))
        writer.sync()
        writer.finish(finish("a"))
        assert len(segments(tmp_path)) == 2


def test_a_sync_that_never_ends_stops_new_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submeter.journal.writer.MAX_UNSYNCED_BYTES", 1000)
    with writing(tmp_path) as writer:
        count, reason = start_until_refused(writer)
        assert "does not end its fdatasync" in reason
        for number in range(count):
            writer.finish(finish(str(number)))
        writer.sync()
        writer.start(start("again"))


def test_an_error_without_a_known_remedy_is_still_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:

        def refuse(*_: object) -> int:
            raise OSError(errno.ELOOP, "too odd")

        monkeypatch.setattr(disk, "write", refuse)
        with pytest.raises(JournalUnavailable, match=r"cannot be written \(too odd\): see dmesg"):
            writer.start(start("a"))


CALLS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.one_of(
    st.tuples(st.sampled_from(["start", "first", "progress", "finish", "hit"]), CALLS),
    st.tuples(st.sampled_from(["tally", "sync", "wait", "poll"]), st.just("")),
    st.tuples(st.sampled_from(["open", "write", "short_write", "fdatasync", "unlink"]), st.sampled_from(["1", "2"])),
    st.tuples(st.just("full"), st.sampled_from(["0", "30", "300", "no"])),
)


class Story:
    """Runs steps against a writer and a failing disk, and remembers what was acknowledged."""

    def __init__(self, writer: JournalWriter, disk: FaultyDisk, clock: Clock) -> None:
        self.writer, self.disk, self.clock = writer, disk, clock
        self.number = 0
        self.ids: dict[str, str] = {}
        self.starts: set[str] = set()
        self.finishes: set[str] = set()
        self.refused_finishes: set[str] = set()
        self.tallied = 0

    def run(self, step: str, about: str) -> None:
        if step in ("open", "write", "short_write", "fdatasync", "ftruncate", "unlink"):
            self.disk.failing[step] = int(about)
        elif step == "full":
            self.disk.free_bytes = None if about == "no" else int(about)
        elif step == "wait":
            self.clock.now_s += 1
        elif step == "sync":
            self.writer.sync()
        elif step != "poll":
            try:
                self._call(step, about)
            except JournalUnavailable:
                if step == "finish" and self.ids.get(about) in self.starts:
                    self.refused_finishes.add(self.ids.pop(about))

    def _call(self, step: str, about: str) -> None:
        self.number += 1
        fresh = f"{about}{self.number}"
        if step == "start":
            if about not in self.ids:
                self.writer.start(start(fresh))
                self.starts.add(fresh)
                self.ids[about] = fresh
        elif step == "hit":
            self.writer.start_and_finish(start(fresh), finish(fresh))
            self.starts.add(fresh)
            self.finishes.add(fresh)
        elif step == "tally":
            self.writer.tally([Tally("refused", "14", 1)])
            self.tallied += 1
        elif step == "finish":
            self.writer.finish(finish(self.ids.get(about, "none")))
            self.finishes.add(self.ids.pop(about))
        else:
            note = self.writer.first if step == "first" else self.writer.progress
            note(progress(self.ids.get(about, "none"), self.number))


def check(story: Story, entries: list[Entry]) -> None:
    calls = OpenCalls()
    settled = settle(entries, calls)
    counts = Counter(s.start.call_id for s in settled if s.finish is not None)
    assert set(counts.values()) <= {1}
    assert story.finishes <= set(counts) <= story.finishes | story.refused_finishes
    assert {s.start.call_id for s in [*settled, *calls.writer_dead()]} == story.starts
    assert calls.orphan_finishes == 0
    assert len(records_of(entries, Tally)) == story.tallied


@pytest.mark.parametrize("sync", ["os", "disk"])
@given(steps=st.lists(STEPS, max_size=40))
@settings(max_examples=100, deadline=None)
def test_whatever_the_disk_does_what_was_acknowledged_is_read_once(sync: str, steps: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory, disk, clock = Path(name), FaultyDisk(), Clock()
        options: dict[str, object] = {"sync": sync, "segment_bytes": 600}
        with reading(directory) as follower:
            followed: list[Entry] = []
            with writing(directory, fs=disk, clock=clock, **options) as writer:
                story = Story(writer, disk, clock)
                for step, about in steps:
                    story.run(step, about)
                    if step == "poll":
                        followed += follower.read(3)
                disk.failing, disk.free_bytes = {}, None
                clock.now_s += 1
            check(story, followed + drain(follower))
            assert (follower.corrupt_records, follower.missing_records) == (0, 0)
        check(story, entries_of(directory))
        assert disk.synced_after_failure == []
        disk.cut_power()  # after a clean close nothing is lost by it
        with reading(directory) as reader:
            check(story, drain(reader))
            assert reader.corrupt_records == 0


@pytest.mark.parametrize("sync", ["os", "disk"])
@given(steps=st.lists(st.one_of(STEPS, st.tuples(st.just("ftruncate"), st.just("2"))), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_disk_that_takes_nothing_back_still_loses_nothing(sync: str, steps: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        disk, clock = FaultyDisk(), Clock()
        with writing(Path(name), fs=disk, clock=clock, sync=sync) as writer:
            story = Story(writer, disk, clock)
            for step, about in steps:
                story.run(step, about)
            disk.failing, disk.free_bytes = {}, None
            clock.now_s += 1
        disk.cut_power()
        with reading(Path(name)) as reader:
            entries = drain(reader)
        # What was refused may stand there as well, and a refused FINISH twice.
        assert story.finishes <= {s.start.call_id for s in settle(entries) if s.finish is not None}
        assert story.starts <= set(started(entries))
        assert len(records_of(entries, Tally)) >= story.tallied
