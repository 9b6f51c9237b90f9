"""The operator's rule for when the journal cannot be written, also for what the cache answers (FAULTS 25)."""

from typing import Any, Literal, cast

import pytest

from submeter.core.errors import Refusal
from submeter.core.record import Finish, Start, Tally
from submeter.journal.writer import JournalUnavailable, JournalWriter
from submeter.relay.journalling import Journalling

START = Start("c", 1, "o", "chat/completions", "openai", 0)
FINISH = Finish("c", 1, "ok", 200)


class Broken:
    """A writer whose disk is full until it is ``mended``."""

    def __init__(self) -> None:
        self.mended = False
        self.tallies: list[Tally] = []

    def _write(self, *_: Any) -> None:
        if not self.mended:
            raise JournalUnavailable("disk full")

    start = finish = start_and_finish = _write

    def tally(self, tallies: list[Tally]) -> None:
        self._write()
        self.tallies += tallies


def journalling(rule: Literal["pass", "refuse"]) -> tuple[Broken, Journalling]:
    writer = Broken()
    return writer, Journalling(cast(JournalWriter, writer), rule)


def test_refuse_refuses_calls_and_hits() -> None:
    _, journal = journalling("refuse")
    for write in (lambda: journal.start(START), lambda: journal.start_and_finish(START, FINISH)):
        with pytest.raises(Refusal) as refused:
            write()
        assert refused.value.fault.code == "ledger_unavailable"


def test_pass_serves_and_counts_until_the_disk_is_mended() -> None:
    writer, journal = journalling("pass")
    assert journal.start(START) is False
    journal.start_and_finish(START, FINISH)
    journal.flush()
    assert writer.tallies == []
    writer.mended = True
    journal.flush()
    assert writer.tallies == [Tally("unmetered", "journal", 2)]
    assert journal.start(START) is True


def test_a_failed_finish_makes_the_sweep_try_again_without_traffic() -> None:
    """The writer keeps a FINISH that it could not write, and writes it with the next record: there must be one."""
    writer, journal = journalling("pass")
    journal.finish(FINISH)
    writer.mended = True
    journal.flush()
    assert writer.tallies == [Tally("unmetered", "journal", 0)]
    journal.flush()
    assert len(writer.tallies) == 1, "mended: nothing more to find out"
