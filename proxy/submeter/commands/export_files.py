"""Which files ``submeter export`` writes, and what it says while it does."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from submeter.commands import tables
from submeter.errors import UsageError
from submeter.store.export import TABLES, Table, write_file
from submeter.store.ledger import Ledger

ROWS_PER_STEP = 1000
"""Of the progress that is shown."""


class Target(NamedTuple):
    table: Table
    path: Path
    format: str


def plan(parquet: Path | None, csv: Path | None, what: str, *, force: bool) -> list[Target]:
    """What is to be written where. Raises ``UsageError``, before anything was."""
    if parquet is None and csv is None:
        raise UsageError("nowhere to write: name a directory with --parquet DIR or --csv DIR")
    if parquet is not None and csv is not None:
        raise UsageError("--parquet and --csv exclude each other: choose one, or run it twice")
    directory, kind = (csv, "csv") if parquet is None else (parquet, "parquet")
    assert directory is not None
    if kind == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError("Parquet files need pyarrow: pip install 'submeter[parquet]', or use --csv DIR")
    targets = [Target(TABLES[name], directory / f"{name}.{kind}", kind) for name in _names(what)]
    there = [str(target.path) for target in targets if target.path.exists()]
    if there and not force:
        raise UsageError(f"already there: {', '.join(there)}; --force replaces, another directory keeps")
    return targets


def _names(what: str) -> list[str]:
    names = [name.strip() for name in what.split(",") if name.strip()]
    unknown = [name for name in names if name not in TABLES]
    if unknown or not names:
        raise UsageError(f"--what takes {' and '.join(TABLES)}, comma-separated, not {what!r}")
    return list(dict.fromkeys(names))


def write_all(ledger: Ledger, targets: list[Target], since_ns: int | None, until_ns: int | None) -> None:
    """Write the files, with progress on stderr; what was written is said on stdout. Raises ``UsageError``."""
    for table, path, kind in targets:
        rows = _Counted(table.rows(ledger, since_ns, until_ns), table.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with rows.progress:
                write_file(path, kind, table.columns, iter(rows))
        except OSError as error:
            raise UsageError(f"cannot write {path} ({error.strerror}): mend it, or name another directory") from None
        tables.make_console().print(f"{path}  {tables.plural(rows.number, 'row')}", markup=False, soft_wrap=True)


class _Counted:
    """Rows on their way into a file, counted where somebody can watch."""

    def __init__(self, rows: Iterator[tuple[object, ...]], name: str) -> None:
        self._rows = rows
        self.number = 0
        columns = (SpinnerColumn(), TextColumn(f"{name}  {{task.completed:,}} rows"), TimeElapsedColumn())
        console = Console(stderr=True)
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self.progress.add_task(name, total=None)

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        for row in self._rows:
            yield row
            self.number += 1
            if self.number % ROWS_PER_STEP == 0:
                self.progress.update(self._task, completed=self.number)
