"""What ``submeter dashboards`` says: to people, or as one JSON document."""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from submeter.commands import reading, tables
from submeter.commands.dashboards_files import Finding
from submeter.commands.dashboards_pushing import Asked
from submeter.commands.tables import plain, plural
from submeter.dashboards.push import Change

MAX_LINES = 20
"""Differences shown of one board; --json has them all."""

STYLES = {"create": "green", "update": "yellow", "same": "dim"}
DONE = {"create": "created", "update": "updated", "same": "same"}


def say_written(directory: Path, changed: Sequence[str]) -> None:
    console = tables.make_console()
    for path in changed:
        console.print(plain(directory / path), soft_wrap=True)
    if not changed:
        console.print(plain(f"{directory}: everything was as it should be"), soft_wrap=True)


def say_checked(directory: Path, findings: Sequence[Finding], rules: str | None, files: int) -> int:
    """Print what was found, and return the exit code."""
    console = tables.make_console()
    for finding in findings:
        console.print(plain(f"{directory / finding.path} {finding.what}"), soft_wrap=True)
    if findings:
        _aside(f"mend with: submeter dashboards build --out {directory}")
    if rules is None:
        _aside("promtool is not installed: the rules were not checked (Debian: apt-get install prometheus)")
    elif rules:
        for line in rules.splitlines():
            console.print(plain(f"promtool: {line}"), soft_wrap=True)
    if findings or rules:
        return 1
    checked = "" if rules is None else ", and promtool agrees"
    console.print(plain(f"{directory}: {plural(files, 'file')} as they would be built now{checked}"), soft_wrap=True)
    return 0


def say_pushed(asked: Asked, changes: Sequence[Change], *, as_json: bool) -> int:
    """Print what was changed, or would be, and return the exit code."""
    changed = [change for change in changes if change.action != "same"]
    if as_json:
        document = [_document(change) for change in changes]
        reading.write_json({"url": asked.url, "dry_run": asked.dry_run, "changed": len(changed), "changes": document})
    else:
        _print_changes(tables.make_console(), asked, changes, len(changed))
    return 1 if asked.dry_run and changed else 0


def _print_changes(console: Console, asked: Asked, changes: Sequence[Change], changed: int) -> None:
    for change in changes:
        word = change.action if asked.dry_run else DONE[change.action]
        console.print(Text.assemble((f"{word:8}", STYLES[change.action]), f"{change.kind:13}", plain(change.name)))
        for difference in change.differences[:MAX_LINES]:
            console.print(Text("        ").append_text(plain(difference)), soft_wrap=True)
        if len(change.differences) > MAX_LINES:
            console.print(f"        and {len(change.differences) - MAX_LINES:,} more: --json has them all")
    if asked.dry_run and changed:
        console.print(f"{plural(changed, 'change')} to make: nothing was written, leave out --dry-run to do so")
    elif not changed:
        console.print("nothing to change")


def _document(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind,
        "uid": change.uid,
        "name": change.name,
        "action": change.action,
        "differences": [
            {"path": found.path, "grafana": found.theirs, "ours": found.ours} for found in change.differences
        ],
    }


def _aside(line: str) -> None:
    sys.stdout.flush()
    typer.echo(line, err=True)
