"""A real Prometheus scrapes a unit whose meter is killed: it sees no reset, and the sums are those of the ledger."""

import os
import signal
from pathlib import Path

from harness.processes import Provider, Unit, wait_for
from harness.prometheus import Prometheus
from harness.raw import ask, chat

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs: [{{job_name: submeter, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]
"""
CALLS = 20


def test_a_meter_that_is_killed_is_no_reset_for_prometheus(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider)
    prometheus = Prometheus(tmp_path, CONFIG.format(port=unit.ops_port))
    calls = "sum(submeter_calls_total) or vector(0)"
    try:
        unit.wait_ops()
        prometheus.start()
        for made in (CALLS, 2 * CALLS, 3 * CALLS):
            for number in range(CALLS):
                assert ask(unit.port, "POST", "/v1/chat/completions", body=chat(stream=number % 2 == 0)).status == 200
            wait_for(lambda at=made: prometheus.number(calls) == at, "all calls in Prometheus")
            if made < 3 * CALLS:
                (meter,) = unit.pids("submeter.meter")
                os.kill(meter, signal.SIGKILL)
        names = prometheus.label_values("__name__", '{job="submeter"}')
        counters = [name for name in names if name.endswith(("_total", "_bucket", "_count", "_sum"))]
        assert len(counters) > 30
        assert {name: prometheus.number(f"sum(resets({name}[5m]))") for name in counters} == dict.fromkeys(counters, 0)
        cost = sum(row["cost_nano_usd"] for row in unit.rows())
        assert round(prometheus.number("sum(submeter_cost_usd_total)") * 10**9) == cost
        assert prometheus.number("submeter_series") <= prometheus.number("submeter_series_limit") == 2000
    finally:
        prometheus.close()
        unit.close()
