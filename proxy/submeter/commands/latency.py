"""``submeter latency``: how soon the first token came, how fast the rest, how long it all took; ``--fit``: on what that
depends, and whether it has become worse."""

from pathlib import Path
from typing import Annotated

import typer

from submeter.commands.options import DataDir, Json, LedgerUrl, Since, Until


def latency(
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            metavar="KEYS",
            help="Group by these, comma-separated: model, team, app, prompt, prompt_version, endpoint, upstream, "
            "stream, day, hour, class, …",
        ),
    ] = "model",
    since: Since = "7d",
    until: Until = None,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit", help="Instead: a week's latency by lengths, per model, and held against the week before."
        ),
    ] = False,
    week: Annotated[
        str | None,
        typer.Option(metavar="WEEK", help="Of --fit: 2026-W47 (ISO, UTC); else the newest that has calls."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of --fit: only this one, as it was served.")
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Exact percentiles (p50, p95, p99) of the calls that went upstream and ended well; cache hits are left out.

    TTFT: request complete to the first token. TPOT: (end to end - TTFT) / (output tokens - 1), streamed calls.
    Overhead: what submeter itself added. With --fit, exit code 1 says that a model has regressed.
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import latency_fitting

    latency_fitting.check_options(fit=fit, given=_given(context))
    if not fit:
        _percentiles(by, since, until, data_dir, ledger, as_json=as_json)
    elif latency_fitting.run(week, model, data_dir, ledger, as_json=as_json):
        raise typer.Exit(1)


def _given(context: typer.Context) -> set[str]:
    """The options that were on the command line."""
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    return {name for name, source in sources if source is not None and source.name == "COMMANDLINE"}


def _percentiles(
    by: str, since: str, until: str | None, data_dir: Path | None, ledger: str | None, *, as_json: bool
) -> None:
    from submeter.commands import latency_output, reading
    from submeter.store import queries

    asked = reading.parse_question(by, since, until)
    with reading.open_ledger(data_dir, ledger) as opened:
        lines = queries.latency_by(opened, asked.keys, asked.since_ns, asked.until_ns)
        if as_json:
            latency_output.write_json(asked, lines)
        else:
            latency_output.print_tables(asked, lines)
