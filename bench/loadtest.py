"""How far a load test can be believed: its load, its clocks and its knee, each against a truth that is known.

Streams: one Locust process against a server of streams that costs next to nothing, of 50 pieces each, 4 ms apart: with
as many users as make 400 a second where nothing is slow, and with as many as make too much, which the result must say.
Agreement: calls one after another through `submeter serve`, each as Locust, the ledger and the provider measured it.
They differ by what lies between them: ledger less provider is what the relay does before it sends a request on and
after a token has come, and the provider's reading of the request; Locust less ledger is the sending of the request, the
connection that a first call makes, and how soon two busy processes are woken. The client's time contains the relay's,
and that the provider's, so that no difference is negative. Knee: arrivals below and above what a batching device bears.

    python bench/loadtest.py [--calls 60] [--streams 4000]

Exit code 1 if one process does not drive 300 streams a second without being the limit, if being the limit is not said,
if two of the three are more than 2 ms apart in the median of the time to the first token, or if the knee is more than
10 % off.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterable
from math import nan
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cache import daemon

from harness.loadtests import PLANTED_KNEE_PER_S, Moments, Ran, find_knee, loadtest, moments, provider
from harness.processes import Unit, free_port
from submeter.commands import tables

QUICK = Path(__file__).resolve().parent.parent / "tests" / "loadtest" / "quick_provider.py"
CHUNKS, GAP_MS = 50, 4
SOME_USERS, TOO_MANY_USERS = 80, 400
LEAST_STREAMS_PER_S = 300
MOST_APART_MS = 2.0
MOST_KNEE_ERROR = 0.1
LOW_LOAD = {"base_ms": 100, "output_ms_per_token": 5, "output_tokens": 100}


class Row(NamedTuple):
    what: str
    figure: str
    p95: str
    must: str
    holds: bool
    more: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--streams", type=int, default=4000)
    arguments = parser.parse_args()
    rows = [
        drive(SOME_USERS, arguments.streams, overload=False),
        drive(TOO_MANY_USERS, arguments.streams, overload=True),
        *agreement(arguments.calls),
        knee(),
    ]
    table = tables.make_table("submeter loadtest", ("what",), ("median", "p95", "must be"))
    table.add_column("")
    for row in rows:
        table.add_row(row.what, row.figure, row.p95, row.must, row.more if row.holds else f"FAILS {row.more}")
    tables.make_console().print(table)
    return int(not all(row.holds for row in rows))


def scenario(users: int, runs: int, output_tokens: int) -> str:
    """A closed loop of one setting."""
    return (
        f'description = "bench"\nusers = {users}\nruns = {runs}\nwarm_up = 5\ntime_limit_s = 100\n'
        f"[[settings]]\ninput_tokens = 50\noutput_tokens = {output_tokens}\n"
    )


# -- how many streams --------------------------------------------------------------------------------------------------


def drive(users: int, streams: int, *, overload: bool) -> Row:
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        command = [sys.executable, str(QUICK), "--port", str(port), "--gap-ms", str(GAP_MS)]
        with daemon([*command, "--log", str(directory / "log")], port) as pid:
            before_s = cpu_s(pid)
            ran = loadtest(scenario(users, streams, CHUNKS), f"http://127.0.0.1:{port}/v1", directory / "out")
            server_s = cpu_s(pid) - before_s
    begun_ns = min(sample.started_ns for sample in ran.samples)
    took_s = (max(sample.started_ns + (sample.e2e_ns or 0) for sample in ran.samples) - begun_ns) / 1e9
    per_s, limited = len(ran.samples) / took_s, ran.result["generator_limited"]
    return Row(
        f"streams a second of {CHUNKS} pieces, {users} users",
        f"{per_s:.0f}",
        "",
        "said to be limited" if overload else f">= {LEAST_STREAMS_PER_S}, not limited",
        limited if overload else per_s >= LEAST_STREAMS_PER_S and not limited,
        f"{said(ran, limited=limited)}; server {server_s / took_s:.2f}",
    )


def said(ran: Ran, *, limited: bool) -> str:
    generator, verdict = ran.result["generator"], "the limit" if limited else "not the limit"
    busy = tables.MISSING if generator["cpu_most"] is None else f"{generator['cpu_most']:.2f}"
    return f"generator {verdict}, {generator['lag_ms_p99']:.1f} ms late (p99), {busy} of a core"


def cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


# -- three clocks ------------------------------------------------------------------------------------------------------


def agreement(calls: int) -> list[Row]:
    found = measured(calls)
    pairs = {
        "TTFT, ledger less provider": [each.ledger_ttft_ns - each.provider_ttft_ns for each in found],
        "TTFT, Locust less ledger": [each.locust_ttft_ns - each.ledger_ttft_ns for each in found],
        "TTFT, Locust less provider": [each.locust_ttft_ns - each.provider_ttft_ns for each in found],
        "end to end, ledger less provider": [each.ledger_e2e_ns - each.provider_e2e_ns for each in found],
        "end to end, Locust less ledger": [each.locust_e2e_ns - each.ledger_e2e_ns for each in found],
    }
    return [apart(name, differences_ns) for name, differences_ns in pairs.items()]


def apart(name: str, differences_ns: Iterable[int]) -> Row:
    """The size of the differences; a negative one would be a clock that lies."""
    sizes_ms = sorted(abs(each) / 1e6 for each in differences_ns)
    median_ms, p95_ms = statistics.median(sizes_ms), sizes_ms[int(0.95 * len(sizes_ms))]
    must = f"<= {MOST_APART_MS:g} ms" if name.startswith("TTFT") else ""
    return Row(
        name,
        f"{median_ms:.2f} ms",
        f"{p95_ms:.2f} ms",
        must,
        not must or median_ms <= MOST_APART_MS,
        f"of {len(sizes_ms)} calls",
    )


def measured(calls: int) -> list[Moments]:
    with tempfile.TemporaryDirectory() as name, provider(Path(name), **LOW_LOAD) as scripted:
        unit = Unit(Path(name), scripted)
        try:
            unit.wait_ops()
            ran = loadtest(scenario(1, calls, 20), unit.base_url, Path(name) / "out", "--data-dir", str(unit.data_dir))
            rows = {row["call_id"]: row for row in unit.rows()}
        finally:
            unit.close()
        timings = scripted.timings()
    return [moments(each, rows[each.call_id], timings[each.request_id]) for each in ran.samples]


# -- the knee ----------------------------------------------------------------------------------------------------------


def knee() -> Row:
    with tempfile.TemporaryDirectory() as directory:
        found_per_s = find_knee(Path(directory)).result["knee"]["rate_per_s"]
    found_per_s = nan if found_per_s is None else found_per_s
    error = found_per_s / PLANTED_KNEE_PER_S - 1
    return Row(
        "knee, calls a second",
        f"{found_per_s:.2f}",
        "",
        f"{PLANTED_KNEE_PER_S:.2f} ± {MOST_KNEE_ERROR:.0%}",
        abs(error) <= MOST_KNEE_ERROR,
        f"{error:+.1%}",
    )


if __name__ == "__main__":
    sys.exit(main())
