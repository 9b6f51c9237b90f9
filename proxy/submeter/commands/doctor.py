"""``submeter doctor``: what is wrong, and how to mend it."""

from typing import TYPE_CHECKING

import typer

from submeter.commands.options import Json
from submeter.commands.settings_options import Config, DataDir, Host, LedgerUrl, OpsPort, Port, Redis, Upstream

if TYPE_CHECKING:
    from submeter.commands.checks import Finding

FOUND_SOMETHING = 1


def doctor(
    config: Config = None,
    host: Host = None,
    port: Port = None,
    ops_port: OpsPort = None,
    data_dir: DataDir = None,
    upstream: Upstream = None,
    redis: Redis = None,
    ledger: LedgerUrl = None,
    as_json: Json = False,
) -> None:
    """Look at everything that submeter needs, and say how to mend what is wrong. Exit code 1 if something is.

    Asks each upstream for its address without a credential, which costs nothing.
    """
    # Imported here: it takes half a second (SQL, Redis), which `submeter --help` and `serve` must not pay.
    from submeter.commands.checks import examine
    from submeter.commands.checks.finding import problem
    from submeter.config import Flags, load_settings, sdk_base_url
    from submeter.errors import UsageError

    flags = Flags(
        host=host, port=port, ops_port=ops_port, data_dir=data_dir, upstream=upstream, redis=redis, ledger=ledger
    )
    try:
        settings = load_settings(config, **flags)
    except UsageError as error:
        findings = [problem("configuration", str(error), "mend it, then run `submeter doctor` again")]
    else:
        findings = examine(settings, sdk_base_url())
    healthy = all(finding.state != "problem" for finding in findings)
    if as_json:
        _write_json(findings, healthy)
    else:
        _print(findings)
    if not healthy:
        raise typer.Exit(FOUND_SOMETHING)


def _write_json(findings: "list[Finding]", healthy: bool) -> None:
    from submeter.commands.reading import write_json

    write_json({"healthy": healthy, "findings": findings})


def _print(findings: "list[Finding]") -> None:
    from rich.text import Text

    from submeter.commands.tables import make_console, plain

    marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}
    width = max(len(finding.check) for finding in findings)
    console = make_console()
    for finding in findings:
        mark, colour = marks[finding.state]
        console.print(Text(f"{mark} ", style=colour) + plain(finding.check.ljust(width)) + "  " + plain(finding.text))
        if finding.mend is not None:
            console.print(Text(" " * (width + 4) + "→ ", style=colour) + plain(finding.mend))
    wrong = sum(finding.state == "problem" for finding in findings)
    console.print(f"{wrong} of {len(findings)} checks found something wrong", style="bold" if wrong else "green")
