"""GET page after page of a provider's admin API, patiently: 429 and 5xx are tried again, anything else is said.

The key goes into one header of requests to one address: no cookies, no redirects, and in no error.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import aiohttp

from submeter.config import without_password
from submeter.errors import UsageError
from submeter.reconcile.lines import Invoice
from submeter.reconcile.pages import NAMES

TIMEOUT = aiohttp.ClientTimeout(total=120, connect=15)
"""Of one page."""
MAX_PAGE_BYTES = 64 << 20
MAX_PAGES = 2000
TRIES = 6
LONGEST_WAIT_S = 60.0
"""A provider that asks for a longer wait is waited for this long."""

Query = Iterable[tuple[str, str]]
Sleep = Callable[[float], Awaitable[None]]


class Pull(Protocol):
    """Every line of the days from ``since_day`` to before ``until_day`` (since 1970, UTC)."""

    def __call__(
        self, base_url: str, key: str, key_env: str, since_day: int, until_day: int, *, by_key: bool = False
    ) -> Coroutine[object, object, Invoice]: ...


class Endpoint(NamedTuple):
    path: str
    query: tuple[tuple[str, str], ...]


class Client:
    """One provider's admin API. Errors are ``UsageError``."""

    def __init__(
        self, session: aiohttp.ClientSession, provider: str, base_url: str, key_env: str, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._session = session
        self._provider = provider
        self._base_url = base_url.rstrip("/")
        self._key_env = key_env
        self._sleep = sleep

    async def pages(self, endpoint: Endpoint) -> list[str]:
        """The texts of all pages, in order."""
        return [text async for text in self._pages(endpoint)]

    async def _pages(self, endpoint: Endpoint) -> AsyncIterator[str]:
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            more = () if cursor is None else (("page", cursor),)
            text = await self._page(endpoint.path, (*endpoint.query, *more))
            yield text
            cursor = self._next_page(text)
            if cursor is None:
                return
            if cursor in seen:
                break
            seen.add(cursor)
        raise self._error("its pages do not end: ask for a shorter period with --since and --until")

    def _next_page(self, text: str) -> str | None:
        try:
            page = json.loads(text)
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise self._error("its answer is no page of costs or usage: is --base-url the address of its API?")
        if page.get("has_more") is not True:
            return None
        if not isinstance(page.get("next_page"), str):
            raise self._error("it says that there are more pages, and not which: try again later")
        return str(page["next_page"])

    async def _page(self, path: str, query: Query) -> str:
        """One page; waits and asks again while the provider is busy or out of order."""
        failed, wait_s = "", 0.0
        for attempt in range(TRIES):
            if attempt:
                await self._sleep(wait_s)
            wait_s = 2.0**attempt
            try:
                async with self._session.get(
                    f"{self._base_url}{path}", params=list(query), allow_redirects=False
                ) as answer:
                    if answer.status == 200:
                        return await self._text(answer)
                    failed = self._again_after(answer.status)
                    wait_s = _retry_after_s(answer.headers, wait_s)
            except (aiohttp.ClientError, TimeoutError) as error:
                failed = f"it cannot be reached ({type(error).__name__})"
        raise self._error(f"{failed}, {TRIES} times in a row: try again later, or reconcile a file that you export")

    async def _text(self, answer: aiohttp.ClientResponse) -> str:
        raw = bytearray()
        async for chunk in answer.content.iter_any():
            raw += chunk
            if len(raw) > MAX_PAGE_BYTES:
                raise self._error("a page is larger than any of its pages are: is --base-url the right address?")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self._error("its answer is not text: is --base-url the right address?") from None

    def _again_after(self, status: int) -> str:
        """What went wrong, if it may pass; raises if it will not."""
        if status == 429 or status >= 500:
            return f"it answers {status}"
        if status in (401, 403):
            raise self._error(
                f"it refuses the key ({status}): {self._key_env} must hold an admin key of the organisation, "
                "which only its owners and administrators can make"
            )
        raise self._error(f"it answers {status}: check --base-url, --since and --until")

    def _error(self, problem: str) -> UsageError:
        return UsageError(f"{NAMES[self._provider]} at {without_password(self._base_url)}: {problem}")


def _retry_after_s(headers: Mapping[str, str], otherwise_s: float) -> float:
    """Seconds; the form with a date is answered with our own wait."""
    text = headers.get("Retry-After", "").strip()
    if not text.isascii() or not text.isdigit():
        return otherwise_s
    return min(float(text[:9]), LONGEST_WAIT_S)


@asynccontextmanager
async def open_session(headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT, cookie_jar=jar, trust_env=True) as session:
        yield session
