"""The reader beside a writer that goes on, dies, or leaves damage behind."""

import errno
import os
from pathlib import Path

import pytest

from journal.kit import (
    FaultyDisk,
    drain,
    edit,
    entries_of,
    finish,
    progress,
    reading,
    records_of,
    segments,
    settle,
    start,
    writing,
)
from submeter.core.record import Finish, Start, Tally
from submeter.journal import segment as segment_module
from submeter.journal.directory import segment_path
from submeter.journal.format import HEADER_BYTES, Began, Header, decode_header, encode_frame, frames
from submeter.journal.reader import (
    JournalReader,
    Position,
    relay_directories,
    remove_until,
    started_calls,
    writer_alive,
)


def write_three_segments(directory: Path) -> list[Path]:
    """Open call "long" runs through all of them; the rest are short."""
    with writing(directory, segment_bytes=400) as writer:
        writer.start(start("long"))
        writer.first(progress("long", 1))
        for number in range(100):
            if len(segments(directory)) == 3:
                break
            writer.start_and_finish(start(f"short{number}"), finish(f"short{number}"))
        writer.tally([Tally("refused", "14", 1)])
        writer.finish(finish("long"))
    assert len(segments(directory)) == 3
    return segments(directory)


def frame_ends(path: Path) -> list[int]:
    data = path.read_bytes()
    header = decode_header(data)
    assert header is not None
    return [frame.end for frame in frames(data, HEADER_BYTES, header.crc)]


def test_a_directory_that_grows_byte_by_byte_gives_the_same_entries(tmp_path: Path) -> None:
    written, growing = tmp_path / "written", tmp_path / "growing"
    paths = write_three_segments(written)
    expected = entries_of(written)
    growing.mkdir()
    with reading(growing) as reader:
        entries = []
        assert reader.read(10) == []
        for path in paths:
            with (growing / path.name).open("wb", buffering=0) as copy:
                for byte in path.read_bytes():
                    entries += reader.read(1)
                    copy.write(bytes([byte]))
        entries += drain(reader)
        assert entries == expected
        assert (reader.corrupt_records, reader.torn_tails, reader.missing_records) == (0, 0, 0)


@pytest.mark.parametrize("max_records", [1, 2, 7, 500])
def test_the_size_of_a_batch_changes_nothing(tmp_path: Path, max_records: int) -> None:
    write_three_segments(tmp_path)
    expected = entries_of(tmp_path)
    with reading(tmp_path) as reader:
        batches = []
        while batch := reader.read(max_records):
            batches.append(batch)
    assert [entry for batch in batches for entry in batch] == expected
    assert max(map(len, batches)) <= max_records


def test_entries_say_where_they_lie(tmp_path: Path) -> None:
    [first, *_] = write_three_segments(tmp_path)
    entries = entries_of(tmp_path)
    in_first = [entry for entry in entries if entry.sequence == int(first.stem)]
    assert [entry.position.offset for entry in in_first] == frame_ends(first)
    assert [entry.position for entry in entries] == sorted(entry.position for entry in entries)
    assert len({entry.instance for entry in entries}) == 1


def test_a_reader_goes_on_behind_any_position(tmp_path: Path) -> None:
    write_three_segments(tmp_path)
    entries = entries_of(tmp_path)
    for index, entry in enumerate(entries):
        assert entries_of(tmp_path, entry.position) == entries[index + 1 :]
    assert entries_of(tmp_path, Position(0, 0)) == entries
    assert entries_of(tmp_path, Position(2**62, 0)) == []


def test_a_position_in_a_removed_segment_goes_on_with_the_next(tmp_path: Path) -> None:
    *_, second, third = write_three_segments(tmp_path)
    entries = entries_of(tmp_path)
    remove_until(tmp_path, int(third.stem))
    assert not second.exists()
    expected = [entry.record for entry in entries if entry.sequence == int(third.stem)]
    assert [entry.record for entry in entries_of(tmp_path, entries[3].position)] == expected


