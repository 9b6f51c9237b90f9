"""``submeter demo``: the main job with no key and no network, its own check against the provider's invoice, and at last
the weekly report of a made-up week."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from submeter.commands import cost_output, latency_output, tables
from submeter.commands.reading import Question
from submeter.commands.settled import wait_until_settled
from submeter.demo import traffic
from submeter.demo.unit import DemoUnit
from submeter.errors import UsageError
from submeter.journal.reader import started_calls
from submeter.scripted.invoice import read_invoice, total_nano_usd
from submeter.store.ledger import Ledger
from submeter.store.queries import CostLine, cost_by, latency_by, summary
from submeter.store.queries.priced import ORIGINAL

CALLS = 150
SETTLE_S = 30.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo has to show; its JSON form is what ``--json`` prints."""

    calls: int
    ledger_nano_usd: int
    invoice_nano_usd: int
    cache_hits: int
    hit_rate: float
    input_tokens: int
    output_tokens: int
    ttft_ms_p50: float | None
    synthetic: bool = True


def run(once: bool, as_json: bool) -> int:
    """0 when ledger and invoice agree to the nano-dollar, 1 when they do not."""
    console = Console(stderr=True, highlight=False)
    stays = not once and not as_json and sys.stdout.isatty()
    with tempfile.TemporaryDirectory(prefix="submeter-demo-") as directory, DemoUnit(Path(directory)) as unit:
        console.print(
            f"[dim]synthetic traffic · scripted provider · relay {unit.base_url} · page {unit.page_url}[/dim]"
        )
        asyncio.run(_drive(unit, console))
        with _settled_ledger(unit) as ledger:
            total = summary(ledger)
            outcome = _outcome(ledger, total, total_nano_usd(read_invoice(unit.invoice)))
            if as_json:
                sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
            else:
                _print(ledger, total, outcome)
        page = None if as_json else _report_a_week(Path(directory), keep=stays)
        if stays:
            _keep_up(unit, page, console)
    return 0 if outcome.ledger_nano_usd == outcome.invoice_nano_usd else 1


async def _drive(unit: DemoUnit, console: Console) -> None:
    clients = traffic.make_clients(unit.base_url)
    columns = (TextColumn("calls"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("calls", total=CALLS)
            calls = traffic.plan(clients, unit.base_url, CALLS)
            await traffic.run(calls, lambda: progress.advance(bar))
    finally:
        await clients.close()


def _settled_ledger(unit: DemoUnit) -> Ledger:
    """The ledger, once every call is a row."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            ledger = Ledger.open(str(unit.data_dir / "ledger.sqlite3"), read_only=True)
            break
        except UsageError:  # the meter has not made it yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if wait_until_settled(ledger, started_calls(unit.data_dir / "journal"), SETTLE_S):
        ledger.close()
        raise UsageError("the demo's calls did not become rows in time; please report this")
    return ledger


def _outcome(ledger: Ledger, total: CostLine, invoice_nano_usd: int) -> Outcome:
    latency = latency_by(ledger, [])
    ttft = latency[0].ttft if latency else None
    return Outcome(
        calls=total.calls,
        ledger_nano_usd=total.confirmed_nano_usd,
        invoice_nano_usd=invoice_nano_usd,
        cache_hits=total.hits,
        hit_rate=round(total.hits / total.calls, 4) if total.calls else 0.0,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        ttft_ms_p50=None if ttft is None else round(ttft.p50_ns / 1e6, 3),
    )


def _print(ledger: Ledger, total: CostLine, outcome: Outcome) -> None:
    console = tables.make_console()
    for keys in (["model"], ["team", "app"], ["prompt", "prompt_version"]):
        cost_output.print_lines(_asked(keys), cost_by(ledger, keys), total)
    cost_output.print_coverage(total, ORIGINAL)
    latency_output.print_tables(_asked(["model"]), latency_by(ledger, ["model"]))
    same = "equal to the nano-dollar" if outcome.ledger_nano_usd == outcome.invoice_nano_usd else "NOT EQUAL"
    ttft = tables.MISSING if outcome.ttft_ms_p50 is None else f"{outcome.ttft_ms_p50:,.0f} ms"
    console.print(
        f"{outcome.calls} calls, {outcome.input_tokens:,} tokens in, {outcome.output_tokens:,} out · "
        f"TTFT p50 {ttft} · cache hits {outcome.cache_hits} ({outcome.hit_rate:.0%})"
    )
    console.print(
        f"ledger {tables.usd_exact(outcome.ledger_nano_usd)} · provider's invoice "
        f"{tables.usd_exact(outcome.invoice_nano_usd)} · {same}"
    )


def _report_a_week(directory: Path, *, keep: bool) -> Path | None:
    """What ``submeter report`` says of a made-up week; its page, if somebody stays to look at it."""
    # Imported here: numpy and the simulator take a second to load, and with --json there is no report.
    from submeter.commands import demo_report

    report = demo_report.run(directory / "week")
    page = directory / "report.html"
    if keep:
        demo_report.write_page(report, page)
    return page if keep else None


def _asked(keys: list[str]) -> Question:
    return Question(keys=keys, period="synthetic traffic", since_ns=None, until_ns=None)


def _keep_up(unit: DemoUnit, report: Path | None, console: Console) -> None:
    console.print("\nCtrl-C ends the demo. Until then the page is at")
    console.print(f"  [bold]{unit.page_url}[/bold]")
    if report is not None:
        console.print(f"and the report of the made-up week at\n  [bold]{report.as_uri()}[/bold]", soft_wrap=True)
    console.print("For your own app: [bold]submeter serve[/bold], and then")
    console.print("  [bold]export OPENAI_BASE_URL=http://127.0.0.1:4100/v1[/bold]")
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        return
