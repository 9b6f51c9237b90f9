"""The writer on a healthy disk: order, permissions, lock, rotation, quota."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
from submeter.core.record import Finish, Progress, Start, Tally
from submeter.journal.directory import JournalLocked, acquire_lock, segment_path
from submeter.journal.format import Began, RecordTooLarge
from submeter.journal.reader import remove_until, writer_alive
from submeter.journal.writer import JournalUnavailable, JournalWriter

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from submeter.journal.writer import JournalWriter
writer = JournalWriter(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("sync", ["os", "disk"])
def test_every_call_is_read_as_it_was_written(tmp_path: Path, sync: str) -> None:
    with writing(tmp_path, sync=sync) as writer:
        writer.start(start("a", team="search"))
        writer.first(progress("a", 1))
        writer.progress(progress("a", 200))
        writer.tally([Tally("refused", "14", 2), Tally("passed", "models", 1)])
        writer.start(start("a", attempt=2))
        writer.finish(finish("a"))
        writer.start_and_finish(start("hit"), finish("hit"))
        writer.tally([])
    assert [entry.record for entry in entries_of(tmp_path)][1:] == [
        start("a", team="search"),
        progress("a", 1),
        progress("a", 200),
        Tally("refused", "14", 2),
        Tally("passed", "models", 1),
        start("a", attempt=2),
        finish("a"),
        start("hit"),
        finish("hit"),
    ]


def test_one_write_per_call(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:
        for call in (
            lambda: writer.start(start("a")),
            lambda: writer.first(progress("a")),
            lambda: writer.finish(finish("a")),
            lambda: writer.start_and_finish(start("b"), finish("b")),
            lambda: writer.tally([Tally("refused", "14", 2), Tally("refused", "15", 2)]),
        ):
            disk.calls.clear()
            call()
            assert [name for name, _ in disk.calls] == ["write"]


def test_sync_disk_syncs_what_is_waited_for(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk, sync="disk") as writer:
        assert [name for name, _ in disk.calls] == ["open", "write", "fdatasync", "sync_directory"]
        disk.calls.clear()
        writer.start(start("a"))
        writer.first(progress("a"))
        writer.finish(finish("a"))
    assert [name for name, _ in disk.calls] == ["write", "fdatasync", "write", "write", "fdatasync"]


def test_sync_os_syncs_in_the_background_and_only_what_is_new(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:
        writer.start(start("a"))
        assert "fdatasync" not in [name for name, _ in disk.calls]
        writer.sync()
        writer.sync()
        assert [name for name, _ in disk.calls].count("fdatasync") == 1
        assert ("sync_directory", tmp_path) in disk.calls


def test_modes_are_for_the_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "journal" / "relay-0"
    old_mask = os.umask(0)
    try:
        with writing(directory) as writer:
            writer.start(start("a"))
    finally:
        os.umask(old_mask)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {
        "lock": 0o600,
        segments(directory)[0].name: 0o600,
    }


def open_descriptors() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists()}


def test_descriptors_are_not_inherited_and_all_closed(tmp_path: Path) -> None:
    before = open_descriptors()
    with writing(tmp_path, segment_bytes=100) as writer:
        for number in range(20):
            writer.start(start(str(number)))
        opened = open_descriptors() - before
        assert len(opened) >= 2
        assert not any(os.get_inheritable(fd) for fd in opened)
    assert open_descriptors() == before


def test_a_new_instance_begins_a_segment_after_the_highest(tmp_path: Path) -> None:
    segment_path(tmp_path, 12).touch()
    instances = []
    for expected in ("00000000000000000013.seg", "00000000000000000014.seg"):
        with writing(tmp_path) as writer:
            writer.start_and_finish(start("a"), finish("a"))
        assert segments(tmp_path)[-1].name == expected
        instances.append(entries_of(tmp_path)[-1].instance)
    assert instances[0] != instances[1]


def test_a_wiped_directory_goes_on_above_the_old_sequences(tmp_path: Path) -> None:
    with writing(tmp_path):
        [first] = segments(tmp_path)
    first.unlink()
    with writing(tmp_path):
        [second] = segments(tmp_path)
    assert second.name >= first.name > "00000000001700000000.seg"


def test_a_new_writer_shows_before_its_first_call(tmp_path: Path) -> None:
    with writing(tmp_path):
        [entry] = entries_of(tmp_path)
    assert isinstance(entry.record, Began)
    assert entry.record.pid == os.getpid()


def test_only_one_process_writes_and_the_lock_dies_with_it(tmp_path: Path) -> None:
    assert not writer_alive(tmp_path)
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path)]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert writer_alive(tmp_path)
        with pytest.raises(JournalLocked, match=f"is held by process {holder.pid}: stop that relay"):
            JournalWriter(tmp_path, lock_patience_s=0.05)
        assert len(segments(tmp_path)) == 1
        holder.kill()
    assert not writer_alive(tmp_path)
    with writing(tmp_path):
        assert writer_alive(tmp_path)
    assert not writer_alive(tmp_path)


def test_a_dying_predecessor_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = acquire_lock(tmp_path, 0)
    monkeypatch.setattr("submeter.journal.directory.time.sleep", lambda _: os.close(held))
    with writing(tmp_path):
        assert writer_alive(tmp_path)


def test_rotation_carries_the_start_and_latest_progress_of_open_calls(tmp_path: Path) -> None:
    with writing(tmp_path, segment_bytes=2000) as writer:
        writer.start(start("open"))
        writer.start(start("bare"))
        writer.first(progress("open", 1))
        writer.progress(progress("open", 300))
        number = 0
        while len(segments(tmp_path)) < 4:
            number += 1
            writer.start_and_finish(start(f"short{number}"), finish(f"short{number}"))
        last = int(segments(tmp_path)[-1].stem)
        remove_until(tmp_path, last)
        writer.finish(finish("open"))
        writer.finish(finish("bare"))
    settled = settle(entries_of(tmp_path))
    assert {s.start.call_id: s.progress for s in settled} == {
        "open": progress("open", 300),
        "bare": None,
        f"short{number}": None,
    }
    assert all(s.finish is not None for s in settled)


def test_many_open_calls_do_not_make_every_append_rotate(tmp_path: Path) -> None:
    with writing(tmp_path, segment_bytes=500) as writer:
        for number in range(50):
            writer.start(start(f"open{number}"))
        before = len(segments(tmp_path))
        for number in range(4):
            writer.tally([Tally("refused", "14", number)])
        assert len(segments(tmp_path)) <= before + 1


def test_the_quota_refuses_new_calls_and_lets_open_ones_finish(tmp_path: Path) -> None:
    clock = Clock()
    with writing(tmp_path, segment_bytes=500, quota_bytes=3000, clock=clock) as writer:
        started, reason = start_until_refused(writer)
        assert "has reached its quota of 3000 bytes" in reason
        with pytest.raises(JournalUnavailable, match="quota"):
            writer.start_and_finish(start("hit"), finish("hit"))
        assert sum(path.stat().st_size for path in segments(tmp_path)) < 3000 + 2000
        for number in range(started):
            writer.finish(finish(str(number)))
        writer.tally([Tally("unmetered", "chat/completions", 1)])

        remove_until(tmp_path, int(segments(tmp_path)[-1].stem))
        with pytest.raises(JournalUnavailable, match="quota"):
            writer.start(start("too early"))
        clock.now_s += 1
        writer.start(start("after"))
    starts = [r.call_id for r in records_of(entries_of(tmp_path), Start)]
    assert starts[-1] == "after"
    assert "hit" not in starts
    assert "too early" not in starts


def test_finish_and_progress_need_a_start(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.start(start("a"))
        writer.finish(finish("a"))
        for call in (
            lambda: writer.finish(finish("a")),
            lambda: writer.finish(finish("a", attempt=2)),
            lambda: writer.first(progress("b")),
            lambda: writer.progress(progress("b")),
        ):
            with pytest.raises(JournalUnavailable, match="the START of this call is not in the journal"):
                call()
    assert len(records_of(entries_of(tmp_path), Finish, Progress)) == 1


def test_a_record_too_large_leaves_no_trace(tmp_path: Path) -> None:
    long = "x" * 20_000
    with writing(tmp_path) as writer:
        with pytest.raises(RecordTooLarge):
            writer.start(start("a", user=long))
        with pytest.raises(RecordTooLarge):
            writer.start_and_finish(start("b"), Finish("b", 1, "ok", 200, model_served=long))
        writer.start_and_finish(start("c"), finish("c"))
    assert records_of(entries_of(tmp_path), Start) == [start("c")]


def test_a_closed_writer_writes_nothing(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.start(start("a"))
    writer.close()
    for call in (lambda: writer.start(start("b")), lambda: writer.finish(finish("a"))):
        with pytest.raises(JournalUnavailable, match="the journal is closed"):
            call()
    assert len(segments(tmp_path)) == 1


def test_the_background_thread_syncs_by_itself(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk, sync_interval_s=0.001) as writer:
        writer.start(start("a"))
        while "sync_directory" not in [name for name, _ in disk.calls]:
            pass
        writer.finish(finish("a"))
    disk.cut_power()
    with reading(tmp_path) as reader:
        assert [entry.record for entry in drain(reader)][1:] == [start("a"), finish("a")]
