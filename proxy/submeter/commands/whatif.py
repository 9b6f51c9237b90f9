"""``submeter whatif``: what recorded calls would have cost at another model, or with a shorter prompt."""

from decimal import Decimal
from typing import Annotated

import typer

from submeter.commands.options import Config, DataDir, Json, LedgerUrl, Since, Until


def _ratio(text: str) -> Decimal:
    """A positive decimal."""
    return _decimal(text, Decimal(100))


def _share(text: str) -> Decimal:
    return _decimal(text, Decimal(1))


def _decimal(text: str, most: Decimal) -> Decimal:
    from decimal import InvalidOperation

    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value <= most:
        raise typer.BadParameter(f"a number from 0 to {most}, such as 0.8")
    return value


def whatif(
    from_model: Annotated[
        str, typer.Option("--from", metavar="MODEL", help="The calls that this model answered; a glob such as gpt-4o*.")
    ],
    to_model: Annotated[
        str | None,
        typer.Option("--to", metavar="MODEL", help="The model to price them at; the same if not given."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose price of --to, where several sell it.", show_default=False),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Service tier of --to, such as batch; as recorded where it is sold, else standard.",
            show_default=False,
        ),
    ] = None,
    since: Since = "7d",
    until: Until = None,
    tokenizer_ratio: Annotated[
        Decimal, typer.Option(parser=_ratio, metavar="X", help="Tokens at --to per recorded token, of the same text.")
    ] = Decimal(1),
    length_ratio: Annotated[
        Decimal, typer.Option(parser=_ratio, metavar="X", help="Length of its answers per recorded answer.")
    ] = Decimal(1),
    cached_share: Annotated[
        Decimal | None,
        typer.Option(
            parser=_share,
            metavar="0..1",
            help="Part of the input that its prompt cache would serve; as recorded if not given.",
            show_default=False,
        ),
    ] = None,
    fewer_input_tokens: Annotated[
        int, typer.Option(min=0, metavar="N", help="Taken off each prompt: fine-tuning, or a shorter prompt version.")
    ] = 0,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """What recorded calls would have cost at another model's price, or with shorter prompts.

    Every call is priced anew, at the price of its own moment and by its own context size. What is not recorded is not
    guessed: another tokenizer, other lengths and another cache are yours to say.
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import reading, whatif_answer
    from submeter.commands.repricing import with_progress
    from submeter.config import load_settings
    from submeter.core.whatif import Change
    from submeter.prices import load_book
    from submeter.store.versions import stored_rows

    settings = load_settings(config, data_dir=data_dir, ledger=ledger)
    change = Change(
        tokenizer_ratio=tokenizer_ratio,
        length_ratio=length_ratio,
        cached_share=cached_share,
        fewer_input_tokens=fewer_input_tokens,
    )
    asked = whatif_answer.Asked(
        from_model=from_model,
        to_model=to_model,
        provider=provider,
        tier=tier,
        change=change,
        period=reading.parse_question("", since, until),
    )
    book = load_book(settings.prices, settings.data_dir)
    with reading.open_ledger(data_dir, ledger) as opened:
        rows = with_progress(stored_rows(opened, asked.period.since_ns, asked.period.until_ns), "pricing")
        result = whatif_answer.answer(rows, asked, book, settings.origins)
    whatif_answer.write(asked, result, as_json=as_json)
