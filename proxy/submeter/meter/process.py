"""The meter process: ``python -m submeter.meter``, started by ``submeter serve``.

Like a relay it is handed its settings on stdin and its listening socket as a file descriptor. It leaves last: when its
parent asks it to stop, the relays have gone, and it first ships what they left.
"""

import argparse
import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from submeter.config import Settings, from_json
from submeter.core.errors import Fault, Refusal
from submeter.logs import set_up
from submeter.meter.counting.service import CountingService
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import Metrics
from submeter.meter.ops import Health, make_app, make_runner
from submeter.meter.regressions import ModelChange, RegressionWatch
from submeter.meter.ship import Shipper
from submeter.meter.weekly import NewestReport
from submeter.prices.load import current_snapshot, load_book
from submeter.prices.review import STALE_DAYS, age_days
from submeter.store.ledger import Ledger, LedgerUnavailable
from submeter.store.unit import load_or_create

log = logging.getLogger("submeter")

RETRY_S = 1.0
STOP_S = 60.0
LAG_S = 5.0
CATCH_UP_S = 5.0

CATCHING_UP = Fault(
    503,
    "catching_up",
    "The meter has just started and reads what the relays wrote meanwhile; counters are shown once it has. Try again.",
    retry_after_s=2,
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="submeter.meter", description="The meter; started by `submeter serve`.")
    parser.add_argument("--fd", type=int, required=True)
    arguments = parser.parse_args(argv)
    settings = from_json(sys.stdin.buffer.readline())
    set_up("meter")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent says when to stop
    return asyncio.run(_serve(settings, socket.socket(fileno=arguments.fd)))


async def _serve(settings: Settings, listener: socket.socket) -> int:
    """The exit code: 1 when shipping has failed by a fault of ours, and the parent should start another meter."""
    loop = asyncio.get_running_loop()
    stop, failed = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), _parent_gone, loop, stop)
    counting = CountingService(settings.data_dir)
    await counting.start()
    try:
        return await _meter(settings, listener, stop, failed)
    finally:
        await counting.stop()


async def _meter(settings: Settings, listener: socket.socket, stop: asyncio.Event, failed: asyncio.Event) -> int:
    loop = asyncio.get_running_loop()
    ledger = await _open_ledger(settings, stop)
    if ledger is None:
        return 0

    def on_failure() -> None:
        failed.set()
        stop.set()

    metrics, shipper = await asyncio.to_thread(
        _make_shipper, settings, ledger, lambda: loop.call_soon_threadsafe(on_failure)
    )

    def show_changes(found: tuple[ModelChange, ...]) -> None:
        metrics.latency_changes = found

    newest_report = NewestReport(settings.data_dir)

    def exposition(accept: str) -> tuple[bytes, str]:
        if not shipper.caught_up.wait(CATCH_UP_S):
            raise Refusal(CATCHING_UP)
        metrics.weekly_report = newest_report.look()
        return metrics.exposition(accept)

    app = make_app(settings, exposition=exposition, health=lambda: _health(metrics), note=settings.ops_note)
    runner = make_runner(app)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    shipper.start()
    watch = RegressionWatch(settings, show_changes)
    watch.start()
    log.info("meter ready")
    await stop.wait()
    await watch.stop()
    if not await asyncio.to_thread(shipper.stop, STOP_S):
        log.error("some rows are not in the ledger yet; they wait in the journal for the next start")
    await runner.cleanup()
    ledger.close()
    log.info("meter stopped")
    return int(failed.is_set())


async def _open_ledger(settings: Settings, stop: asyncio.Event) -> Ledger | None:
    """The ledger with today's schema; a database that is down is waited for, since calls go on without it."""
    said = False
    while not stop.is_set():
        ledger = Ledger.open(settings.ledger_url)
        try:
            await asyncio.to_thread(ledger.migrate)
        except LedgerUnavailable as why:
            ledger.close()
            if not said:
                log.error("the ledger cannot be opened (%s); trying again, calls go on", why)
            said = True
            await asyncio.sleep(RETRY_S)
        else:
            return ledger
    return None


def _make_shipper(settings: Settings, ledger: Ledger, on_failure: Callable[[], object]) -> tuple[Metrics, Shipper]:
    configured = {
        "team": settings.labels.team,
        "app": settings.labels.app,
        "prompt": settings.labels.prompt,
        "prompt_version": settings.labels.prompt_version,
    }
    unit = load_or_create(settings.data_dir)
    metrics = Metrics(
        LabelSets(configured, ledger.label_values()),
        upstreams=settings.upstreams,
        workers=settings.workers,
        kept=ledger.counters(unit),
    )
    snapshot = current_snapshot(settings.data_dir)
    days = age_days(snapshot, datetime.now(UTC))
    if days > STALE_DAYS:
        log.warning("the prices were imported %d days ago: run `submeter prices import`, then restart", days)
    imported_at = datetime.fromisoformat(snapshot.imported_at)
    shipper = Shipper(
        settings.data_dir / "journal",
        ledger,
        load_book(settings.prices, settings.data_dir),
        settings.origins,
        metrics,
        unit=unit,
        snapshot_age_s=lambda: (datetime.fromtimestamp(time.time(), UTC) - imported_at).total_seconds(),
        on_failure=on_failure,
    )
    return metrics, shipper


def _health(metrics: Metrics) -> Health:
    state = metrics.state
    reason = None
    if not state.database_up:
        reason = "the ledger cannot be written: calls go on, rows wait in the journal"
    elif state.lag_s > LAG_S:
        reason = "the ledger lags behind the journal"
    return Health(
        ready=True,
        degraded=reason is not None,
        reason=reason,
        in_flight=state.in_flight,
        lag_s=state.lag_s,
        lag_bytes=state.lag_bytes,
    )


def _parent_gone(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """stdin became readable: nothing is ever sent after the settings, so the parent has ended."""
    loop.remove_reader(sys.stdin.fileno())
    stop.set()
