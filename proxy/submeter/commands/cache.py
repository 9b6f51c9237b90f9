"""``submeter cache``: what the shared cache holds and has saved, and how answers are purged from it."""

from typing import Annotated

import typer

from submeter.commands.options import Config, DataDir, Json, LedgerUrl, Since, Until

app = typer.Typer(help="The cache in Redis: what it holds, what it saved; purge answers.", no_args_is_help=True)

Redis = Annotated[
    str | None,
    typer.Option("--redis", metavar="URL", help="The Redis that `submeter serve` was given.", show_default=False),
]


@app.command()
def stats(
    since: Since = "7d",
    until: Until = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
    redis: Redis = None,
    ledger: LedgerUrl = None,
) -> None:
    """Answers and bytes in Redis, by model; from the ledger, how many calls hit and what that saved.

    Answers in the relays' own memory cannot be seen from here.
    """
    from submeter.commands import cache_output, caching, reading
    from submeter.config import load_settings

    asked = reading.parse_question("", since, until)
    settings = load_settings(config, data_dir=data_dir, redis=redis, ledger=ledger)
    saved = caching.saved(settings, asked)
    held = None if settings.redis is None else caching.held(settings, settings.redis, saved.models)
    if as_json:
        cache_output.write_json(asked, settings, held, saved)
    else:
        cache_output.print_all(asked, settings, held, saved)


@app.command()
def purge(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="Answers that this model was asked for, or served; repeatable."),
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", metavar="KEY_ID", help="Answers of this caller, as rows name it; repeatable."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All answers, of any installation.")] = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
    redis: Redis = None,
) -> None:
    """Remove answers from Redis at once. With --model and --tenant, those that are of both.

    Relays that also keep answers in their own memory (cache.l1_s) give them for so long yet.
    """
    from submeter.commands import cache_output, caching
    from submeter.config import load_settings

    wanted = caching.Wanted(tuple(model or ()), tuple(tenant or ()), everything)
    settings = load_settings(config, data_dir=data_dir, redis=redis)
    purged = caching.purge(settings, wanted)
    cache_output.say_purged(purged, settings, as_json=as_json)
