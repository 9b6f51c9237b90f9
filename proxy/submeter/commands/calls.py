"""``submeter calls`` and ``submeter calls show``: the rows themselves."""

from typing import Annotated

import typer

from submeter.commands.options import DataDir, Json, LedgerUrl

DEFAULT_LAST = 20
"""How many a table shows if nothing is asked; JSON gives all."""

app = typer.Typer(help="List calls; `calls show CALL_ID` shows one in full.")


@app.callback(invoke_without_command=True)
def list_calls(
    context: typer.Context,
    last: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the newest N (a table without limits: 20).", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only calls begun since then: 7d, 24h, a day, a time (UTC).", show_default=False),
    ] = None,
    settled: Annotated[
        bool, typer.Option("--settled", help="First wait until every call begun before now is a row.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option(min=0, help="How long --settled waits before it gives up with exit code 1.")
    ] = 600.0,
    as_json: Json = False,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Calls, oldest first: who asked what, tokens, cost, time to first token, how it ended.

    With --json one object per line, with every column; cost in integer nano-dollars (1e-9 USD).
    """
    if context.invoked_subcommand is not None:
        context.obj = (data_dir, ledger)
        return
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import calls_output, reading
    from submeter.commands.settled import require_settled
    from submeter.store import queries

    since_ns = None if since is None else reading.parse_since("--since", since)
    with reading.open_ledger(data_dir, ledger) as opened:
        if settled:
            require_settled(opened, reading.journal_dir(data_dir), timeout_s)
        if as_json:
            calls_output.write_json_lines(queries.calls(opened, last, since_ns))
        else:
            limit = DEFAULT_LAST if last is None and since is None else last
            calls_output.print_list(queries.calls(opened, limit, since_ns))


@app.command()
def show(
    context: typer.Context,
    call_id: Annotated[str, typer.Argument(help="As in `submeter calls` and the header x-submeter-call-id.")],
    as_json: Json = False,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """One call in full: every column of every attempt, tokens and cost by class."""
    from submeter.commands import calls_output, reading
    from submeter.errors import UsageError
    from submeter.store import queries

    outer_data_dir, outer_ledger = context.obj
    data_dir = outer_data_dir if data_dir is None else data_dir
    ledger = outer_ledger if ledger is None else ledger
    with reading.open_ledger(data_dir, ledger) as opened:
        attempts = queries.call(opened, call_id)
        if not attempts:
            raise UsageError(
                "no such call in the ledger: `submeter calls --last 5` lists the newest; "
                "one that has not ended is no row yet"
            )
        if as_json:
            reading.write_json(attempts)
        else:
            calls_output.print_in_full(attempts)
