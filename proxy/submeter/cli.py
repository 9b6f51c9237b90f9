"""``submeter``: the commands, their options, and how a command ends.

Started often and by impatient people: what takes time to import is imported by the command that needs it, so that
`submeter serve` carries neither SQL nor an HTTP client, and `--help` comes at once.
"""

import os
import sys
import traceback
from typing import Annotated, Never

import typer

from submeter import __version__
from submeter.commands import (
    cache,
    calls,
    cost,
    dashboards,
    doctor,
    export,
    latency,
    loadtest,
    prices,
    reconcile,
    report,
    reprice,
    whatif,
)
from submeter.commands.options import Json
from submeter.commands.settings_options import (
    Config,
    DataDir,
    Host,
    LedgerUrl,
    NoCache,
    Open,
    OpsPort,
    Port,
    Redis,
    Upstream,
    Workers,
)
from submeter.config import Flags, debug_wanted, load_settings
from submeter.errors import UsageError
from submeter.logs import where_raised

CANNOT_RUN = 2
INTERRUPTED = 130

RUN, READ, MONEY = "Run", "Read", "Money"
"""Panels of the help page."""

app = typer.Typer(
    name="submeter",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def examples(*lines: str) -> str:
    """A help page's last part. The blank lines are what keeps each example on a line of its own."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"submeter {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "submeter demo                                    [dim]# no key, no network[/dim]",
        "submeter serve                                   [dim]# then, elsewhere:[/dim]",
        "export OPENAI_BASE_URL=http://127.0.0.1:4100/v1  [dim]# run your app, and[/dim]",
        "submeter cost --by team,model",
        "submeter doctor                                  [dim]# if anything is odd[/dim]",
    ),
)
def submeter(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """A small meter for LLM calls: who asked what, what it cost, how soon the first token came.

    Apps set OPENAI_BASE_URL to it and notice nothing; every call becomes a row.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    rich_help_panel=RUN,
    epilog=examples(
        "submeter serve",
        "submeter serve --upstream http://127.0.0.1:9000/v1  [dim]# for OpenAI's[/dim]",
        "submeter serve --upstream anthropic=https://example.com/v1",
        "submeter serve --config submeter.yaml --workers 4",
        "submeter serve --host 0.0.0.0 --open                [dim]# to anyone[/dim]",
    ),
)
def serve(
    config: Config = None,
    host: Host = None,
    port: Port = None,
    ops_port: OpsPort = None,
    workers: Workers = None,
    data_dir: DataDir = None,
    upstream: Upstream = None,
    redis: Redis = None,
    ledger: LedgerUrl = None,
    no_cache: NoCache = False,
    open_to_all: Open = False,
) -> int:
    """Meter calls: relays on --port, the page, metrics and API on --ops-port, until Ctrl-C.

    Settings come from submeter.yaml, then SUBMETER_* variables, then these options.
    """
    flags = Flags(
        host=host,
        port=port,
        ops_port=ops_port,
        workers=workers,
        data_dir=data_dir,
        upstream=upstream,
        redis=redis,
        ledger=ledger,
        no_cache=no_cache or None,
        open=open_to_all or None,
    )
    settings = load_settings(config, **flags)
    from submeter.serve import run

    return run(settings)


@app.command(
    rich_help_panel=RUN,
    epilog=examples("submeter demo", "submeter demo --once --json | jq .ledger_nano_usd"),
)
def demo(
    once: Annotated[bool, typer.Option("--once", help="End when the traffic has ended, also in a terminal.")] = False,
    as_json: Json = False,
) -> int:
    """See it work with no key and no network: a scripted provider, real SDK traffic, its cost and latency."""
    from submeter.commands.demo import run

    return run(once, as_json)


