"""The report in a real browser: from its file alone, without an error, charts drawn, the width of a phone."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, async_playwright

from loadtest.report_samples import make_result, make_sample, make_steps, matrix
from meter.browser import CHROMIUM, FLAGS, is_installed
from submeter.loadtest.report import write_report
from submeter.loadtest.samples import Sample

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not is_installed() and os.environ.get("CI") != "true",
        reason=f"no {CHROMIUM}: apt-get install chromium",
    ),
]

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(1)">' + "long" * 200

INKED = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200) colours.add(data.slice(at, at + 3).join());
  return colours.size;
}"""
"""How many colours stand on a canvas; a frame with words alone has a handful of greys."""


@asynccontextmanager
async def opened(
    directory: Path, samples: Sequence[Sample], width: int = 1280, **changes: Any
) -> AsyncIterator[tuple[Page, list[str]]]:
    """The report of these samples, and what the browser complained about. It asks for the file and nothing else."""
    path = write_report(directory, make_result(samples, **changes), samples)
    problems: list[str] = []
    requests: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": width, "height": 900}, locale="de-DE")
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        await page.goto(path.as_uri())
        yield page, problems
        await browser.close()
    assert requests == [path.as_uri()]


async def accents(chart: Locator) -> int:
    found = await chart.locator("canvas").evaluate(INKED)
    assert isinstance(found, int)
    return found


async def test_every_chart_is_drawn(tmp_path: Path) -> None:
    async with opened(tmp_path, matrix(), **make_steps()) as (page, problems):
        charts = page.locator("[data-chart]")
        names = [await chart.get_attribute("data-chart") for chart in await charts.all()]
        assert names == ["fit-output", "fit-input", "tpot-concurrency", "throughput", "cdf-ttft", "cdf-e2e"]
        for chart in await charts.all():
            assert await accents(chart) > 20
            assert await chart.locator("[role=img]").get_attribute("aria-label")
        for name in ("heat-ttft", "heat-e2e"):
            assert await page.locator(f"[data-heat={name}] svg[role=img] rect").count() == 16
        assert await page.locator("[data-rows=tpot] circle").count() == 12
        sentence = await page.locator(".sentence").inner_text()
        assert sentence == "351 ms + 0.0203 ms per input token + 12.42 ms per output token"
        assert problems == []


async def test_a_legend_tells_what_is_under_the_pointer(tmp_path: Path) -> None:
    async with opened(tmp_path, matrix()) as (page, problems):
        chart = page.locator("[data-chart=tpot-concurrency]")
        await chart.locator(".u-over").hover(position={"x": 20, "y": 40})
        at, p50, p95 = await chart.locator(".u-value").all_inner_texts()
        assert at == "1 in flight"
        assert 10 < float(p50.removesuffix(" ms")) < float(p95.removesuffix(" ms")) < 15
        assert problems == []


async def test_hostile_names_are_only_shown(tmp_path: Path) -> None:
    samples = [
        make_sample(at, setting=f"{at % 3}{HOSTILE}", output_tokens=2 + at, error=HOSTILE if at == 9 else None)
        for at in range(10)
    ]
    names = dict.fromkeys(("scenario", "description", "target", "model", "started_at", "coordinated_omission"), HOSTILE)
    async with opened(tmp_path, samples, 380, warnings=[HOSTILE], **names) as (page, problems):
        assert await page.locator("h1 bdi").first.text_content() == HOSTILE
        assert await page.locator("[data-chart=cdf-e2e] .u-label").nth(1).text_content() == f"0{HOSTILE}"
        assert await page.locator("img").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= 380
        assert problems == []


async def test_a_script_that_got_in_would_not_run(tmp_path: Path) -> None:
    """The file's own policy names its two scripts by their hashes."""
    async with opened(tmp_path, [make_sample()]) as (page, problems):
        await page.evaluate("""() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'owned'";
          document.body.append(script);
        }""")
        assert "owned" not in await page.title()
        assert len(problems) == 1
        assert "Content Security Policy" in problems[0]


@pytest.mark.parametrize("samples", [[], [make_sample()]], ids=["no call", "one call"])
async def test_little_to_show(tmp_path: Path, samples: list[Sample]) -> None:
    async with opened(tmp_path, samples, 380, fit=None, cost_usd=None) as (page, problems):
        assert await page.locator(".model .missing").count() == 1
        assert await page.locator("figure .missing:visible").count() == (8 if not samples else 5)
        assert await page.locator("figure canvas").count() == (0 if not samples else 2)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 380
        assert problems == []


@pytest.mark.parametrize("width", [380, 768, 1280])
async def test_the_body_never_scrolls_sideways(tmp_path: Path, width: int) -> None:
    async with opened(tmp_path, matrix(3), width) as (page, problems):
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert problems == []


async def test_paper_is_white_also_for_who_reads_in_the_dark(tmp_path: Path) -> None:
    """The canvases are drawn anew for the printer, and again for the screen."""
    async with opened(tmp_path, matrix(3)) as (page, problems):
        await page.emulate_media(color_scheme="dark")
        ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
        assert await page.evaluate(ink) == "#ecebe7"
        await page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert await page.evaluate(ink) == "#1d1c1a"
        assert await page.locator("[data-chart] canvas").count() == 5
        await page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert await page.evaluate(ink) == "#ecebe7"
        assert len(await page.pdf()) > 50_000
        assert problems == []
