"""The meter is killed under traffic: what it shows never goes back, and in the end is what the ledger has."""

import asyncio
import os
import signal
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.processes import Provider, Unit, submeter, wait_for
from harness.raw import ask, chat
from harness.scraping import Samples, scrape, scrape_or_none, total, value

KILLS = 4
NANO = 10**9
CHAT = "/v1/chat/completions"


def call(unit: Unit, number: int) -> None:
    script = f"input_tokens={10 + number % 7};output_tokens={3 + number % 5}"
    headers = {"x-submeter-team": f"t{number % 3}", "x-submeter-prompt": f"p{number % 2}", "x-scripted": script}
    assert ask(unit.port, "POST", CHAT, headers, chat(stream=number % 2 == 0)).status == 200
    if number % 10 == 0:
        assert ask(unit.port, "POST", CHAT, {"Content-Type": "application/json"}, b"{").status == 400


async def traffic(unit: Unit, done: asyncio.Event) -> int:
    """How many calls; a few come after the last kill."""
    made = 0
    while not done.is_set() or made % 20:
        await asyncio.to_thread(call, unit, made)
        made += 1
    return made


async def kill_now_and_then(unit: Unit, done: asyncio.Event) -> None:
    for number in range(1, KILLS + 1):
        await asyncio.sleep(0.3)
        (meter,) = unit.pids("submeter.meter")
        os.kill(meter, signal.SIGKILL)
        await asyncio.to_thread(wait_for, lambda at=number: unit.log().count("meter ready") > at, "the next meter")
    done.set()


async def watch(unit: Unit, scrapes: list[Samples]) -> None:
    while True:
        with suppress(OSError, AssertionError):
            samples = await asyncio.to_thread(scrape_or_none, unit)
            if samples is not None:
                scrapes.append(samples)
        await asyncio.sleep(0.05)


async def under_fire(unit: Unit) -> tuple[int, list[Samples]]:
    """(calls made, what was seen of the metrics meanwhile)."""
    scrapes: list[Samples] = []
    done = asyncio.Event()
    watching = asyncio.ensure_future(watch(unit, scrapes))  # noqa: TID251 - cancelled below
    made, _ = await asyncio.gather(traffic(unit, done), kill_now_and_then(unit, done))
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return made, scrapes


def counters(samples: Samples) -> Samples:
    suffixes = ("_total", "_bucket", "_count", "_sum")
    return {key: number for key, number in samples.items() if key[0].endswith(suffixes)}


def test_a_meter_that_is_killed_shows_what_the_ledger_has(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider)
    try:
        unit.wait_ops()
        made, scrapes = asyncio.run(under_fire(unit))
        rows = unit.rows()
        assert len(rows) == made
        refused = "submeter_refused_calls_total"
        wait_for(lambda: value(scrape(unit), refused, code="invalid_json") == -(-made // 10), "the relay's tallies")
        wait_for(lambda: total(scrape(unit), "submeter_ledger_rows_total") == made, "all rows to be shipped")
        scrapes.append(scrape(unit))
    finally:
        unit.close()
    assert len(scrapes) > 2 * KILLS
    for before, after in pairwise(scrapes):
        lower = {key for key, number in counters(before).items() if after.get(key, -1) < number}
        assert lower == set(), "Prometheus would count all of it again"
    assert_as_in_ledger(scrapes[-1], rows)


def assert_as_in_ledger(samples: Samples, rows: list[dict[str, Any]]) -> None:
    assert total(samples, "submeter_calls_total") == len(rows)
    assert total(samples, "submeter_upstream_calls_total", status="2xx") == len(rows)
    duration = "gen_ai_client_inference_duration_seconds"
    assert total(samples, f"{duration}_count") == total(samples, f"{duration}_bucket", le="+Inf") == len(rows)
    assert round(total(samples, f"{duration}_sum") * NANO) == sum(row["e2e_ns"] for row in rows)
    for team in ("t0", "t1", "t2"):
        cost = sum(row["cost_nano_usd"] for row in rows if row["team"] == team)
        assert round(total(samples, "submeter_cost_usd_total", team=team) * NANO) == cost
    for name in ("input_tokens", "output_tokens"):
        said = sum(row[name] for row in rows)
        assert total(samples, f"gen_ai_client_inference_usage_{name}_total") == said
        assert total(samples, f"gen_ai_client_inference_operation_{name}_sum") == said


def test_a_unit_that_is_started_again_goes_on(tmp_path: Path, provider: Provider) -> None:
    """A stop, and then a whole power cut; doctor finds nothing left in the journal."""
    unit = Unit(tmp_path, provider)
    try:
        for round_number in (1, 2, 3):
            unit.wait_ops()
            for number in range(5):
                call(unit, number)
            wait_for(lambda at=5 * round_number: total(scrape(unit), "submeter_ledger_rows_total") == at, "the rows")
            if round_number == 1:
                unit.stop()
            elif round_number == 2:
                unit.kill()
            if round_number < 3:
                unit.start()
        samples, rows = scrape(unit), unit.rows()
        assert_as_in_ledger(samples, rows)
        name = (unit.data_dir / "unit").read_text().strip()
        assert name not in str(samples)
        found = submeter("doctor", "--json", "--data-dir", str(unit.data_dir), "--upstream", provider.base_url)
        assert "0 bytes wait for the ledger" in found.stdout
    finally:
        unit.close()
