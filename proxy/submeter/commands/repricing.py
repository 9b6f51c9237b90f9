"""Repricing as a stream: row → the same row at other prices → what changes, and the new version's costs."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CallRow
from submeter.core.resettle import resettle
from submeter.store.ledger import Ledger
from submeter.store.versions import NewCost, Version, add_version, stored_rows

NOTED_EVERY = 1000
"""Rows between two movements of the progress line."""


class Job(msgspec.Struct, frozen=True):
    book: PriceBook
    origins: Mapping[str, Origin]
    since_ns: int | None
    until_ns: int | None
    note: str


class Change(msgspec.Struct):
    """What repricing does to one team's calls of one model. ``None``: calls that name none."""

    model: str | None
    team: str | None
    calls: int = 0
    changed: int = 0
    """Calls whose money is another one now."""
    before_nano_usd: int = 0
    """Of exact and estimated costs, as in ``after``."""
    after_nano_usd: int = 0
    unpriced_before: int = 0
    unpriced_after: int = 0
    saved_before_nano_usd: int = 0
    saved_after_nano_usd: int = 0


class Changes:
    """Adds up differences as rows go by."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str | None, str | None], Change] = {}

    def note(self, before: CallRow, after: CallRow) -> None:
        model = before.model_requested if before.model_served is None else before.model_served
        line = self.lines.setdefault((model, before.team), Change(model, before.team))
        line.calls += 1
        line.changed += _money(before) != _money(after)
        line.before_nano_usd += _known(before.cost_nano_usd)
        line.after_nano_usd += _known(after.cost_nano_usd)
        line.unpriced_before += before.cost_state == "unpriced"
        line.unpriced_after += after.cost_state == "unpriced"
        line.saved_before_nano_usd += _known(before.saved_nano_usd)
        line.saved_after_nano_usd += _known(after.saved_nano_usd)

    def by_size(self) -> list[Change]:
        """The largest difference first."""
        return sorted(
            self.lines.values(),
            key=lambda line: (-abs(line.after_nano_usd - line.before_nano_usd), line.model or "", line.team or ""),
        )

    def total(self) -> Change:
        total = Change(None, None)
        for line in self.lines.values():
            for name in Change.__struct_fields__[2:]:
                setattr(total, name, getattr(total, name) + getattr(line, name))
        return total


def run(ledger: Ledger, job: Job, *, dry_run: bool) -> tuple[Changes, Version | None]:
    """Reprice the calls begun in [since, until); no version where nothing is written."""
    changes = Changes()
    costs = _costs(with_progress(stored_rows(ledger, job.since_ns, job.until_ns), "repricing"), job, changes)
    if dry_run:
        for _ in costs:
            pass
        return changes, None
    snapshot = job.book.snapshot_id
    version = add_version(ledger, "reprice", job.note, snapshot, job.since_ns, job.until_ns, costs, select=True)
    return changes, version


def _costs(rows: Iterable[CallRow], job: Job, changes: Changes) -> Iterator[NewCost]:
    for row in rows:
        if row.cost_state == "unmetered":
            continue
        priced = resettle(row, job.book, job.origins)
        changes.note(row, priced)
        yield NewCost.of(priced)


def _known(nano_usd: int | None) -> int:
    """What a sum of known amounts has of it."""
    return 0 if nano_usd is None else nano_usd


def _money(row: CallRow) -> tuple[object, ...]:
    return row.cost_state, row.cost_nano_usd, row.cost_low_nano_usd, row.cost_high_nano_usd, row.saved_nano_usd


def with_progress(rows: Iterable[CallRow], doing: str) -> Iterator[CallRow]:
    """The rows, and a line on stderr that moves while they are read."""
    columns = SpinnerColumn(), TextColumn(doing + ": {task.completed:,} calls")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        for number, row in enumerate(rows, start=1):
            if number % NOTED_EVERY == 0:
                progress.update(task, completed=number)
            yield row
