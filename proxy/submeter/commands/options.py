"""Options that several commands share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where `submeter serve` keeps its data.", show_default=False)
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Instead of ./submeter.yaml.", show_default=False)
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="URL",
        help="The ledger itself: a SQLite file, sqlite:////path or postgresql://…",
        show_default=False,
    ),
]
Since = Annotated[
    str,
    typer.Option(
        help="Calls begun since then: 7d, 24h, 30m, a day (2026-11-20, UTC), a time (2026-11-20T08:30:00Z), all."
    ),
]
Until = Annotated[str | None, typer.Option(help="Calls begun before then; the same forms.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, and nothing else there.")]