def test_a_segment_is_left_only_when_its_last_record_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer appends between the reader's read and its look at the directory, and rotates in between."""
    with writing(tmp_path, segment_bytes=400) as writer, reading(tmp_path) as reader:
        entries = drain(reader)
        listed = JournalReader._next_sequence

        def rotate_first(self: JournalReader) -> int | None:
            if len(segments(tmp_path)) == 1:
                for number in range(9):
                    writer.start_and_finish(start(str(number)), finish(str(number)))
            return listed(self)

        monkeypatch.setattr(JournalReader, "_next_sequence", rotate_first)
        entries += drain(reader)
        assert len(segments(tmp_path)) > 1
    assert [s.start.call_id for s in settle(entries)] == [str(number) for number in range(9)]


def test_a_tail_cut_anywhere_waits_for_a_successor_and_is_then_expected(tmp_path: Path) -> None:
    with writing(tmp_path / "whole") as writer:
        writer.start(start("a"))
        writer.start_and_finish(start("b"), finish("b"))
        writer.finish(finish("a"))
    [path] = segments(tmp_path / "whole")
    data, ends = path.read_bytes(), frame_ends(path)
    expected = entries_of(tmp_path / "whole")
    for length in range(len(data)):
        directory = tmp_path / str(length)
        directory.mkdir()
        torn = directory / path.name
        torn.write_bytes(data[:length])
        whole_records = sum(end <= length for end in ends)
        with reading(directory) as reader:
            assert drain(reader) == expected[:whole_records]
            assert reader.read(1) == []
            with writing(directory):
                [began] = drain(reader)
            assert isinstance(began.record, Began)
            assert reader.torn_tails == (0 if length in (0, HEADER_BYTES, *ends) else 1)
            assert reader.corrupt_records == 0
        assert not (directory / "quarantine").exists()


def test_a_changed_byte_anywhere_is_found_kept_and_costs_one_record(tmp_path: Path) -> None:
    paths = write_three_segments(tmp_path)
    expected = entries_of(tmp_path)
    target = paths[1]
    data, ends = target.read_bytes(), frame_ends(target)
    for at in range(HEADER_BYTES, len(data)):
        target.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        hit = next(end for end in ends if end > at)
        begin = max([HEADER_BYTES, *(end for end in ends if end <= at)])
        with reading(tmp_path) as reader:
            entries = drain(reader)
            assert reader.corrupt_records == 1
        lost = [entry for entry in expected if entry not in entries]
        assert [entry for entry in entries if entry not in expected] == []
        assert [entry.position for entry in lost] in ([], [Position(int(target.stem), hit)])
        copy = tmp_path / "quarantine" / f"{target.stem}-{begin}.bad"
        assert copy.read_bytes() == target.read_bytes()[begin:hit]
        copy.unlink()


def test_quarantine_is_for_the_owner_alone_and_made_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    [first, *_] = write_three_segments(tmp_path)
    edit(first, lambda data: data[:-1] + b"?")
    for _ in range(2):
        with reading(tmp_path) as reader:
            drain(reader)
    quarantine = tmp_path / "quarantine"
    [copy] = quarantine.iterdir()
    assert (quarantine.stat().st_mode & 0o777, copy.stat().st_mode & 0o777) == (0o700, 0o600)
    assert f"damaged bytes, copied to {copy}" in caplog.text


def test_a_quarantine_that_cannot_be_made_does_not_stop_the_reader(tmp_path: Path) -> None:
    [first, *_] = write_three_segments(tmp_path)
    edit(first, lambda data: data[:-1] + b"?")
    (tmp_path / "quarantine").write_text("in the way")
    with reading(tmp_path) as reader:
        assert settle(drain(reader))
        assert reader.corrupt_records == 1


def test_damage_longer_than_a_chunk_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "CHUNK_BYTES", 4096)
    with writing(tmp_path) as writer:
        for number in range(100):
            writer.start_and_finish(start(str(number)), finish(str(number)))
    [path] = segments(tmp_path)
    ends = frame_ends(path)
    edit(path, lambda data: data[: ends[9]] + bytes(ends[150] - ends[9]) + data[ends[150] :])
    with reading(tmp_path) as reader:
        entries = drain(reader)
        assert (reader.corrupt_records, reader.missing_records) == (1, 150 - 9)
    assert len(entries) == 201 - (150 - 9)


