"""Checks of money and rows: the price book, what it does not price, what the journal still holds."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from submeter.commands.checks.finding import Finding, ok, problem, warning
from submeter.config import Settings
from submeter.errors import UsageError
from submeter.journal.directory import QUARANTINE_NAME, list_sequences, relay_directories, segment_path
from submeter.prices.load import current_snapshot, load_book
from submeter.prices.review import STALE_DAYS, age_days
from submeter.store import unit
from submeter.store.ledger import Cursor, Ledger, LedgerUnavailable
from submeter.store.queries import cost_by

WEEK_NS = 7 * 86_400 * 1_000_000_000
SHOWN_MODELS = 5


def prices(settings: Settings) -> Iterator[Finding]:
    try:
        load_book(settings.prices, settings.data_dir)
        snapshot = current_snapshot(settings.data_dir)
    except UsageError as error:
        yield problem("prices", str(error), "mend it; until then nothing can be priced")
        return
    days = age_days(snapshot, datetime.now(UTC))
    text = f"{snapshot.id}, {days} days old, {len(settings.prices)} of your own"
    if days > STALE_DAYS:
        yield warning("prices", text, "run `submeter prices import` with a newer litellm, a file or a URL")
    else:
        yield ok("prices", text)


def ledger(settings: Settings) -> Iterator[Finding]:
    """Unpriced models and unread journals, where there is a ledger to ask."""
    if settings.ledger is None and not (settings.data_dir / "ledger.sqlite3").exists():
        yield ok("ledger", "none yet; `submeter serve` makes it")
        return
    try:
        with Ledger.open(settings.ledger_url, read_only=True) as opened:
            unpriced = cost_by(opened, ["model"], time.time_ns() - WEEK_NS)
            cursors = opened.cursors(unit.load(settings.data_dir))
    except (UsageError, LedgerUnavailable, OSError) as error:
        yield problem("ledger", f"cannot be read: {error}", "bring the database up, or check --ledger and --data-dir")
        return
    yield from _unpriced([(line.group["model"] or "(none)", line.unpriced_calls) for line in unpriced])
    yield from _journal(settings.data_dir / "journal", cursors, settings.journal.quota_bytes)


def _unpriced(calls_by_model: list[tuple[str, int]]) -> Iterator[Finding]:
    found = sorted(((calls, model) for model, calls in calls_by_model if calls > 0), reverse=True)
    if not found:
        yield ok("pricing", "every model of the last 7 days has a price")
    for calls, model in found[:SHOWN_MODELS]:
        text = f"{model}: {calls:,} calls of the last 7 days have no price, and are in no total"
        yield problem("pricing", text, "add it under prices: in submeter.yaml, or run `submeter prices import`")
    if len(found) > SHOWN_MODELS:
        rest = len(found) - SHOWN_MODELS
        yield problem("pricing", f"{rest} more models have no price", "`submeter cost --by model` lists them")


def _journal(directory: Path, cursors: dict[str, Cursor], quota_bytes: int) -> Iterator[Finding]:
    relays = relay_directories(directory)
    waiting = sum(waiting_bytes(relay, cursors.get(relay.name)) for relay in relays)
    text = f"{waiting:,} bytes wait for the ledger"
    if waiting > quota_bytes // 2:
        yield problem(
            "journal", f"{text}, of {quota_bytes:,} allowed", "let `submeter serve` run: its meter reads them"
        )
    else:
        yield ok("journal", text)
    for relay in relays:
        damaged = relay / QUARANTINE_NAME
        if damaged.is_dir() and any(damaged.iterdir()):
            mend = "keep it for a bug report, then remove it; the calls in it may be missing from the ledger"
            yield problem("journal", f"damaged records were put aside in {damaged}", mend)


def waiting_bytes(relay: Path, cursor: Cursor | None) -> int:
    """Bytes of a relay's segments that the ledger has not taken in. A segment may vanish while we look."""
    total = 0
    for sequence in list_sequences(relay):
        if cursor is not None and sequence < cursor.segment:
            continue
        path = segment_path(relay, sequence)
        size = path.stat().st_size if path.exists() else 0
        total += size - cursor.offset if cursor is not None and sequence == cursor.segment else size
    return max(total, 0)
