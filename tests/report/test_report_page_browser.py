"""The weekly report in a real browser: from its file alone, every plot drawn, on a phone and on two sheets of paper."""

import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Page, async_playwright

from meter.browser import CHROMIUM, FLAGS, is_installed
from report.report_page_picture import take
from report.report_stub import make_bare_workload, make_choices, make_report, make_workload
from report.test_render import hostile
from submeter.report.document import Part, Report
from submeter.report.render import render

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not is_installed() and os.environ.get("CI") != "true",
        reason=f"no {CHROMIUM}: apt-get install chromium",
    ),
]

PAPER_WIDTH = 718
"""A4 less its margins, in CSS pixels."""

BOXES = """(figures) => figures.map((figure) => {
  const svg = figure.querySelector("svg[role=img]");
  const ids = svg.getAttribute("aria-labelledby").split(" ");
  const said = ids.map((id) => document.getElementById(id).textContent.trim());
  const { width, height } = svg.viewBox.baseVal;
  const marks = [...svg.children].filter((mark) => !mark.matches("title, desc, .made-up"));
  const out = marks.filter((mark) => {
    const { x, y, width: wide, height: high } = mark.getBBox();
    return x < -2 || y < -2 || x + wide > width + 2 || y + high > height + 2;
  });
  const box = svg.getBoundingClientRect();
  return { said, shown: box.width * box.height, marks: marks.length, rows: figure.querySelectorAll("tbody tr").length,
           out: out.map((mark) => mark.outerHTML) };
})"""

UNTRACED = """() => [...document.querySelectorAll(".num, .facts dd, .coefficients dd, .sentence")]
  .filter((cell) => cell.matches("td, dd, p") && /[0-9]/.test(cell.textContent))
  .filter((cell) => !cell.closest(".data") && !cell.title && !cell.querySelector("a[href^='#'], [title]"))
  .map((cell) => cell.outerHTML)"""

CUT = """() => [...document.querySelectorAll(".sheet")].map((sheet) => {
  const top = sheet.getBoundingClientRect().top;
  const bottoms = [...sheet.querySelectorAll("*")].map((each) => each.getBoundingClientRect().bottom - top);
  return Math.max(...bottoms) - sheet.clientHeight;
})"""


def many() -> Report:
    """As much as a report has in practice, and more than a page shows."""
    explained = make_workload().explained
    assert explained is not None
    parts = tuple(Part(part.factor, part.usd + 3) for part in explained.parts)
    long = {
        "explained": msgspec.structs.replace(explained, parts=parts),
        "why": ("A long reason of many words that goes on and on. " * 6,) * 5,
        "quality": make_workload().quality * 6,
        "choices": make_choices() * 3,
    }
    workloads = [make_workload(name, **long) for name in ("w" * 90, *(f"workload number {at}" for at in range(14)))]
    return make_report(workloads=tuple(workloads), warnings=("a warning " * 30,) * 6, unexplained=("a call",) * 9)


def little() -> Report:
    return make_report(workloads=(make_bare_workload(),), trend=(), restated=(), synthetic=False)


def nothing() -> Report:
    return make_report(**dict.fromkeys(("workloads", "trend", "restated", "assumptions", "warnings"), ()))


REPORTS = {"usual": make_report, "many": many, "little": little, "nothing": nothing, "hostile": hostile}
each_report = pytest.mark.parametrize("name", list(REPORTS))


def write(directory: Path, report: Report) -> Path:
    path = directory / "report.html"
    path.write_text(render(report), encoding="utf-8")
    return path


@asynccontextmanager
async def opened(directory: Path, report: Report, width: int = 1280, **options: Any) -> AsyncIterator[Page]:
    """The file, without a complaint and without a request but the one for it."""
    path = write(directory, report)
    problems: list[str] = []
    requests: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        await page.goto(path.as_uri())
        await page.evaluate("document.querySelectorAll('details.workload').forEach((each) => { each.open = true; })")
        yield page
        await browser.close()
    assert problems == []
    assert requests == [path.as_uri()]


def wordy() -> Report:
    """The usual one with names that are longer than their room."""
    name = "a long name of many words that says more than fits into one line of a plot"
    swings = tuple(msgspec.structs.replace(swing, factor=name) for swing in make_workload().tornado)
    choices = tuple(msgspec.structs.replace(choice, name=name) for choice in make_choices())
    usual = make_report()
    first = msgspec.structs.replace(usual.workloads[0], name=name, tornado=swings, choices=choices)
    return msgspec.structs.replace(usual, workloads=(first, *usual.workloads[1:]))


async def test_every_plot_is_drawn_and_told(tmp_path: Path) -> None:
    async with opened(tmp_path, wordy()) as page:
        names = await page.locator("[data-plot]").evaluate_all("(all) => all.map((each) => each.dataset.plot)")
        plots = ("staircase", "hourly", "tornado", "waterfall", "cdf")
        assert names == [
            *(f"w{at}-intervals" for at in (1, 2, 3)),
            *(f"w{at}-{name}" for at in (1, 2, 3) for name in plots),
            "trend",
        ]
        drawn = await page.locator("[data-plot]:has(svg)").evaluate_all(BOXES)
        assert len(drawn) == 3 + 2 * len(plots) + 1
        for plot in drawn:
            assert plot["out"] == []
            assert plot["shown"] > 20_000
            assert plot["marks"] > 6
            assert plot["rows"] > 0
            assert all(len(text) > 5 for text in plot["said"])
        assert await page.locator("[data-plot] > .missing").count() == len(plots)


@each_report
async def test_the_body_never_scrolls_sideways(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, REPORTS[name]()) as page:
        for width in (380, 768, 1280):
            await page.set_viewport_size({"width": width, "height": 900})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["usual", "little"])
async def test_every_figure_leads_to_where_it_is_from(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, REPORTS[name]()) as page:
        assert await page.evaluate(UNTRACED) == []


@each_report
def test_printed_it_is_two_pages(tmp_path: Path, name: str) -> None:
    path, pdf = write(tmp_path, REPORTS[name]()), tmp_path / "report.pdf"
    flags = [*FLAGS, "--headless", "--no-pdf-header-footer", f"--user-data-dir={tmp_path / 'profile'}"]
    subprocess.run([CHROMIUM, *flags, f"--print-to-pdf={pdf}", path.as_uri()], check=True, capture_output=True)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes())) == 2


@pytest.mark.parametrize("name", ["usual", "many", "little", "nothing"])
async def test_paper_cuts_nothing_off(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, REPORTS[name](), PAPER_WIDTH) as page:
        await page.emulate_media(media="print")
        cut = await page.evaluate(CUT)
        assert len(cut) == 2
        assert all(over <= 0 for over in cut), cut
        assert await page.locator(".assumptions").is_hidden()


async def test_paper_is_white_also_for_who_reads_in_the_dark(tmp_path: Path) -> None:
    async with opened(tmp_path, make_report(), color_scheme="dark") as page:
        ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
        assert await page.evaluate(ink) == "#ecebe7"
        await page.emulate_media(media="print", color_scheme="dark")
        assert await page.evaluate(ink) == "#1d1c1a"


async def test_a_script_that_got_in_would_not_run(tmp_path: Path) -> None:
    html = render(make_report()).replace("</body>", "<script>document.title = 'owned'</script></body>")
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page()
        await page.goto(path.as_uri())
        assert "2026-W47" in await page.title()
        await browser.close()


async def test_the_picture_for_the_docs(tmp_path: Path) -> None:
    await take(write(tmp_path, make_report()), tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
