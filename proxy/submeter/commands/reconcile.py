"""``submeter reconcile``: a provider's bill held against the ledger."""

from pathlib import Path
from typing import Annotated

import typer

from submeter.commands.options import Config, DataDir, Json, LedgerUrl


def reconcile(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="The provider's export: JSON of its API, or CSV. - is stdin.", show_default=False
        ),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Ask its API instead: openai or anthropic.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="From this day on (UTC): 7d, 2026-11-20. Without it, the export's first day; of an API, 7d.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="To before this day; the same forms. Today is never compared.", show_default=False),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The variable with the admin key (OPENAI_ADMIN_KEY, ANTHROPIC_ADMIN_KEY).",
            show_default=False,
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The API's address, up to /v1.", show_default=False)
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="YAML: columns, models, keys, upstreams.", show_default=False),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="PAIRS",
            help="Of any CSV: day=Date,model=Model,input_tokens=In,output_tokens=Out,amount=Cost.",
            show_default=False,
        ),
    ] = None,
    tolerance_usd: Annotated[
        str, typer.Option(metavar="USD", help="Per day and model, on top of rounding: what is not worth a word.")
    ] = "0",
    settle: Annotated[
        bool, typer.Option("--settle", help="Give calls whose end nobody saw what the invoice says, as a new version.")
    ] = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Hold a provider's costs and usage against the ledger, by day, model and key, and say why they differ.

    Exit code 1 if something differs by more than rounding and --tolerance-usd.
    """
    # Imported here, as in every command: see the package's docstring.
    from rich.console import Console

    from submeter.commands import reading, reconcile_output, reconciling
    from submeter.config import load_settings

    settings = load_settings(config, data_dir=data_dir, ledger=ledger)
    asked = reconciling.Asked(
        file=file,
        provider=provider,
        period=reconciling.parse_period(since, until),
        key_env=key_env,
        base_url=base_url,
        mapping=reconciling.read_mapping(map_file, columns),
        tolerance_nano_usd=reconciling.parse_tolerance(tolerance_usd),
    )
    with Console(stderr=True).status("comparing …"):
        invoice = reconciling.read(asked)
        opening = reading.open_to_write(settings) if settle else reading.open_ledger(settings.data_dir, settings.ledger)
        with opening as opened:
            report = reconciling.run(opened, settings, asked, invoice)
            settled = reconciling.settle(opened, report) if settle else None
            if settled is not None:
                report = reconciling.run(opened, settings, asked, invoice)
    reconcile_output.write(report, settled, as_json=as_json)
    if report.differences:
        raise typer.Exit(1)
