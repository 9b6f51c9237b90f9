"""Anthropic's own costs and usage: ``/v1/organizations/cost_report`` and ``/usage_report/messages``, by day.

Costs have the money by model and token type, and no keys; usage has the tokens by model and key.
Source: Anthropic's "Usage and Cost Admin API" (pages of at most 31 days; priority-tier costs are not in the report).
"""

import asyncio

from submeter.core import when
from submeter.reconcile.fetch import Client, Endpoint, Sleep, open_session
from submeter.reconcile.lines import Invoice
from submeter.reconcile.openai import joined

BASE_URL = "https://api.anthropic.com/v1"
KEY_ENV = "ANTHROPIC_ADMIN_KEY"
VERSION = "2023-06-01"
DAYS_PER_PAGE = 31


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
    async with open_session({"x-api-key": key, "anthropic-version": VERSION}) as session:
        client = Client(session, "anthropic", base_url, key_env, sleep)
        keys = ("api_key_id",) if by_key else ()
        period = (since_day, until_day)
        costs = await client.pages(_endpoint("cost_report", period, ("description",)))
        usage = await client.pages(_endpoint("usage_report/messages", period, ("model", *keys)))
    return joined(costs, usage, (since_day, until_day - 1))


def _endpoint(name: str, period: tuple[int, int], group_by: tuple[str, ...]) -> Endpoint:
    since, until = (f"{when.day(day)}T00:00:00Z" for day in period)
    return Endpoint(
        f"/organizations/{name}",
        (
            ("starting_at", since),
            ("ending_at", until),
            ("bucket_width", "1d"),
            ("limit", str(DAYS_PER_PAGE)),
            *(("group_by[]", name) for name in group_by),
        ),
    )
