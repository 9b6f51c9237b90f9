"""Options of the load tests that spend."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer


def _usd(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise typer.BadParameter("an amount in USD, such as 1.00")
    return value


Model = Annotated[str, typer.Option(metavar="NAME", help="The model to ask.")]
MaxUsd = Annotated[
    Decimal | None, typer.Option(parser=_usd, metavar="USD", help="Stop before more is spent.", show_default=False)
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Of texts, order and arrival times; drawn if not given.", show_default=False),
]
Provider = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Whose list prices the target has; else those of the upstream that the configuration has for it.",
        show_default=False,
    ),
]
