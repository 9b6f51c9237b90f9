"""The article's experiment from the command to its picture, and its calls as three saw them: Locust, the ledger and
the provider. How many milliseconds apart they are is measured by ``bench/loadtest.py``."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.async_api import async_playwright

from harness.loadtests import LoggedProvider, Ran, loadtest, moments, provider
from harness.processes import Unit
from meter.browser import CHROMIUM, FLAGS, is_installed

LATENCY = {"base_ms": 150, "input_ms_per_token": 0.01, "output_ms_per_token": 8, "noise": 0.1}
"""A quick provider of today, so that the test is quick too."""
LIMIT_S = 180


class Seen(NamedTuple):
    ran: Ran
    took_s: float
    rows: dict[str, dict[str, Any]]
    timings: dict[str, dict[str, Any]]
    invoice: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def seen(module_dir: Path) -> Iterator[Seen]:
    with provider(module_dir, output_tokens=60, **LATENCY) as scripted:
        unit = Unit(module_dir, scripted)
        try:
            unit.wait_ops()
            yield run_article(module_dir / "out", scripted, unit)
        finally:
            unit.close()


def run_article(out: Path, scripted: LoggedProvider, unit: Unit) -> Seen:
    begun_s = time.monotonic()
    flags = ("--data-dir", str(unit.data_dir), "--seed", "1")
    ran = loadtest("article", unit.base_url, out, *flags, model="gpt-3.5-turbo")
    took_s = time.monotonic() - begun_s
    rows = {row["call_id"]: row for row in unit.rows()}
    return Seen(ran, took_s, rows, scripted.timings(), {line["request_id"]: line for line in scripted.invoice()})


def test_the_article_ends_within_three_minutes(seen: Seen) -> None:
    result = seen.ran.result
    assert seen.took_s <= LIMIT_S
    assert [(line["n"], line["errors"]) for line in result["settings"]] == [(20, 0)] * 3
    assert (result["stopped"], result["cost_source"]) == ("done", "the ledger")
    assert result["fit"]["c_ms_per_output_token"]["low"] > 0, "output length matters"
    assert len(seen.invoice) == 61, "and the call of the warm-up"


def test_three_have_seen_the_same_calls(seen: Seen) -> None:
    """What each measures contains what the next one does: the client's time the relay's, and that the provider's."""
    assert len(seen.ran.samples) == 60
    for sample in seen.ran.samples:
        row, timing, line = seen.rows[sample.call_id], seen.timings[sample.request_id], seen.invoice[sample.request_id]
        assert row["upstream_request_id"] == sample.request_id
        assert sample.input_tokens == row["input_tokens"] == line["tokens"]["input_uncached"]
        assert sample.output_tokens == row["output_tokens"] == line["tokens"]["output_text"]
        three = moments(sample, row, timing)
        assert 0 < three.provider_ttft_ns <= three.ledger_ttft_ns <= three.locust_ttft_ns
        assert 0 < three.provider_e2e_ns <= three.ledger_e2e_ns <= three.locust_e2e_ns


@pytest.mark.anyio
@pytest.mark.skipif(
    not is_installed() and os.environ.get("CI") != "true", reason=f"no {CHROMIUM}: apt-get install chromium"
)
async def test_its_report_needs_nothing_but_its_file(seen: Seen) -> None:
    address = (seen.ran.out / "report.html").resolve().as_uri()
    problems: list[str] = []
    requests: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        await page.goto(address)
        drawn = await page.locator("[data-chart] canvas").count()
        sentence = await page.locator(".sentence").inner_text()
        await browser.close()
    assert drawn >= 4
    assert f"{seen.ran.result['fit']['a_ms']['value']:.0f} ms" in sentence
    assert problems == []
    assert requests == [address]
