"""``make stack``: the whole stack on loopback, with traffic, until Ctrl-C; where nobody watches, for two minutes.

At the end of the two minutes every query of every board and rule is asked, and how many have data is said.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from harness.stack import Stack
from harness.stack.boards import Shown
from harness.stack.check import Answer, ask_all, table

SECONDS = 120


def main() -> int:
    parser = argparse.ArgumentParser(prog="make stack", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of traffic before the queries are asked")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="submeter-stack-") as directory:
        console.print("starting Redis, Postgres, the scripted provider, Submeter with two relays, Prometheus …")
        with Stack(Path(directory)) as stack:
            console.print(_where(stack))
            answers = _drive_and_ask(stack, arguments.seconds, console)
            print(table(answers))
            silent = [answer for answer in answers if not answer.samples]
            for answer in silent:
                print(f"no data: {answer.query.name}: {answer.trouble or answer.query.text}")
            if sys.stdout.isatty():
                _stay(stack, console)
    return int(bool(silent))


def _where(stack: Stack) -> Table:
    shown = Table("what", "where", title="everything here is synthetic, and on this machine only")
    shown.add_row("data plane (OPENAI_BASE_URL)", stack.unit.base_url)
    shown.add_row("page, metrics, API", stack.unit.ops_url)
    shown.add_row("Prometheus", stack.prometheus.url)
    shown.add_row("Postgres", stack.ledger_url)
    shown.add_row("Redis", stack.redis.url)
    return shown


def _drive_and_ask(stack: Stack, seconds: int, console: Console) -> list[Answer]:
    begin_s = int(time.time())
    columns = (TextColumn("traffic"), BarColumn(), TextColumn("{task.fields[calls]} calls"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("traffic", total=seconds, calls=0)
        calls = 0

        def tick() -> None:
            nonlocal calls
            calls += 1
            progress.update(task, completed=time.time() - begin_s, calls=calls)

        stack.drive(seconds, tick)
    stack.settle()
    return ask_all(stack, Shown(begin_s, int(time.time()), 15))


def _stay(stack: Stack, console: Console) -> None:
    console.print("traffic goes on; Ctrl-C ends it")
    try:
        while True:
            stack.drive(3600)
    except KeyboardInterrupt:
        console.print("ending")


if __name__ == "__main__":
    sys.exit(main())
