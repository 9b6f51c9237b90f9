"""``--max-usd 1.00`` is kept by the provider's own invoice, while many calls are in flight and the whole test would
cost ten dollars."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.loadtests import Ran, loadtest
from harness.processes import Provider, running
from submeter.scripted.invoice import total_nano_usd

MODEL = "gpt-4o"
CALLS, OUTPUT_TOKENS = 500, 2000
UNBOUNDED_USD = CALLS * OUTPUT_TOKENS * Decimal("10.00") / 10**6  # the output alone
LIMIT_USD = Decimal("1.00")
SCENARIO = f"""
description = "dear calls, fifty users"
runs = {CALLS}
users = 50
warm_up = 2
time_limit_s = 60
[[settings]]
input_tokens = 50
output_tokens = {OUTPUT_TOKENS}
"""
ANSWER: dict[str, Any] = {"ttft_ms": 50, "gap_ms": 5, "output_tokens": OUTPUT_TOKENS, "tokens_per_chunk": 100}


@pytest.mark.parametrize("source", ["the ledger", "reported usage at the price book"])
def test_a_dollar_is_a_dollar_on_the_invoice(tmp_path: Path, source: str) -> None:
    out = tmp_path / "out"
    if source == "the ledger":
        with running(tmp_path, **ANSWER) as (provider, unit):
            unit.wait_ops()
            ran = spend(unit.base_url, out, "--data-dir", str(unit.data_dir))
    else:
        provider = Provider(tmp_path, ANSWER)
        try:
            ran = spend(provider.base_url, out)
        finally:
            provider.close()
    spent_usd = total_nano_usd(provider.invoice()) / Decimal(10**9)
    assert UNBOUNDED_USD == 10
    # Less than the limit by what one call can cost at most: the next might have passed it.
    assert Decimal("0.85") < spent_usd <= LIMIT_USD
    assert Decimal(ran.result["cost_usd"]) == spent_usd
    assert (ran.result["stopped"], ran.result["cost_source"]) == ("budget", source)
    assert max(sample.concurrency for sample in ran.samples) >= 10, "calls were in flight together"


def spend(target: str, out: Path, *flags: str) -> Ran:
    return loadtest(SCENARIO, target, out, "--max-usd", "1.00", "--seed", "1", *flags, model=MODEL)
