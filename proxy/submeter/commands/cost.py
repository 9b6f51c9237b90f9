"""``submeter cost``: what teams, apps, models, prompts and days cost, and how much of that is certain."""

from typing import Annotated

import typer

from submeter.commands.options import DataDir, Json, LedgerUrl, Since, Until


def cost(
    by: Annotated[
        str,
        typer.Option(
            metavar="KEYS",
            help="Group by these, comma-separated: model, team, app, user, prompt, prompt_version, endpoint, "
            "upstream, day, hour, class, key_id, cache, outcome, cost_state, …",
        ),
    ] = "model",
    since: Since = "7d",
    until: Until = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout, without a total.")] = False,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """What was spent, by any grouping: confirmed, estimated and indeterminate apart, and what is in no figure.

    JSON and CSV give money in integer nano-dollars (1e-9 USD).
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import cost_output, reading
    from submeter.errors import UsageError
    from submeter.store import queries
    from submeter.store.versions import selected_id

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: choose one")
    asked = reading.parse_question(by, since, until)
    with reading.open_ledger(data_dir, ledger) as opened:
        lines = queries.cost_by(opened, asked.keys, asked.since_ns, asked.until_ns)
        total = queries.summary(opened, asked.since_ns, asked.until_ns)
        version = selected_id(opened)
        if as_json:
            cost_output.write_json(asked, lines, total, version)
        elif as_csv:
            cost_output.write_csv(asked, lines)
        else:
            cost_output.print_lines(asked, lines, total)
            cost_output.print_coverage(total, version)
