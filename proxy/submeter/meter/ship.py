"""Journal -> settled calls -> priced rows -> ledger. One thread; it never gives up and never loses its place.

Each pass reads what the relays have written, prices what has settled, counts it for the metrics, and ships it together
with how far each journal was read. While the database is down, reading goes on up to ``MAX_PENDING`` rows, so that the
counters follow the journal; beyond that the journal keeps what waits.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from submeter.core.collected import is_derived
from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CallRow, Tally
from submeter.core.settle import settle
from submeter.journal.directory import list_sequences, segment_path
from submeter.journal.open_calls import OpenCalls, Settled
from submeter.journal.reader import JournalReader, Position, relay_directories, remove_until, writer_alive
from submeter.meter.metrics import Metrics, State
from submeter.store.ledger import Cursor, Ledger, LedgerUnavailable

log = logging.getLogger("submeter")

POLL_S = 0.05
RETRY_S = 0.5
READ_RECORDS = 2000
BATCH_ROWS = 500
MAX_PENDING = 50_000
MAX_MET = 200_000
"""Twice the largest batch; about 40 MB, for those who fetch as much."""


class _Journal:
    """One relay's directory: what was read of it, what is committed."""

    def __init__(self, directory: Path, committed: Position | None) -> None:
        self.directory = directory
        self.reader = JournalReader(directory)
        self.calls = OpenCalls(committed)
        self.committed = committed
        self.read_to = committed
        self.alive = False
        self.damage_seen = 0

    def read(self) -> tuple[list[Settled], list[Tally], int]:
        """(settled calls, tallies, records read)."""
        self.alive = writer_alive(self.directory)  # before the read, or a last record could be missed
        entries = self.reader.read(READ_RECORDS)
        settled: list[Settled] = []
        tallies: list[Tally] = []
        for entry in entries:
            settled += self.calls.feed(entry)
            if isinstance(entry.record, Tally) and not self.calls.is_committed(entry):
                tallies.append(entry.record)
        if entries and (self.read_to is None or entries[-1].position > self.read_to):
            self.read_to = entries[-1].position
        if not entries and not self.alive:
            settled += self.calls.writer_dead()
        return settled, tallies, len(entries)

    def unread_bytes(self) -> int:
        at = self.read_to or Position(0, 0)
        total = 0
        for sequence in list_sequences(self.directory):
            if sequence >= at.sequence:
                total += _size(segment_path(self.directory, sequence))
        return max(0, total - (at.offset if total else 0))

    def remove_shipped(self) -> None:
        """Segments that are in the ledger, and that no open call needs after a restart."""
        if self.committed is not None:
            remove_until(self.directory, self.calls.lowest_sequence(self.committed))


