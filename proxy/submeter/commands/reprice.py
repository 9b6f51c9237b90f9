"""``submeter reprice``: the recorded calls at other prices, as a new version beside the original."""

from typing import Annotated

import typer

from submeter.commands.options import Config, DataDir, Json, LedgerUrl, Since, Until


def reprice(
    since: Since = "7d",
    until: Until = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="At these prices: an id that `submeter prices import` has archived, a file, or shipped; "
            "without it, at those in force now.",
            show_default=False,
        ),
    ] = None,
    note: Annotated[str, typer.Option(help="Why; for --list.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    list_versions: Annotated[bool, typer.Option("--list", help="Show the versions, and which is selected.")] = False,
    select: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="From now on every command and the page show this version; original undoes all.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Recompute what calls cost from their stored usage, and show what changes by model and team.

    The rows stay as they are: the new costs are a version of their own, which is selected. Each call is priced as of
    the moment it began, for the model and the tier that its answer named.
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import reading, reprice_output, repricing
    from submeter.config import load_settings
    from submeter.errors import UsageError
    from submeter.prices import load_book
    from submeter.store import versions

    if list_versions and select is not None:
        raise UsageError("--list and --select exclude each other: choose one")
    settings = load_settings(config, data_dir=data_dir, ledger=ledger)
    with reading.open_to_write(settings) as opened:
        if select is not None:
            versions.select_version(opened, select)
        if list_versions or select is not None:
            reprice_output.write_versions(versions.versions(opened), as_json=as_json)
            return
        job = repricing.Job(
            book=load_book(settings.prices, settings.data_dir, snapshot),
            origins=settings.origins,
            since_ns=reading.parse_since("--since", since),
            until_ns=None if until is None else reading.parse_since("--until", until),
            note=note,
        )
        changes, version = repricing.run(opened, job, dry_run=dry_run)
        reprice_output.write_changes(changes, version, job.book.snapshot_id, as_json=as_json)
