"""``submeter export``: calls and daily sums as Parquet or CSV files, for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from submeter.commands.options import DataDir, LedgerUrl, Since, Until


def export(
    parquet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write Parquet files there.", show_default=False)
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="DIR", help="Write CSV files there.", show_default=False)] = None,
    what: Annotated[
        str, typer.Option(metavar="TABLES", help="calls (a row per call), daily (sums by day and name), or both.")
    ] = "calls,daily",
    since: Since = "all",
    until: Until = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Calls and daily sums as files: every column of the ledger, with the costs of the selected version.

    Money is in integer nano-dollars (1e-9 USD), and once more in dollars as an exact decimal.
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import export_files, reading

    targets = export_files.plan(parquet, csv, what, force=force)
    since_ns = reading.parse_since("--since", since)
    until_ns = None if until is None else reading.parse_since("--until", until)
    with reading.open_ledger(data_dir, ledger) as opened:
        export_files.write_all(opened, targets, since_ns, until_ns)
