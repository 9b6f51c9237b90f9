"""The options that override settings, as `serve` and `doctor` share them. Their defaults stand in the settings."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file (default: ./submeter.yaml, if any).")
]
Host = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Address of the data plane (127.0.0.1).")]
Port = Annotated[int | None, typer.Option("--port", metavar="PORT", help="Port of the data plane (4100).")]
OpsPort = Annotated[
    int | None, typer.Option("--ops-port", metavar="PORT", help="Port of page, metrics and API (4101).")
]
Workers = Annotated[int | None, typer.Option("--workers", metavar="N", help="Relay processes (1).")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Journal, keys, ledger (~/.local/state/submeter).")
]
Upstream = Annotated[
    list[str] | None,
    typer.Option("--upstream", metavar="[NAME=]URL", help="Base URL of openai, or of upstream NAME; repeatable."),
]
Redis = Annotated[str | None, typer.Option("--redis", metavar="URL", help="Share the cache through Redis.")]
LedgerUrl = Annotated[
    str | None, typer.Option("--ledger", metavar="URL", help="Ledger (SQLite in the data directory).")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Answer nothing from the cache.")]
Open = Annotated[bool, typer.Option("--open", help="A public --host may serve anyone, without proxy keys.")]