class _Met:
    """The ids that may come again, as their answers may be fetched again (``core.collected``). The ledger has each
    once by its key; the metrics count a call once by this, as long as no more than ``MAX_MET`` others come between."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def is_new(self, call_id: str) -> bool:
        if not is_derived(call_id):
            return True
        new = call_id not in self._ids
        self._ids.pop(call_id, None)  # so that it is the youngest again
        self._ids[call_id] = None
        if len(self._ids) > MAX_MET:
            del self._ids[next(iter(self._ids))]
        return new


class Shipper:
    """Runs in its own thread from ``start`` until ``stop``, which returns when everything written so far is shipped."""

    def __init__(
        self,
        journal_dir: Path,
        ledger: Ledger,
        book: PriceBook,
        origins: Mapping[str, Origin],
        metrics: Metrics,
        snapshot_age_s: Callable[[], float | None] = lambda: None,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self._journal_dir = journal_dir
        self._ledger = ledger
        self._book = book
        self._origins = origins
        self._metrics = metrics
        self._snapshot_age_s = snapshot_age_s
        self._on_failure = on_failure
        self._journals: dict[str, _Journal] = {}
        self._cursors: dict[str, Cursor] = ledger.cursors()
        self._pending: list[CallRow] = []
        self._met = _Met()
        self._oldest_pending_s: float | None = None
        self._database_up = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ship", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ship the rest; False when it could not be done in time (the journal keeps it)."""
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException:  # a fault of ours: the process must not go on without its main job
            self._on_failure()
            raise

    def _loop(self) -> None:
        retry_at = 0.0
        while True:
            last_pass = self._stopping.is_set()
            try:
                read = self._read() if len(self._pending) < MAX_PENDING else 0
                if time.monotonic() >= retry_at:
                    self._ship()
            except LedgerUnavailable as why:
                retry_at = time.monotonic() + RETRY_S
                read = 0
                self._say_down(why)
            except OSError as why:
                read = 0
                log.error("the journal cannot be read (%s); trying again", why.strerror)
                time.sleep(RETRY_S)
            self._publish_state()
            if last_pass and not read and not self._pending:
                return
            if not read:
                self._stopping.wait(POLL_S) if not last_pass else time.sleep(POLL_S)

    def _read(self) -> int:
        """Read, settle and count what the relays have written; how many records that was."""
        total = 0
        for directory in relay_directories(self._journal_dir):
            journal = self._journal(directory)
            settled, tallies, read = journal.read()
            total += read
            for tally in tallies:
                self._metrics.tally(tally)
            for call in settled:
                self._settle(call)
            damage = journal.reader.corrupt_records + journal.reader.missing_records + journal.calls.orphan_finishes
            if damage > journal.damage_seen:
                self._metrics.damaged(damage - journal.damage_seen)
                journal.damage_seen = damage
        return total

    def _settle(self, call: Settled) -> None:
        row = settle(call.start, call.finish, self._book, self._origins, call.progress)
        if self._met.is_new(row.call_id):
            self._metrics.settled(row)
        if not self._pending:
            self._oldest_pending_s = time.monotonic()
        self._pending.append(row)

    def _ship(self) -> None:
        """Rows first, in batches; the cursors go with the last one, so that they never claim more than is there."""
        moved = {
            name: journal.read_to
            for name, journal in self._journals.items()
            if journal.read_to is not None and journal.read_to != journal.committed
        }
        if not moved and not self._pending:
            return
        rows = sorted(self._pending, key=lambda row: row.call_id)
        while len(rows) > BATCH_ROWS:
            self._count_refused(self._ledger.ship(rows[:BATCH_ROWS], {}).refused)
            rows = rows[BATCH_ROWS:]
        new_labels = self._metrics.labels.take_new()
        cursors = {name: Cursor(at.sequence, at.offset, 0) for name, at in moved.items()}
        try:
            self._count_refused(self._ledger.ship(rows, cursors, new_labels).refused)
        except LedgerUnavailable:
            self._metrics.labels.new[:0] = new_labels
            raise
        self._pending.clear()
        self._oldest_pending_s = None
        for name, at in moved.items():
            self._journals[name].committed = at
            self._journals[name].remove_shipped()
        if not self._database_up:
            log.warning("the ledger is written again")
            self._database_up = True

    def _count_refused(self, refused: int) -> None:
        if refused:
            self._metrics.quarantined(refused)
            log.error("the ledger refused %d rows; they are kept in the table quarantine", refused)

    def _journal(self, directory: Path) -> _Journal:
        journal = self._journals.get(directory.name)
        if journal is None:
            cursor = self._cursors.get(directory.name)
            committed = None if cursor is None else Position(cursor.segment, cursor.offset)
            journal = self._journals[directory.name] = _Journal(directory, committed)
        return journal

    def _publish_state(self) -> None:
        journals = self._journals.values()
        oldest = self._oldest_pending_s
        self._metrics.state = State(
            in_flight=sum(len(journal.calls) for journal in journals),
            lag_s=0.0 if oldest is None else time.monotonic() - oldest,
            lag_bytes=sum(journal.unread_bytes() for journal in journals),
            relays=sum(journal.alive for journal in journals),
            database_up=self._database_up,
            price_snapshot_age_s=self._snapshot_age_s(),
        )

    def _say_down(self, why: LedgerUnavailable) -> None:
        if self._database_up:
            log.error("the ledger cannot be written (%s); calls go on, rows wait in the journal", why)
        self._database_up = False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
