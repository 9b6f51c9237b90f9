"""Makes the picture of the docs: a weekly report, down to the plots of its first workload.

``PYTHONPATH=proxy:tests python -m report.report_page_picture REPORT.html docs/report.png [dark]``
"""

import asyncio
import sys
from pathlib import Path
from typing import Literal

from playwright.async_api import async_playwright

from meter.browser import CHROMIUM, FLAGS

WIDTH = 1280
END = """() => {
  const last = document.querySelector(".on-paper > .charts") ?? document.querySelector(".sheet.one");
  return Math.ceil(last.getBoundingClientRect().bottom + 24);
}"""


async def take(report: Path, picture: Path, scheme: Literal["light", "dark"] = "light") -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme=scheme)
        await page.goto(report.as_uri())
        clip = {"x": 0.0, "y": 0.0, "width": float(WIDTH), "height": float(await page.evaluate(END))}
        await page.screenshot(path=picture, full_page=True, clip=clip)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]).resolve(), Path(sys.argv[2]), "dark" if sys.argv[3:] == ["dark"] else "light"))
