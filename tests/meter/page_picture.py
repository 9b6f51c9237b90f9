"""Makes docs/page.png: ``python tests/meter/page_picture.py OUT.png [WIDTH] [light|dark]``."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "proxy")]

from aiohttp import web  # noqa: E402
from playwright.async_api import async_playwright  # noqa: E402

from meter.browser import CHROMIUM, FLAGS  # noqa: E402 - the path is set above
from meter.page_calls import synthetic_calls  # noqa: E402
from submeter.config import Settings  # noqa: E402
from submeter.meter.ops import Health, make_app, make_runner  # noqa: E402
from submeter.store.ledger import Ledger  # noqa: E402

NOTE = "Synthetic data: these calls, teams and amounts are made up"
HEALTH = Health(ready=True, degraded=False, reason=None, in_flight=3, lag_s=0.2, lag_bytes=412)


async def take(out: Path, width: int, scheme: str, fill: bool = True, query: str = "?period=7d") -> None:
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(data_dir=Path(directory))
        if fill:
            with Ledger.open(settings.ledger_url) as ledger:
                ledger.migrate()
                ledger.ship(list(synthetic_calls(time.time_ns())), {})
        app = make_app(
            settings, exposition=lambda: (b"", "text/plain"), health=lambda: HEALTH, note=NOTE if fill else None
        )
        runner = make_runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.on("console", lambda message: print("console:", message.text, file=sys.stderr))
            await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/{query}")
            await page.wait_for_timeout(1500)
            await page.screenshot(path=out, full_page=True)
            await browser.close()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(
        take(
            Path(sys.argv[1]),
            int(sys.argv[2]) if len(sys.argv) > 2 else 1280,
            sys.argv[3] if len(sys.argv) > 3 else "light",
            *([False] if len(sys.argv) > 4 else []),
        )
    )
