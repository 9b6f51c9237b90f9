"""The end of ``submeter demo``: the weekly report over a made-up week, in a few lines and as a page."""

import time
from pathlib import Path

from submeter.commands import tables
from submeter.commands.reporting import progress_bar
from submeter.commands.tables import plain
from submeter.core.week import last_complete
from submeter.demo import week
from submeter.report import render
from submeter.report import render_words as say
from submeter.report.document import Report


def run(directory: Path) -> Report:
    """Make it out of a ledger of its own in ``directory``, of the last complete week, and print it."""
    directory.mkdir()
    with progress_bar() as progress:
        report = week.make_report(directory, last_complete(time.time_ns()), progress)
    print_report(report)
    return report


def write_page(report: Report, path: Path) -> None:
    path.write_text(render.render(report), encoding="utf-8")


def print_report(report: Report) -> None:
    console = tables.make_console()
    table = tables.make_table(
        f"SYNTHETIC week {report.week}: buy, rent or build?",
        ("workload",),
        ("at the API", "rented", "built"),
    )
    table.add_column("verdict", no_wrap=True)
    for each in render.by_bill(report.workloads):
        best = each.buy_usd if each.buy_best_usd is None else each.buy_best_usd
        offers = (say.usd_short(usd) for usd in (best, each.rent_open_usd, each.build_usd))
        table.add_row(plain(each.name), *offers, plain(each.verdict))
    console.print(table)
    console.print("Of your own calls: submeter report init, then submeter report")
