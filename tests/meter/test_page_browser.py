"""The page in a real browser: nothing from elsewhere, no error, charts, live calls, the width of a phone."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.async_api import Page, async_playwright

from meter.browser import CHROMIUM, FLAGS, is_installed
from meter.ops_app import app_of, make_settings, record, served
from meter.page_calls import synthetic_calls
from store.ledger_rows import make_call
from submeter.config import Settings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not is_installed() and os.environ.get("CI") != "true",
        reason=f"no {CHROMIUM}: apt-get install chromium",
    ),
]

POLL_MS = 2000
HOSTILE = '<img src=x onerror="alert(1)">' + "long" * 200


class Seen(NamedTuple):
    """What a browser was up to besides showing the page."""

    problems: list[str]
    requests: list[str]


@asynccontextmanager
async def opened(settings: Settings, width: int = 1280, query: str = "") -> AsyncIterator[tuple[Page, Seen]]:
    """The page of a served app, with a clock that stands still until a test turns it."""
    seen = Seen([], [])
    async with served(app_of(settings)) as port, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(
            viewport={"width": width, "height": 900}, locale="de-DE", timezone_id="Asia/Tokyo"
        )
        page.on("console", lambda message: seen.problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.problems.append(str(error)))
        page.on("dialog", lambda dialog: seen.problems.append(dialog.message))
        page.on("request", lambda request: seen.requests.append(request.url))
        await page.clock.install()
        await page.goto(f"http://127.0.0.1:{port}/{query}")
        yield page, seen
        await browser.close()
        assert all(url.startswith(f"http://127.0.0.1:{port}/") for url in seen.requests)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = make_settings(tmp_path)
    record(made, synthetic_calls(time.time_ns(), count=300))
    return made


async def test_charts_live_calls_and_sums(settings: Settings) -> None:
    """Also where every name is hostile: a call arrives while the page is open, and its sums follow."""
    async with opened(settings, query="?period=7d") as (page, seen):
        assert await page.locator("[data-chart] canvas").count() == 3
        rows = page.locator("#latest tr")
        assert await rows.count() == 50
        await page.evaluate("document.body.dataset.refreshMs = '0'")
        names = dict.fromkeys(("team", "app", "prompt", "prompt_version", "model_served", "finish_reason"), HOSTILE)
        record(settings, [make_call(900_000, started_at_ns=time.time_ns(), cost_nano_usd=123_456_789, **names)])
        await page.clock.run_for(POLL_MS)
        await page.locator("#latest tr.fresh").wait_for()
        first = rows.first
        assert await first.locator("[data-cell=team]").text_content() == HOSTILE
        assert await first.locator("[data-cell=team]").get_attribute("title") == HOSTILE
        assert await first.locator("[data-cell=cost]").text_content() == "$0.123457"
        assert await first.locator("[data-cell=cost]").get_attribute("title") == "exact: $0.123456789"
        assert await first.locator("[data-cell=ttft]").text_content() == "100"
        assert await rows.count() == 50
        await page.locator("#tables", has_text=HOSTILE).wait_for()
        assert await page.locator(".tile .figure").nth(1).text_content() == str(await call_count(page))
        assert await page.locator("img[src=x]").count() == 0
        assert await page.locator("[data-chart] canvas").count() == 3
        assert seen.problems == []


async def call_count(page: Page) -> int:
    answer = await page.request.get(page.url.partition("?")[0] + "api/summary?since=7d")
    calls = (await answer.json())["total"]["calls"]
    assert isinstance(calls, int)
    return calls


async def test_rows_that_are_shown_are_never_drawn_again(settings: Settings) -> None:
    async with opened(settings) as (page, seen):
        await page.evaluate("document.querySelectorAll('#latest tr').forEach((row, at) => (row.mark = at))")
        record(settings, [make_call(900_000, started_at_ns=time.time_ns())])
        await page.clock.run_for(POLL_MS)
        await page.locator("#latest tr.fresh").wait_for()
        marks = await page.evaluate("[...document.querySelectorAll('#latest tr')].map((row) => row.mark ?? null)")
        assert marks == [None, *range(49)]
        assert seen.problems == []


async def test_times_are_the_readers_own(tmp_path: Path) -> None:
    """Tokyo is nine hours ahead of UTC all year, and German has 24 hours."""
    started_at_ns = time.time_ns() - 40 * 86_400 * 10**9
    started_at_ns -= started_at_ns % (86_400 * 10**9)
    settings = make_settings(tmp_path)
    record(settings, [make_call(started_at_ns=started_at_ns)])
    async with opened(settings) as (page, _):
        text = await page.locator("#latest tr [data-cell=time]").text_content()
    assert text is not None
    assert text.endswith(", 9:00")


async def test_a_hidden_page_asks_for_nothing(settings: Settings) -> None:
    async with opened(settings) as (page, seen):
        hide = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        hide += " document.dispatchEvent(new Event('visibilitychange')); }"
        before = len(seen.requests)
        await page.evaluate(hide, True)
        await page.clock.run_for(10 * POLL_MS)
        await page.evaluate("fetch('/healthz')")
        asked = [url.rpartition("/")[2] for url in seen.requests[before:]]
        assert [name for name in asked if name != "favicon.svg"] == ["healthz"]
        async with page.expect_response("**/api/calls?last=50"):
            await page.evaluate(hide, False)
        assert seen.problems == []


async def test_the_first_call_turns_the_empty_page_into_the_full_one(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    async with opened(settings) as (page, seen):
        assert await page.locator("h1").text_content() == "No call has been recorded yet"
        record(settings, [make_call(started_at_ns=time.time_ns())])
        await page.clock.run_for(POLL_MS)
        await page.locator("#latest tr").wait_for()
        assert await page.locator("#latest tr").count() == 1
        assert await page.locator("[data-chart] canvas").count() == 3
        assert seen.problems == []


@pytest.mark.parametrize("width", [380, 768, 1280])
async def test_the_body_never_scrolls_sideways(settings: Settings, width: int) -> None:
    rows = [make_call(900_000, started_at_ns=time.time_ns(), team=HOSTILE, model_served=HOSTILE, prompt=HOSTILE)]
    unpriced = [make_call(900_001, started_at_ns=time.time_ns(), model_served=HOSTILE, cost_state="unpriced")]
    record(settings, rows + unpriced)
    async with opened(settings, width) as (page, seen):
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.problems == []


async def test_the_empty_page_fits_a_phone(tmp_path: Path) -> None:
    async with opened(make_settings(tmp_path), 380) as (page, seen):
        assert await page.evaluate("document.documentElement.scrollWidth") <= 380
        assert seen.problems == []
