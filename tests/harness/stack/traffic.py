"""What a company's applications ask within two minutes: everything that a board has a panel for happens at least once.

Each call says to the scripted provider what it shall do (docs/guide/scripted.md). The order is a seed's.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp

SEED = 20230411
PAUSE_S = 0.06
ROUND_S = 5.0
"""Things that happen seldom happen once in so many seconds."""
TEAMS = (("support", "chatbot"), ("search", "ranker"), ("legal", "contracts"), ("planning", "workshop"))
OPENAI_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "o4-mini")


class Traffic:
    """Callers of one unit. ``calls`` says how many calls were made so far."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._chance = random.Random(SEED)
        self._session: aiohttp.ClientSession
        self._number = 0
        self.calls = 0

    async def run(self, seconds: float, tick: Callable[[], None] = lambda: None) -> None:
        """Keep calling for so long, then let what runs come to its end."""
        loop = asyncio.get_running_loop()
        end_s, next_round_s = loop.time() + seconds, loop.time()
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(cookie_jar=jar) as self._session, asyncio.TaskGroup() as group:
            while loop.time() < end_s:
                calls = [self._usual()]
                if loop.time() >= next_round_s:
                    next_round_s += ROUND_S
                    calls += self._seldom()
                for call in calls:
                    group.create_task(call)
                self.calls += len(calls)
                tick()
                await asyncio.sleep(PAUSE_S)

    # -- what is asked all the time --------------------------------------------------------------------------

    def _usual(self) -> Awaitable[None]:
        self._number += 1
        chance, number = self._chance, self._number
        kind = chance.choices(("stream", "whole", "classify", "embed", "respond", "message"), (40, 10, 20, 8, 8, 14))[0]
        if kind == "classify":  # the cache has most of these
            ticket, streamed = f"Classify ticket {number % 60}", chance.random() < 0.5
            return self._chat("gpt-4.1-mini", ticket, temperature=0, prompt="classify", stream=streamed)
        if kind == "embed":
            return self._post("embeddings", {"model": "text-embedding-3-small", "input": f"ticket {number % 40}"})
        if kind == "respond":
            body = {"model": "o4-mini", "input": f"Plan day {number}.", "stream": True}
            return self._post("responses", body, self._script(reasoning_tokens=chance.randint(8, 60)))
        if kind == "message":
            text = f"What happened on day {number}?"
            body = {"model": "claude-haiku-4-5", "max_tokens": 256, "stream": True, **_asked(text)}
            return self._post("messages", body, self._script(cached_tokens=24, cache_write_5m_tokens=16))
        words = "word " * int(chance.lognormvariate(4, 1.2))
        prompt = chance.choice(("", "answer", "summarise"))
        return self._chat(chance.choice(OPENAI_MODELS), words + str(number), prompt=prompt, stream=kind == "stream")

    def _chat(
        self, model: str, text: str, *, prompt: str = "", script: str | None = None, **more: Any
    ) -> Awaitable[None]:
        """A prompt that is named has its second version from the hundredth call on."""
        version = "v1" if self._number < 100 else "v2"
        named = {"x-submeter-prompt": prompt, "x-submeter-prompt-version": version} if prompt else {}
        said = self._script(cached_tokens=16) if script is None else script
        return self._post(
            "chat/completions", {"model": model, **_asked(text), **more}, said, **(named if prompt else {})
        )

    def _script(self, **more: int) -> str:
        keys = {
            "ttft_ms": int(self._chance.lognormvariate(4.3, 0.5)),
            "gap_ms": self._chance.randint(2, 10),
            "output_tokens": int(min(120, self._chance.lognormvariate(3.2, 0.8))) + 2,
        }
        return ";".join(f"{key}={value}" for key, value in (keys | more).items())

    # -- what happens now and then ---------------------------------------------------------------------------

    def _seldom(self) -> list[Awaitable[None]]:
        self._number += 1
        number = self._number
        served = f"model_served={'gpt-4o-mini' if number % 2 else 'gpt-4o'}"
        same = {"temperature": 0, "stream": True, "script": "ttft_ms=200;output_tokens=8"}
        return [
            *(self._chat("gpt-4o-mini", f"identical question {number}", **same) for _ in range(4)),
            *(
                self._chat("gpt-4o-mini", f"refused {status} {number}", script=f"status={status}")
                for status in (429, 503, 400)
            ),
            self._chat("gpt-4o", f"cut {number}", stream=True, script="output_tokens=30;reset_after_chunks=5"),
            self._chat("gpt-4o", f"lost {number}", script="reset_before_head"),
            self._chat("gpt-4o-mini", f"untold {number}", stream=True, script="usage=none;output_tokens=12"),
            self._chat("model-of-nobody", f"unpriced {number}"),
            self._chat("gpt-4o", f"changed {number}", script=served),
            self._leave(f"left {number}"),
            self._post("images/generations", {"model": "dall-e-3", "prompt": "a bicycle"}),
            self._post("chat/completions", {"messages": []}),
            self._get("models"),
        ]

    async def _leave(self, text: str) -> None:
        """A caller that goes after the first bytes."""
        body = {"model": "gpt-4o-mini", "stream": True, **_asked(text)}
        headers = self._headers("output_tokens=200;gap_ms=20")
        with suppress(aiohttp.ClientError):
            async with self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=headers) as answer:
                await answer.content.readany()
                answer.close()

    async def _get(self, path: str) -> None:
        with suppress(aiohttp.ClientError):
            async with self._session.get(f"{self._url}/v1/{path}", headers=self._headers(None)) as answer:
                await answer.read()

    async def _post(self, path: str, body: dict[str, Any], script: str | None = None, **headers: str) -> None:
        """An error is part of the traffic: whatever comes is read to its end."""
        with suppress(aiohttp.ClientError):
            sent = self._headers(script) | headers
            async with self._session.post(f"{self._url}/v1/{path}", json=body, headers=sent) as answer:
                await answer.read()

    def _headers(self, script: str | None) -> dict[str, str]:
        team, app = self._chance.choice(TEAMS)
        headers = {"Authorization": "Bearer synthetic", "x-submeter-team": team, "x-submeter-app": app}
        return headers if script is None else headers | {"x-scripted": script}


def _asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}
