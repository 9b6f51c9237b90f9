"""What four made-up teams ask, through the real SDKs: streams and whole answers, three vendors' dialects, repeats.

Everything that a caller can say is said somewhere: by URL, by header, by body, or not at all (fingerprints).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

CONCURRENCY = 12
SEED = 20230411  # the day of "Building LLM applications for production"

SUPPORT_V1 = "You answer customers of a bicycle shop.\nBe brief."
SUPPORT_V2 = "You answer customers of a bicycle shop.\nBe brief, and name the part number when there is one."
CLASSIFY = "Classify the ticket: billing, delivery or repair. Answer with one word."
TICKETS = ("My chain slips.", "Where is my parcel?", "I was charged twice.", "The brake squeals.", "Can I pay later?")

Call = Callable[[], Awaitable[object]]


class Clients(NamedTuple):
    """The SDKs, pointed at the relay and nothing else."""

    openai: AsyncOpenAI
    anthropic: AsyncAnthropic

    async def close(self) -> None:
        await self.openai.close()
        await self.anthropic.close()


def make_clients(base_url: str) -> Clients:
    return Clients(
        AsyncOpenAI(base_url=f"{base_url}/v1", api_key="demo-key-of-nobody", max_retries=0),
        AsyncAnthropic(base_url=base_url, api_key="demo-key-of-nobody", max_retries=0),
    )


def plan(clients: Clients, base_url: str, calls: int) -> list[Call]:
    """The calls of the demo, in an order that a seed decides."""
    chance = random.Random(SEED)
    support = clients.openai.with_options(base_url=f"{base_url}/by/support/chatbot/v1")
    kinds: list[tuple[int, Callable[[int], Call]]] = [
        (34, lambda i: _chat(support, "gpt-4o-mini", SUPPORT_V1 if i % 3 else SUPPORT_V2, i, chance)),
        (14, lambda i: _chat(clients.openai, "gpt-4o", "You are a careful lawyer.", i, chance, team="legal")),
        (20, lambda i: _classify(clients.openai, chance)),
        (10, lambda i: _embed(clients.openai, i)),
        (10, lambda i: _respond(clients.openai, i, chance)),
        (12, lambda i: _message(clients.anthropic, i, chance)),
    ]
    makers = chance.choices([make for _, make in kinds], [weight for weight, _ in kinds], k=calls)
    return [make(number) for number, make in enumerate(makers)]


async def run(calls: list[Call], done: Callable[[], None]) -> None:
    """At most ``CONCURRENCY`` at a time; ``done`` after each. An SDK's error ends the demo."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(call: Call) -> None:
        async with gate:
            await call()
        done()

    await asyncio.gather(*map(one, calls))


def _script(chance: random.Random, **more: int) -> dict[str, str]:
    """How the scripted provider is to behave: lengths and times like those of a hosted model, somewhat quicker."""
    keys = {
        "ttft_ms": int(chance.lognormvariate(4.6, 0.5)),
        "gap_ms": chance.randint(4, 12),
        "output_tokens": int(min(160, chance.lognormvariate(3.4, 0.7))) + 4,
        **more,
    }
    return {"x-scripted": ";".join(f"{key}={value}" for key, value in keys.items())}


def _chat(
    client: AsyncOpenAI, model: str, system: str, number: int, chance: random.Random, team: str | None = None
) -> Call:
    question = f"{TICKETS[number % len(TICKETS)]} (ticket {number})"
    extra = _script(chance, cached_tokens=16 if number % 4 == 0 else 0)
    if team is not None:
        extra |= {"x-submeter-team": team, "x-submeter-app": "contracts", "x-submeter-prompt": "lawyer"}

    async def call() -> None:
        stream = await client.chat.completions.create(
            model=model,
            messages=[{"role": "system", "content": system}, {"role": "user", "content": question * 6}],
            stream=True,
            extra_headers=extra,
        )
        async for _ in stream:
            pass

    return call


def _classify(client: AsyncOpenAI, chance: random.Random) -> Call:
    ticket = chance.choice(TICKETS)
    extra = _script(chance, output_tokens=1) | {"x-submeter-team": "support", "x-submeter-prompt": "classify"}

    async def call() -> object:
        return await client.chat.completions.create(
            model="gpt-4.1-mini",
            temperature=0,
            messages=[{"role": "system", "content": CLASSIFY}, {"role": "user", "content": ticket}],
            extra_headers=extra,
        )

    return call


def _embed(client: AsyncOpenAI, number: int) -> Call:
    text = TICKETS[number % len(TICKETS)]

    async def call() -> object:
        return await client.embeddings.create(
            model="text-embedding-3-small", input=text, extra_headers={"x-submeter-team": "search"}
        )

    return call


def _respond(client: AsyncOpenAI, number: int, chance: random.Random) -> Call:
    extra = _script(chance, reasoning_tokens=chance.randint(8, 40)) | {"x-submeter-team": "planning"}

    async def call() -> None:
        async with client.responses.stream(
            model="o4-mini", instructions="Plan the workshop's day.", input=f"Day {number}", extra_headers=extra
        ) as stream:
            async for _ in stream:
                pass

    return call


def _message(client: AsyncAnthropic, number: int, chance: random.Random) -> Call:
    extra: dict[str, Any] = _script(chance, cached_tokens=24) | {"x-submeter-team": "planning"}

    async def call() -> None:
        async with client.messages.stream(
            model="claude-haiku-4-5",
            max_tokens=256,
            system="Summarise the day for the workshop's board.",
            messages=[{"role": "user", "content": f"What happened on day {number}?"}],
            extra_headers=extra,
        ) as stream:
            async for _ in stream:
                pass

    return call
