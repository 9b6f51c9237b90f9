"""``submeter report``: is a week's traffic better bought, rented or built? Once, or every Monday."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from submeter.commands.options import DataDir, Json, LedgerUrl

app = typer.Typer()

AlternativesFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="What there is to choose from, instead of ./alternatives.yaml.",
        show_default=False,
    ),
]
Week = Annotated[
    str | None,
    typer.Option(
        metavar="WEEK", help="2026-W47 (ISO, UTC); else the last one that is over, or has calls.", show_default=False
    ),
]
Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Instead of the ledger: a CSV with the columns of `submeter calls --json`, or an exported .parquet.",
        show_default=False,
    ),
]


@app.callback(invoke_without_command=True)
def report(
    context: typer.Context,
    week: Week = None,
    config: AlternativesFile = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The whole report, in one page; - is stdout.", show_default=False),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The whole report, as data; - is stdout.", show_default=False)
    ] = None,
    trace: Trace = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of what is simulated: the same gives the same.")] = 0,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """What a week cost, what it would have cost elsewhere, and a verdict for each workload.

    Without alternatives.yaml there is the arithmetic of page one, and BUILD is withheld: its init writes one.
    A report over the ledger is kept in the data directory, for the weeks to come; one over --trace is not.
    """
    if context.invoked_subcommand is not None:
        _refuse_misplaced(context)
        return
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import reporting

    asked = reporting.Asked(week=week, config=config, html=html, json=json, trace=trace, seed=seed)
    reporting.run(asked, data_dir, ledger)


def _refuse_misplaced(context: typer.Context) -> None:
    """No option is passed over in silence."""
    from submeter.errors import UsageError

    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option, command = f"--{name.replace('_', '-')}", context.invoked_subcommand
            raise UsageError(f"{option} stands before {command}: submeter report {command} --help shows what it takes")


@app.command()
def init(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write it.")] = Path("alternatives.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    week: Week = None,
    trace: Trace = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Write a commented alternatives.yaml from what a week has seen: workloads, volumes, likely candidates."""
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import reporting

    reporting.init(out, week, trace, data_dir, ledger, force=force)


@app.command()
def calibrate(
    points: Annotated[Path, typer.Argument(metavar="POINTS.CSV", help="Measured runs of your own servers.")],
    as_json: Json = False,
) -> None:
    """What your servers really do, against what the model says: a speed for each engine, GPU and model."""
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import report_calibrating

    report_calibrating.run(points, as_json=as_json)


@app.command()
def schedule(
    format: Annotated[  # noqa: A002 - it is the option's name
        Literal["cron", "systemd", "kubernetes"], typer.Option(help="What is to start it.")
    ] = "cron",
) -> None:
    """Print what makes the report every Monday at 06:00 UTC, from this directory: a line, units or a CronJob."""
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import report_schedule

    typer.echo(report_schedule.text(format), nl=False)
