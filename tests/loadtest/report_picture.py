"""Makes the picture of the docs, from made-up calls: the report down to its table.

``PYTHONPATH=proxy:tests python -m loadtest.report_picture docs/loadtest.png [dark]``
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Literal

import msgspec
from playwright.async_api import async_playwright

from loadtest.report_samples import make_result, matrix
from meter.browser import CHROMIUM, FLAGS
from submeter.loadtest.fit import fit
from submeter.loadtest.report import write_report

NOTE = "Synthetic data: this provider, its calls and its price are made up"
WIDTH = 1280
TABLE_TOP = "document.getElementById('settings-title').getBoundingClientRect().top"


async def take(out: Path, scheme: Literal["light", "dark"]) -> None:
    samples = matrix()
    with tempfile.TemporaryDirectory() as directory:
        result = make_result(samples, note=NOTE, fit=msgspec.to_builtins(fit(samples, seed=7)))
        path = write_report(Path(directory), result, samples)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme=scheme)
            await page.goto(path.as_uri())
            clip = {"x": 0.0, "y": 0.0, "width": float(WIDTH), "height": float(await page.evaluate(TABLE_TOP))}
            await page.screenshot(path=out, full_page=True, clip=clip)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]), "dark" if sys.argv[2:] == ["dark"] else "light"))
