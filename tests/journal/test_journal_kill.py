"""kill -9: what a process has been told to be written is read after its death."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal.kit import entries_of, reading, settle
from submeter.journal.open_calls import OpenCalls
from submeter.journal.reader import writer_alive

CHILD = Path(__file__).with_name("child_writer.py")


def live_and_die(directory: Path, sync: str, life: str, lines: int) -> list[str]:
    """What the child said before, and, from the pipe, after it was killed."""
    command = [sys.executable, str(CHILD), str(directory), sync, life]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        assert writer_alive(directory)
        child.kill()
        said += child.stdout.readlines()
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.parametrize(("sync", "lines"), [("os", 2000), ("disk", 100)])
def test_all_that_was_acknowledged_is_read_after_kill_9(tmp_path: Path, sync: str, lines: int) -> None:
    said = []
    with reading(tmp_path) as follower:
        followed = []
        for life in range(3):
            said += live_and_die(tmp_path, sync, f"life{life}", lines + life)
            assert not writer_alive(tmp_path)
            followed += follower.read(1_000_000)
        calls = OpenCalls()
        settled = settle(followed, calls)
        left = calls.writer_dead()
        assert (follower.corrupt_records, follower.missing_records) == (0, 0)
    assert followed == entries_of(tmp_path)

    finished = {s.start.call_id for s in settled if s.finish is not None}
    indeterminate = {s.start.call_id for s in [*settled, *left] if s.finish is None}
    assert {line.split()[1] for line in said if line.startswith("finish")} <= finished
    assert {line.split()[1] for line in said if line.startswith("start")} <= finished | indeterminate
    assert not finished & indeterminate
    assert all(s.progress is not None for s in settled if s.finish is not None)
    assert len(indeterminate) <= 3 * 6  # what was in flight at each kill