def test_damage_at_the_end_of_a_live_segment_is_found_with_the_next_record(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, reading(tmp_path) as reader:
        writer.start(start("a"))
        writer.start(start("b"))
        edit(segments(tmp_path)[0], lambda data: data[:-1] + b"?")
        assert records_of(drain(reader), Start) == [start("a")]
        assert reader.corrupt_records == 0
        writer.start(start("c"))
        assert records_of(drain(reader), Start) == [start("c")]
        assert (reader.corrupt_records, reader.missing_records) == (1, 1)


def test_a_damaged_length_does_not_hold_up_what_follows(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, reading(tmp_path) as reader:
        writer.start(start("a"))
        [path] = segments(tmp_path)
        begin, _ = frame_ends(path)
        edit(path, lambda data: data[: begin + 5] + b"\x3f" + data[begin + 6 :])  # length now says 16 kB
        writer.start(start("b"))
        assert records_of(drain(reader), Start) == [start("b")]


def test_a_torn_record_that_was_cut_back_while_it_was_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(tmp_path) as writer, reading(tmp_path) as reader:
        drain(reader)
        writer.start(start("a"))
        writer.start(start("b"))
        real_pread, reads = os.pread, []

        def stale_once(fd: int, length: int, offset: int) -> bytes:
            data = real_pread(fd, length, offset)
            reads.append(offset)
            return b"torn" + data[4:] if len(reads) == 1 else data

        monkeypatch.setattr(segment_module.os, "pread", stale_once)
        assert reader.read(10) == []
        assert records_of(drain(reader), Start) == [start("a"), start("b")]
        assert reader.corrupt_records == 0


def test_a_header_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.start(start("a"))
    with reading(tmp_path) as reader:
        drain(reader)
        edit(segments(tmp_path)[0], lambda data: data + b"torn")
        new = segment_path(tmp_path, int(segments(tmp_path)[0].stem) + 1)
        new.touch()
        assert reader.read(10) == []
        assert (reader.corrupt_records, reader.torn_tails) == (0, 0)
        new.unlink()
        with writing(tmp_path):
            assert len(drain(reader)) == 1
        assert (reader.corrupt_records, reader.torn_tails) == (0, 1)


@pytest.mark.parametrize("damage", ["magic", "renamed"])
def test_a_segment_without_a_valid_header_is_damage_as_a_whole(tmp_path: Path, damage: str) -> None:
    _, second, _ = write_three_segments(tmp_path)
    if damage == "magic":
        edit(second, lambda data: b"?" + data[1:])
    else:
        header = decode_header(second.read_bytes())
        assert header is not None
        edit(second, lambda data: header._replace(sequence=99).encode() + data[HEADER_BYTES:])
    with reading(tmp_path) as reader:
        entries = drain(reader)
        assert reader.corrupt_records == 1
        assert reader.missing_records > 0
    assert finish("long") in records_of(entries, Finish)
    [copy] = (tmp_path / "quarantine").iterdir()
    assert copy.read_bytes() == second.read_bytes()


def test_a_segment_that_the_writer_took_back_is_no_damage(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.start(start("a"))
        with reading(tmp_path) as reader:
            drain(reader)
            sequence = int(segments(tmp_path)[0].stem)
            header = Header(b"i" * 16, b"b" * 16, sequence + 1, 2, 3)
            taken_back = segment_path(tmp_path, sequence + 1)
            taken_back.write_bytes(header.encode() + b"half a record")
            assert reader.read(10) == []
            taken_back.unlink()
            header = header._replace(sequence=sequence + 2)
            segment_path(tmp_path, sequence + 2).write_bytes(header.encode())
            assert drain(reader) == []
            assert (reader.corrupt_records, reader.torn_tails) == (0, 0)


def test_copies_are_met_once_unless_the_original_was_lost(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with writing(tmp_path, fs=disk) as writer:
        writer.start_and_finish(start("a"), finish("a"))
        writer.tally([Tally("refused", "14", 1)])
        disk.failing["fdatasync"] = 1
        writer.sync()
        writer.tally([Tally("refused", "14", 2)])
    expected = [start("a"), finish("a"), Tally("refused", "14", 1), Tally("refused", "14", 2)]
    assert records_of(entries_of(tmp_path), Start, Finish, Tally) == expected

    first, _ = segments(tmp_path)
    ends = frame_ends(first)
    edit(first, lambda data: data[: ends[1]])
    with reading(tmp_path) as reader:
        assert records_of(drain(reader), Start, Finish, Tally) == expected
        assert reader.missing_records == 0


def test_what_no_segment_holds_is_counted_as_missing(tmp_path: Path) -> None:
    _, second, third = write_three_segments(tmp_path)
    held = [e for e in entries_of(tmp_path) if e.sequence == int(second.stem)]
    copies = 3  # BEGAN, START and FIRST of the open call
    second.unlink()
    with reading(tmp_path) as reader:
        drain(reader)
        assert reader.missing_records == len(held) - copies
        with writing(tmp_path):
            drain(reader)
        assert reader.missing_records == len(held) - copies
    assert third.exists()


def test_records_of_a_newer_program_are_counted_and_passed(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.start(start("a"))
    [path] = segments(tmp_path)
    header = decode_header(path.read_bytes())
    assert header is not None
    edit(path, lambda data: data + encode_frame(header.crc, 3, 77, b"news"))
    with reading(tmp_path) as reader:
        assert records_of(drain(reader), Start) == [start("a")]
        assert (reader.unknown_records, reader.corrupt_records, reader.missing_records) == (1, 0, 0)


def test_a_disk_error_does_not_lose_what_was_read_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_three_segments(tmp_path)
    expected = entries_of(tmp_path)
    real_open, failing = os.open, [segments(tmp_path)[1]]

    def open_or_fail(path: Path, *rest: int) -> int:
        if path in failing:
            raise OSError(errno.EIO, "no")
        return real_open(path, *rest)

    with reading(tmp_path) as reader, monkeypatch.context() as patch:
        patch.setattr(segment_module.os, "open", open_or_fail)
        entries = reader.read(500)
        assert 0 < len(entries) < len(expected)
        with pytest.raises(OSError, match="no"):
            reader.read(500)
        failing.clear()
        entries += reader.read(500)
    assert entries == expected


def test_started_calls_are_those_of_all_relays(tmp_path: Path) -> None:
    assert started_calls(tmp_path / "none") == set()
    with writing(tmp_path / "relay-0", segment_bytes=300) as first, writing(tmp_path / "relay-1") as second:
        for number in range(9):
            first.start(start(str(number)))
        first.finish(finish("0"))
        second.start(start("0", attempt=2))
        second.start_and_finish(start("hit"), finish("hit"))
        (tmp_path / "stray file").touch()
        expected = {(str(number), 1) for number in range(9)} | {("0", 2), ("hit", 1)}
        assert started_calls(tmp_path) == expected
        last = segments(tmp_path / "relay-0")[-1]
        edit(last, lambda data: data + b"torn")
        assert started_calls(tmp_path) == expected
        assert not (tmp_path / "relay-0" / "quarantine").exists()
    assert [path.name for path in relay_directories(tmp_path)] == ["relay-0", "relay-1"]


def test_started_calls_bear_segments_that_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meter removes what it has shipped while another process reads; open calls move to a new segment."""
    directory = tmp_path / "relay-0"
    with writing(directory, segment_bytes=300) as writer:
        writer.start(start("open"))
        real_read = Path.read_bytes
        removed = []

        def remove_while_reading(path: Path) -> bytes:
            if not removed:
                removed.append(path)
                while len(segments(directory)) < 3:
                    writer.start_and_finish(start("short"), finish("short"))
                remove_until(directory, int(segments(directory)[-1].stem))
            return real_read(path)

        monkeypatch.setattr(Path, "read_bytes", remove_while_reading)
        assert ("open", 1) in started_calls(tmp_path)
        assert not removed[0].exists()


def test_a_broken_segment_has_no_started_calls(tmp_path: Path) -> None:
    directory = tmp_path / "relay-0"
    directory.mkdir()
    segment_path(directory, 1).write_bytes(b"not a header")
    (directory / "1.seg").touch()
    (directory / "0000000000000000000x.seg").touch()
    assert started_calls(tmp_path) == set()


def test_remove_until_leaves_the_rest(tmp_path: Path) -> None:
    first, second, third = write_three_segments(tmp_path)
    assert remove_until(tmp_path, int(second.stem)) == 1
    assert segments(tmp_path) == [second, third]
    assert remove_until(tmp_path, int(second.stem)) == 0
    assert remove_until(tmp_path / "none", 5) == 0
    assert not first.exists()
    assert not writer_alive(tmp_path)