app.command(
    rich_help_panel=RUN,
    epilog=examples(
        "submeter doctor", "submeter doctor --config submeter.yaml", "submeter doctor --json | jq .healthy"
    ),
)(doctor.doctor)
app.add_typer(
    calls.app,
    name="calls",
    rich_help_panel=READ,
    epilog=examples(
        "submeter calls --last 20",
        "submeter calls --since 24h --json | jq -s 'map(.cost_nano_usd // 0) | add'",
        "submeter calls show CALL_ID      [dim]# from the header x-submeter-call-id[/dim]",
    ),
)
app.command(
    rich_help_panel=READ,
    epilog=examples(
        "submeter cost --by team,model --since 7d",
        "submeter cost --by prompt,prompt_version",
        "submeter cost --by day --csv > cost.csv",
    ),
)(cost.cost)
app.command(
    rich_help_panel=READ,
    epilog=examples("submeter latency", "submeter latency --by model,stream --since 24h", "submeter latency --fit"),
)(latency.latency)
app.command(
    rich_help_panel=READ,
    epilog=examples("submeter export --parquet out/", "submeter export --csv out/ --since 30d --what daily"),
)(export.export)
app.add_typer(
    cache.app,
    name="cache",
    rich_help_panel=READ,
    epilog=examples(
        "submeter cache stats", "submeter cache purge --model gpt-4o", "submeter cache purge --tenant KEY_ID"
    ),
)
app.add_typer(
    dashboards.app,
    name="dashboards",
    rich_help_panel=READ,
    epilog=examples(
        "submeter dashboards build --out dashboards",
        "submeter dashboards check",
        "submeter dashboards push --url https://grafana.example.com --dry-run",
    ),
)
app.add_typer(
    loadtest.app,
    name="loadtest",
    rich_help_panel=READ,
    epilog=examples(
        "submeter loadtest article --target http://127.0.0.1:4100/v1 --model gpt-4o-mini --out out/ --max-usd 0.50",
        "submeter loadtest compare last-monday/ monday/",
        "submeter loadtest peers --target direct=https://api.openai.com/v1 --target submeter=http://127.0.0.1:4100/v1 "
        "--model gpt-4o-mini --out hops/",
    ),
)
app.add_typer(
    report.app,
    name="report",
    rich_help_panel=MONEY,
    epilog=examples(
        "submeter report --html report.html            [dim]# last week, kept in the data directory[/dim]",
        "submeter report init                          [dim]# what else there could be: alternatives.yaml[/dim]",
        "submeter report --week 2026-W47 --config alternatives.yaml --json -",
        "submeter report schedule --format systemd",
    ),
)
app.add_typer(
    prices.app,
    name="prices",
    rich_help_panel=MONEY,
    epilog=examples(
        "submeter prices show gpt-4o --at 2026-01-31",
        "submeter prices import --help",
    ),
)

app.command(
    rich_help_panel=MONEY,
    epilog=examples(
        "submeter reprice --since 2026-11-01 --dry-run",
        "submeter reprice --since 7d --snapshot shipped",
        "submeter reprice --select original          [dim]# undo[/dim]",
    ),
)(reprice.reprice)
app.command(
    rich_help_panel=MONEY,
    epilog=examples(
        "submeter reconcile costs.json",
        "submeter reconcile --provider openai --since 2026-11-01",
        "submeter reconcile bill.csv --columns day=Date,model=Model,amount=Cost",
    ),
)(reconcile.reconcile)
app.command(
    rich_help_panel=MONEY,
    epilog=examples(
        "submeter whatif --from gpt-4o --to gpt-4o-mini",
        "submeter whatif --from gpt-4o --to claude-haiku-4-5 --tokenizer-ratio 1.1 --cached-share 0.4",
        "submeter whatif --from gpt-4o --fewer-input-tokens 1000",
    ),
)(whatif.whatif)


def main() -> None:
    """Run the command line and leave with its exit code: 0, 1 (it found something), 2 (it cannot run)."""
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our stdout has enough (`| head`). Python flushes it once more at the end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _run() -> int:
    try:
        if sys.platform == "win32":
            _refuse("it runs on Linux and macOS; on Windows, use it inside WSL")
        result = app(prog_name="submeter", standalone_mode=False)
    except UsageError as error:
        return _complain(str(error))
    except typer.TyperException as error:
        # A group without a command has shown its help already, and says no more.
        message = error.format_message().strip()
        return _complain(f"{message} See `submeter --help`.") if message else CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last stop: a traceback helps nobody who has no source at hand
        return _apologise(error)
    return result if isinstance(result, int) else 0


def _refuse(why: str) -> Never:
    raise UsageError(why)


def _complain(line: str) -> int:
    typer.echo(f"submeter: {line}", err=True)
    return CANNOT_RUN


def _apologise(error: Exception) -> int:
    if debug_wanted():
        traceback.print_exception(error)
        return CANNOT_RUN
    where = where_raised(error)
    return _complain(
        f"unexpected {where['error']} at {where['at']}: please report it; SUBMETER_DEBUG=1 shows the whole traceback"
    )


if __name__ == "__main__":
    main()
