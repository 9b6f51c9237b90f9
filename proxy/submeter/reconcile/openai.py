"""OpenAI's own costs and usage: ``/v1/organization/costs`` and ``/v1/organization/usage/…``, by day.

Costs have the money by line item, usage has the tokens by model; the two together tell a price from a call.
Source: OpenAI's API reference, "Usage" and "Costs" (pages of at most 31 days; ``next_page`` is the next one's cursor).
"""

import asyncio

import msgspec

from submeter.reconcile.fetch import Client, Endpoint, Sleep, open_session
from submeter.reconcile.lines import Invoice, Usage
from submeter.reconcile.pages import read_pages

BASE_URL = "https://api.openai.com/v1"
KEY_ENV = "OPENAI_ADMIN_KEY"
DAYS_PER_PAGE = 31
_SECONDS_PER_DAY = 86_400


async def pull(
    base_url: str,
    key: str,
    key_env: str,
    since_day: int,
    until_day: int,
    *,
    by_key: bool = False,
    sleep: Sleep = asyncio.sleep,
) -> Invoice:
    """The days from ``since_day`` to before ``until_day`` (since 1970, UTC). Raises ``UsageError``."""
    async with open_session({"Authorization": f"Bearer {key}"}) as session:
        client = Client(session, "openai", base_url, key_env, sleep)
        keys = ("api_key_id",) if by_key else ()
        period = (since_day, until_day)
        costs = await client.pages(_endpoint("costs", period, ("line_item", *keys)))
        chats = await client.pages(_endpoint("usage/completions", period, ("model", *keys)))
        embeddings = await client.pages(_endpoint("usage/embeddings", period, ("model", *keys)))
    return joined(costs, [*chats, *embeddings], (since_day, until_day - 1))


def _endpoint(name: str, period: tuple[int, int], group_by: tuple[str, ...]) -> Endpoint:
    since_day, until_day = period
    times = (("start_time", since_day * _SECONDS_PER_DAY), ("end_time", until_day * _SECONDS_PER_DAY))
    return Endpoint(
        f"/organization/{name}",
        (
            *((name, str(value)) for name, value in times),
            ("bucket_width", "1d"),
            ("limit", str(DAYS_PER_PAGE)),
            *(("group_by[]", name) for name in group_by),
        ),
    )


def joined(costs: list[str], usage: list[str], days: tuple[int, int]) -> Invoice:
    """Money from the costs, tokens from the usage; the costs' own quantities would count tokens twice."""
    invoice = read_pages("\n".join([*costs, *usage]))
    has_usage = any(line.amount_usd is None for line in invoice.lines)
    lines = (
        msgspec.structs.replace(line, usage=Usage()) if has_usage and line.amount_usd is not None else line
        for line in invoice.lines
    )
    source = invoice.source.partition(" ")[0]
    return msgspec.structs.replace(invoice, source=f"{source} costs and usage (API)", lines=tuple(lines), days=days)
