"""What a weekly report costs: a made-up week of a million calls and one configured fleet, in seconds and bytes.

Calls come by a diurnal curve, weekends are quieter, lengths are log-normal; each minute's rate is drawn, so there are
bursts. First the plan alone (check: 30 s, 1 GB), in a process of its own; then ``submeter report`` over a ledger of the
week (check: 60 s, 1 GB), with the plan, prices, draws, sensitivity, HTML and JSON in it. ``--before``: so many calls of
the week before are in the ledger as well, for what has changed. Held against the limits is the CPU time, which other
processes on the machine do not change.

    python bench/report.py [--calls 1000000] [--before 0] [--policy static] [--only plan|whole]

Exit code 1 if a limit is broken.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.weeks import WEEK, Calls, Row, row, write_ledger
from submeter.core.week import Week
from submeter.report import catalog
from submeter.report.catalog import Server
from submeter.report.load import DAY_S
from submeter.report.plan import Objective, Plan, plan
from submeter.report.workloads import Demand

MOST_PLAN_S, MOST_WHOLE_S, MOST_BYTES = 30.0, 60.0, 10**9
WEIGHTS = (1.0, 1.05, 1.1, 1.05, 0.95, 0.4, 0.35)
"""Of the days, Monday first."""
MINUTES = 7 * 24 * 60
KIND = Calls(a_week=0, model="gpt-4o", usd_per_million=("2.5", "1.25", "10"))
CONFIGURATION = """
objective: {{ttft_p95_ms: 2000, tpot_p95_ms: 50}}
engineer_usd_per_week: 1500
migration_usd: 8000
workloads:
  - name: support
    match: {{app: support}}
    buy: [{{model: gpt-4o-mini, provider: openai}}]
    equivalents:
      - model: llama-3.3-70b
        tokenizer_ratio: "1.04"
        quality: {{evidence: "evals/support.md", date: 2026-11-02, holds: true}}
        rent: [{{host: together_ai, model: meta-llama/Llama-3.3-70B-Instruct-Turbo}}]
        build: [{{gpu: h100_sxm, tensor_parallel: 2, policy: {policy}}}]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--before", type=int, default=0)
    parser.add_argument("--policy", choices=["static", "hourly", "reactive"], default="static")
    parser.add_argument("--only", choices=["plan", "whole"])
    arguments = parser.parse_args()
    if arguments.only == "plan":
        return the_plan(arguments.calls, arguments.policy)
    if arguments.only == "whole":
        return the_whole(arguments.calls, arguments.before, arguments.policy)
    asked = ["--calls", str(arguments.calls), "--before", str(arguments.before), "--policy", arguments.policy]
    return max(
        subprocess.run([sys.executable, __file__, *asked, "--only", part], check=False).returncode  # noqa: S603
        for part in ("plan", "whole")
    )


def the_plan(calls: int, policy: str) -> int:
    demand = week(calls)
    server = Server(gpu=catalog.gpu("h100_sxm"), model=catalog.model("llama-3.3-70b"), tensor_parallel=2)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    found = plan(demand, server, Objective(2.0, 0.05), policy, progress=show)
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert isinstance(found, Plan)
    say(f"{found.replicas} + {found.spare} replicas, by day {found.by_day}, by speed {found.by_speed}")
    say(f"averages {found.averages:.2f}, Poisson {found.poisson}, utilisation {found.utilisation:.0%}")
    return judged(f"the plan of {calls:,} calls, {policy}", wall_s, cpu_s, MOST_PLAN_S, peak_bytes)


def the_whole(calls: int, before: int, policy: str) -> int:
    """``submeter report`` as a process. Its memory is that of the largest child, of which it is the only one."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "alternatives.yaml").write_text(CONFIGURATION.format(policy=policy))
        write_ledger(directory / "ledger.sqlite3", rows(calls, before))
        asked = ("report", "--data-dir", ".", "--week", str(WEEK), "--html", "report.html", "--json", "report.json")
        began_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "submeter.cli", *asked], cwd=directory, check=True)  # noqa: S603
        wall_s, used = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, peak_bytes = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    what = f"submeter report of {calls:,} calls, {before:,} the week before, {policy}"
    return judged(what, wall_s, cpu_s, MOST_WHOLE_S, peak_bytes)


def judged(what: str, wall_s: float, cpu_s: float, most_s: float, peak_bytes: int) -> int:
    say(f"{what}: {wall_s:.1f} s, {cpu_s:.1f} s CPU (most {most_s:g}), {peak_bytes / 1e6:,.0f} MB (most 1,000)")
    return int(cpu_s > most_s or peak_bytes > MOST_BYTES)


def rows(calls: int, before: int) -> Iterator[Row]:
    """Of the week before and of the week, at list prices."""
    for seed, (of, number) in enumerate(((WEEK, calls), (WEEK.previous(), before)), start=1):
        demand = week(number, seed)
        for place, (at_s, read, wrote) in enumerate(zip(*(each.tolist() for each in demand[:3]), strict=True)):
            yield call(of, place, at_s, read, wrote)


def call(of: Week, place: int, at_s: float, read: int, wrote: int) -> Row:
    cost = 2500 * read + 10_000 * wrote
    tokens = {"input_tokens": read, "output_tokens": wrote, "cost_nano_usd": cost, "e2e_ns": (400 + 15 * wrote) * 10**6}
    parts = {"part_input_uncached_tokens": read, "part_output_text_tokens": wrote}
    return row(KIND, of.start_ns + int(at_s * 1e9), f"{of}-{place}", **tokens, **parts)


def show(text: str) -> None:
    """What is computed, and the CPU seconds before it."""
    sys.stderr.write(f"{time.process_time():6.1f} s  {text}\n")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def week(calls: int, seed: int = 1) -> Demand:
    drawn = np.random.default_rng(seed)
    minute = np.arange(MINUTES)
    hour = minute / 60 % 24
    rate = (1 + 0.8 * np.sin((hour - 8) / 12 * np.pi)) * np.array(WEIGHTS)[minute // (24 * 60)]
    rate *= drawn.lognormal(0, 0.3, MINUTES)
    arrival_s = np.sort((drawn.choice(MINUTES, calls, p=rate / rate.sum()) + drawn.uniform(0, 1, calls)) * 60)
    return Demand(
        arrival_s,
        np.clip(drawn.lognormal(7.0, 0.8, calls), 10, 30_000).astype(np.int64),
        np.clip(drawn.lognormal(5.3, 0.7, calls), 1, 4_000).astype(np.int64),
        (arrival_s // DAY_S).astype(np.int32),
    )


if __name__ == "__main__":
    sys.exit(main())
