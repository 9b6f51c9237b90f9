"""Makes the picture of the docs: the report of a real load test, down to its table.

The article's experiment runs, as anyone would run it, through ``submeter serve`` with the ledger as its source of
money, against a scripted provider that is about as fast as gpt-3.5-turbo has been, and whose latency does not depend on
the input. It takes about a minute and wants a machine with nothing else to do:

``PYTHONPATH=proxy:tests python -m loadtest.report_picture docs/loadtest.png [dark]``
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.async_api import async_playwright

from harness.loadtests import loadtest
from harness.processes import running
from meter.browser import CHROMIUM, FLAGS

MODEL = "gpt-3.5-turbo"
LATENCY = {"base_ms": 530, "output_ms_per_token": 35, "noise": 0.12, "output_tokens": 60}
WIDTH = 1280
TABLE_TOP = "document.getElementById('settings-title').getBoundingClientRect().top"


def run(directory: Path) -> Path:
    """The report of a run that has just been made."""
    with running(directory, **LATENCY) as (_, unit):
        unit.wait_ops()
        flags = ("--data-dir", str(unit.data_dir), "--seed", "1")
        return loadtest("article", unit.base_url, directory / "out", *flags, model=MODEL).out / "report.html"


async def take(report: Path, picture: Path, scheme: Literal["light", "dark"]) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme=scheme)
        await page.goto(report.as_uri())
        clip = {"x": 0.0, "y": 0.0, "width": float(WIDTH), "height": float(await page.evaluate(TABLE_TOP))}
        await page.screenshot(path=picture, full_page=True, clip=clip)
        await browser.close()


def main() -> None:
    picture = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(take(run(Path(name)), picture, "dark" if sys.argv[2:] == ["dark"] else "light"))


if __name__ == "__main__":
    main()
