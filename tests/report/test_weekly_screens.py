"""The page of a real report in a real browser: without a complaint or a request, every plot drawn and told."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from harness.weeks import WEEK, Calls, planted, run, write_ledger
from meter.browser import CHROMIUM, FLAGS, is_installed
from report.test_report_page_browser import BOXES, UNTRACED
from report.test_weekly_history import CONFIGURATION

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not is_installed() and os.environ.get("CI") != "true",
        reason=f"no {CHROMIUM}: apt-get install chromium",
    ),
]

SUPPORT = Calls(a_week=420, model="gpt-4", input_tokens=3000)
OTHER = Calls(a_week=140, app="Müller & Söhne <img src=x onerror=alert(1)>", prompt=None, model="gpt-4")


@pytest.fixture
def page_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the third week, after the reports of two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBMETER_CONFIG", "")
    Path("alternatives.yaml").write_text(CONFIGURATION)
    weeks = [WEEK.previous(2), WEEK.previous(), WEEK]
    write_ledger(tmp_path / "ledger.sqlite3", planted(SUPPORT, OTHER, weeks=weeks))
    for week in weeks:
        ended = run("--data-dir", ".", "--week", week, "--html", "report.html")
        assert ended.exit_code == 0, ended.exception
    return tmp_path / "report.html"


async def test_a_real_report_in_a_browser(page_file: Path) -> None:
    problems: list[str] = []
    requests: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        await page.goto(page_file.as_uri())
        await page.evaluate("document.querySelectorAll('details.workload').forEach((each) => { each.open = true; })")
        drawn: list[dict[str, Any]] = await page.locator("[data-plot]:has(svg)").evaluate_all(BOXES)
        names = await page.locator("[data-plot]:has(svg)").evaluate_all("(all) => all.map((each) => each.dataset.plot)")
        untraced = await page.evaluate(UNTRACED)
        title, width = await page.title(), await page.evaluate("document.documentElement.scrollWidth")
        await browser.close()
    assert problems == []
    assert requests == [page_file.as_uri()]
    assert "2026-W47" in title
    assert width <= 1280
    of_support = {name.partition("-")[2] for name in names if name.startswith("w1-")}
    assert {"intervals", "staircase", "hourly", "tornado", "cdf"} <= of_support
    assert "trend" in names
    for plot in drawn:
        assert plot["out"] == []
        assert plot["shown"] > 20_000
        assert plot["marks"] > 6
        assert plot["rows"] > 0
        assert all(len(text) > 5 for text in plot["said"])
    assert untraced == []
