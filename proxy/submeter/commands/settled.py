"""``--settled``: wait until every call that had begun is a row."""

import time
from collections.abc import Set
from pathlib import Path

import typer
from rich.console import Console
from rich.status import Status

from submeter.commands.tables import plural
from submeter.journal.reader import started_calls
from submeter.store.ledger import CallKey, Ledger

POLL_S = 0.1
QUIET_S = 1.0
"""For so long nothing is said: most waits are shorter."""


def require_settled(ledger: Ledger, journal_dir: Path, timeout_s: float) -> None:
    """Wait for the calls whose START stands in the journal now; after ``timeout_s`` say so and exit with 1."""
    begun = started_calls(journal_dir)
    missing = wait_until_settled(ledger, begun, timeout_s)
    if missing:
        typer.echo(
            f"submeter: {missing} of {len(begun)} calls have not settled in {timeout_s:g} s: they may still be "
            "running, or no meter is; `submeter doctor` looks",
            err=True,
        )
        raise typer.Exit(1)


def wait_until_settled(ledger: Ledger, begun: Set[CallKey], timeout_s: float) -> int:
    """Poll until the ledger knows all these attempts. Returns how many it still misses: 0, unless time ran out."""
    started = time.monotonic()
    missing = _missing(ledger, begun)
    status = Console(stderr=True).status("")
    try:
        while missing:
            waited_s = time.monotonic() - started
            if waited_s >= timeout_s:
                break
            if waited_s >= QUIET_S:
                _say(status, f"waiting for {plural(len(missing), 'call')} to settle")
            time.sleep(POLL_S)
            missing = _missing(ledger, missing)
    finally:
        status.stop()
    return len(missing)


def _say(status: Status, text: str) -> None:
    """A spinner in a terminal; elsewhere a line, whenever it has something new to say."""
    if status.console.is_terminal:
        status.update(text)
        status.start()
    elif status.status != text:
        status.update(text)
        status.console.print(text)


def _missing(ledger: Ledger, wanted: Set[CallKey]) -> Set[CallKey]:
    return wanted - ledger.known({call_id for call_id, _ in wanted})
