"""A fault of Locust's file itself ends the run, and says where to look."""

import os
from pathlib import Path

import pytest

from submeter.errors import UsageError
from submeter.loadtest import run
from submeter.loadtest.order import Order
from submeter.loadtest.scenario import Call, Scenario, Setting
from submeter.loadtest.spend import BookSpend


def test_what_no_call_can_cause_is_not_waited_for(tmp_path: Path) -> None:
    scenario = Scenario(description="", settings=(Setting(input_tokens=51, output_tokens=1),), time_limit_s=600)
    order = Order(
        scenario=scenario,
        calls=[Call(number=0, setting=7, scheduled_ns=None, warm_up=False)],  # there is no such setting
        seed=1,
        base_url="http://127.0.0.1:9/v1",
        model="m",
        limit_nano_usd=None,
        worst_nano_usd=[],
        parent_pid=os.getpid(),
        web=False,
    )
    with pytest.raises(UsageError, match=r"Locust did not run: what it said is in .*locust\.log"):
        run.run(order, tmp_path / "locust", BookSpend(None, []), lambda calls, nano_usd: None)
    assert "IndexError" in (tmp_path / "locust" / "locust.log").read_text()
