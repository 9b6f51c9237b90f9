"""Makes the picture of the README, from made-up calls.

``PYTHONPATH=proxy:tests python -m meter.page_picture docs/page.png [dark]``
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from playwright.async_api import async_playwright

from meter.browser import CHROMIUM, FLAGS
from meter.ops_app import CONTENT_TYPE, EXPOSITION, HEALTHY, make_settings, record, served
from meter.page_calls import synthetic_calls
from submeter.meter.ops import make_app

NOTE = "Synthetic data: these calls, teams and amounts are made up"
WIDTH, HEIGHT = 1280, 1806


async def take(out: Path, scheme: Literal["light", "dark"]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        settings = make_settings(Path(directory))
        record(settings, synthetic_calls(time.time_ns()))
        app = make_app(settings, exposition=lambda _: (EXPOSITION, CONTENT_TYPE), health=lambda: HEALTHY, note=NOTE)
        async with served(app) as port, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            await page.goto(f"http://127.0.0.1:{port}/?period=7d", wait_until="networkidle")
            await page.screenshot(path=out)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]), "dark" if sys.argv[2:] == ["dark"] else "light"))
