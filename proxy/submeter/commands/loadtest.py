"""``submeter loadtest``: a scenario against a target; and two runs held against each other."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from submeter.commands.loadtest_options import MaxUsd, Model, Provider, Seed
from submeter.commands.loadtest_peers import peers
from submeter.commands.options import Config, DataDir, Json, LedgerUrl

HELP = ("-h", "--help")


class _ScenarioFirst(TyperGroup):
    """``loadtest article …`` is ``loadtest run article …``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in HELP:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ScenarioFirst,
    no_args_is_help=True,
    help="Measure latency against input and output length: submeter loadtest SCENARIO --target URL --model M --out DIR",
)


@app.command()
def run(
    scenario: Annotated[
        str, typer.Argument(help="article, matrix, saturation, soak, cache, replay, or a file of your own, *.toml.")
    ],
    target: Annotated[
        str, typer.Option(metavar="URL", help="As an SDK's base URL: a Submeter's, a provider's, a vLLM's.")
    ],
    model: Model,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where result.json, samples.csv and report.html go.")],
    max_usd: MaxUsd = None,
    provider: Provider = None,
    seed: Seed = None,
    web: Annotated[bool, typer.Option("--web", help="Watch it in Locust's own page, on 127.0.0.1:8089.")] = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Ask as the scenario says, and tell how latency depends on lengths. The key is taken from OPENAI_API_KEY.

    Money is from the ledger of the Submeter that is tested, where --data-dir or --ledger names it; else it is reported
    usage at the price book. Exit code 1 if no call was answered, or the run was broken off.
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import loadtest_output, loadtesting

    asked = loadtesting.Asked(
        scenario=scenario,
        target=target,
        model=model,
        out=out,
        max_usd=max_usd,
        provider=provider,
        seed=seed,
        web=web,
    )
    document = loadtesting.run(asked, config, data_dir, ledger)
    loadtest_output.write_run(document, out, as_json=as_json)
    if document["failure"] is not None or document["stopped"] in ("interrupted", "killed"):
        raise typer.Exit(1)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of one run.")],
    after: Annotated[Path, typer.Argument(metavar="DIR", help="And of a later one.")],
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the bootstrap.")] = 0,
    as_json: Json = False,
) -> None:
    """Has latency become worse? Exit code 1 if one measure has."""
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import loadtest_output, loadtesting

    found = loadtesting.compare(before, after, seed)
    loadtest_output.write_comparison(found, as_json=as_json)
    if found["regressed"]:
        raise typer.Exit(1)


app.command()(peers)
