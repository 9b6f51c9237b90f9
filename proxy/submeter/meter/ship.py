"""Journal -> settled calls -> priced rows -> ledger. One thread; it never gives up and never loses its place.

Each pass reads what the relays have written, prices what has settled, counts it for the metrics, and ships it together
with how far each journal was read and what the counters were then. While the database is down, reading goes on up to
``MAX_PENDING`` rows, so that the counters follow the journal; beyond that the journal keeps what waits.

Counters after a restart, of any kind: what was committed is where the counters begin, and the rest is still in the
journal. So no call is counted twice, and none is lost. The meter before may have *shown* more than it had committed,
and a counter that comes back lower is a reset for Prometheus, which then counts the whole of it again. Therefore
nothing is shown before ``caught_up``: the journals have been read to their ends, and so at least as far as by any meter
before (or, with the database down, as far ahead of it as any would go). Rows shipped are shown once they are committed.
Only what a dead relay left open could be shown and come back later, if the meter is killed in the milliseconds between
counting and committing it, and the relay's successor is there and has not written yet.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from submeter.core.collected import is_derived
from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CallRow
from submeter.core.settle import settle
from submeter.journal.open_calls import Settled
from submeter.journal.reader import relay_directories, started_in
from submeter.meter.families import State
from submeter.meter.metrics import Metrics
from submeter.meter.reading import Met, RelayJournal
from submeter.store.ledger import Cursor, Ledger, LedgerUnavailable

log = logging.getLogger("submeter")

POLL_S = 0.05
RETRY_S = 0.5
BATCH_ROWS = 500
MAX_PENDING = 50_000


class Shipper:
    """Runs in its own thread from ``start`` until ``stop``, which returns when everything written so far is shipped."""

    def __init__(
        self,
        journal_dir: Path,
        ledger: Ledger,
        book: PriceBook,
        origins: Mapping[str, Origin],
        metrics: Metrics,
        *,
        unit: str,
        snapshot_age_s: Callable[[], float | None] = lambda: None,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self._journal_dir = journal_dir
        self._ledger = ledger
        self._book = book
        self._origins = origins
        self._metrics = metrics
        self._unit = unit
        self._snapshot_age_s = snapshot_age_s
        self._on_failure = on_failure
        self._journals: dict[str, RelayJournal] = {}
        self._cursors = own_cursors(ledger, unit, journal_dir)
        self._pending: list[CallRow] = []
        self._met = Met(ledger)
        self._oldest_pending_s: float | None = None
        self._database_up = True
        self.caught_up = threading.Event()
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
                self._judge_catching_up()
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
            self._met.look_up(call.start.call_id for call in settled)
            for call in settled:
                self._settle(call)
            if damage := journal.new_damage():
                self._metrics.damaged(damage)
        return total

    def _settle(self, call: Settled) -> None:
        if not self._met.is_new(call.start.call_id):
            return
        row = settle(call.start, call.finish, self._book, self._origins, call.progress)
        self._metrics.settled(row)
        if not self._pending:
            self._oldest_pending_s = time.monotonic()
        self._pending.append(row)

    def _judge_catching_up(self) -> None:
        if all(journal.at_end for journal in self._journals.values()) or len(self._pending) >= MAX_PENDING:
            self.caught_up.set()

    def _ship(self) -> None:
        """Rows first, in batches; cursors and counters go with the last one, so that they never claim more than is
        there. Rows that are looked up there again go last too, or a crash in between would leave them uncounted."""
        moved = {
            name: cursor
            for name, journal in self._journals.items()
            if (cursor := journal.cursor) is not None and cursor != journal.committed
        }
        if not moved and not self._pending and not self._metrics.has_changed:
            return
        rows = sorted(self._pending, key=lambda row: (is_derived(row.call_id), row.call_id))
        while len(rows) > BATCH_ROWS:
            self._count_refused(self._ledger.ship(rows[:BATCH_ROWS], {}).refused)
            rows = rows[BATCH_ROWS:]
        self._commit(rows, moved)
        self._pending.clear()
        self._oldest_pending_s = None
        for name, cursor in moved.items():
            self._journals[name].commit(cursor)
        if not self._database_up:
            log.warning("the ledger is written again")
            self._database_up = True

    def _commit(self, rows: list[CallRow], cursors: Mapping[str, Cursor]) -> None:
        shipping = len(self._pending)
        new_labels = self._metrics.labels.take_new()
        counters = self._metrics.changes(shipping)
        try:
            shipped = self._ledger.ship(rows, cursors, new_labels, counters, unit=self._unit)
        except LedgerUnavailable:
            self._metrics.labels.new[:0] = new_labels
            raise
        self._metrics.committed(shipping)
        self._count_refused(shipped.refused)

    def _count_refused(self, refused: int) -> None:
        if refused:
            self._metrics.quarantined(refused)
            log.error("the ledger refused %d rows; they are kept in the table quarantine", refused)

    def _journal(self, directory: Path) -> RelayJournal:
        journal = self._journals.get(directory.name)
        if journal is None:
            committed = self._cursors.get(directory.name)
            journal = self._journals[directory.name] = RelayJournal(directory, committed)
        return journal

    def _publish_state(self) -> None:
        journals = self._journals.values()
        oldest = self._oldest_pending_s
        self._metrics.state = State(
            in_flight=sum(map(len, journals)),
            lag_s=0.0 if oldest is None else time.monotonic() - oldest,
            lag_bytes=sum(journal.unread_bytes() for journal in journals),
            relays=sum(journal.alive for journal in journals),
            database_up=self._database_up,
            price_snapshot_age_s=self._snapshot_age_s(),
        )

    def _say_down(self, why: LedgerUnavailable) -> None:
        self._metrics.shipping_failed()
        if self._database_up:
            log.error("the ledger cannot be written (%s); calls go on, rows wait in the journal", why)
        self._database_up = False


def own_cursors(ledger: Ledger, unit: str, journal_dir: Path) -> dict[str, Cursor]:
    """The unit's cursors, by relay directory name.

    One that has none yet may have written some before units had names, under names that another host's relays may
    have too. They are its own where calls of its journals are in the ledger: then they are taken over, and nothing
    is shipped and counted anew.
    """
    cursors = ledger.cursors(unit)
    nameless = {} if cursors else ledger.cursors("")
    if not nameless:
        return cursors
    directories = [directory for directory in relay_directories(journal_dir) if directory.name in nameless]
    own = [each.name for each in directories if ledger.known(call_id for call_id, _ in started_in(each))]
    ledger.adopt_cursors(unit, own)
    return ledger.cursors(unit)
