"""``submeter loadtest peers``: what each hop adds."""

from pathlib import Path
from typing import Annotated

import typer

from submeter.commands.loadtest_options import MaxUsd, Model, Provider, Seed
from submeter.commands.options import Config, Json

ROUNDS = 12


def peers(
    target: Annotated[
        list[str],
        typer.Option(metavar="NAME=URL", help="A name and an SDK's base URL; the first is what the others add to."),
    ],
    model: Model,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where peers.json, peers.csv and a DIR per target go.")],
    scenario: Annotated[
        str, typer.Option(metavar="NAME", help="What a block asks: a closed loop, or a file of your own, *.toml.")
    ] = "peers",
    rounds: Annotated[int, typer.Option(min=6, max=1000, metavar="N", help="Blocks of each target.")] = ROUNDS,
    max_usd: MaxUsd = None,
    provider: Provider = None,
    seed: Seed = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """The same calls direct and through proxies, in turns: what each hop adds to TTFT, to the first byte, end to end.

    Each round asks every target the same lengths in a short block, in an order that is drawn. Money is reported usage
    at the price book, over all targets. The key is taken from OPENAI_API_KEY. Exit code 1 if a target has answered
    nothing, or the test was broken off.
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import loadtest_peers_output, loadtesting_peers

    asked = loadtesting_peers.Asked(
        scenario=scenario,
        targets=target,
        model=model,
        out=out,
        rounds=rounds,
        max_usd=max_usd,
        provider=provider,
        seed=seed,
    )
    document = loadtesting_peers.run(asked, config)
    loadtest_peers_output.write(document, out, as_json=as_json)
    if document["failure"] is not None or document["stopped"] in ("interrupted", "killed"):
        raise typer.Exit(1)
