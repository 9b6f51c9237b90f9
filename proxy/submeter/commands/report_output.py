"""How a weekly report is printed: page one, a line for each workload, what decided it, and what is missing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from submeter.commands import tables
from submeter.commands.tables import plain
from submeter.core.figures import visible as visible
from submeter.core.week import Week
from submeter.report import render
from submeter.report import render_words as say
from submeter.report.arithmetic import Line
from submeter.report.document import Report, Restated, WorkloadReport

SHORT = (
    *("week_usd", "calls", "input_tokens", "output_tokens", "usd_per_1000_calls", "usd_per_million_tokens"),
    *("peak_hour_calls", "replicas", "utilisation", "gpus", "fleet_usd"),
)
"""The lines of page one that are printed: the others are steps between these."""
HEADLINES = ("verdict", "standing", "buy_usd", "buy_best_usd", "rent_open_usd", "build_usd")
"""Of what is restated, the fields that are printed, where they were there before and are now."""
NAMED = 2
"""Workloads that share a sentence; more are counted."""
COLUMNS = ("calls", "buy", "best buy", "rent open", "build", "P(build cheaper)")


def days(week: Week) -> str:
    first, *_, last = week.days
    return f"{first} to {last}"


def print_report(report: Report) -> None:
    console = tables.make_console()
    for text in report.warnings:
        console.print("[yellow]![/yellow]", plain(text))
    lines = {line.id: line for line in report.page_one.lines}
    title = f"Week {report.week}, {say.days(report.starts, report.ends)}"
    _print_lines(console, title, [lines[name] for name in SHORT if name in lines])
    _print_lines(console, "For BUILD to win, each alone, you would have to believe", report.page_one.believe)
    workloads = render.by_bill(report.workloads)
    _print_workloads(console, workloads)
    for why, names in _deciding(workloads).items():
        whose = ", ".join(names) if len(names) <= NAMED else tables.plural(len(names), "workload")
        console.print(plain(f"{whose}: {why}"))
    _print_lacks(console, report)
    for text in report.unexplained:
        console.print("[yellow]![/yellow]", plain(text))
    for text in _restated(report.restated):
        console.print(plain(text))
    console.print(f"Proof, plots and assumptions: submeter report --week {report.week} --html report.html")


def print_tally(report: Report) -> None:
    """Where the report itself went into files."""
    synthetic = "SYNTHETIC, " if report.synthetic else ""
    tables.make_console().print(plain(f"{synthetic}{report.week}: {render.tally(report.workloads)}"))


def say_suggested(out: Path, week: Week) -> None:
    console = tables.make_console()
    console.print(plain(f"{out}: from the calls of {week}. Read it, say what an engineer's share costs, and then:"))
    config = "" if out == Path("alternatives.yaml") else f" --config {out}"
    console.print(plain(f"submeter report --week {week}{config} --html report.html"))


def _print_lines(console: Console, title: str, lines: Sequence[Line]) -> None:
    table = tables.make_table(title, (), ())
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    table.show_header = False
    for line in lines:
        table.add_row(plain(say.amount(line)), plain(line.name))
    console.print(table)


def _print_workloads(console: Console, workloads: Sequence[WorkloadReport]) -> None:
    table = tables.make_table("USD a week", ("workload",), COLUMNS)
    table.add_column("verdict", no_wrap=True)
    table.add_column("pending")
    for each in workloads:
        offers = (say.usd_short(usd) for usd in (each.buy_best_usd, each.rent_open_usd, each.build_usd))
        pending = f"{each.standing} stands" if each.pending else ""
        cells = (tables.count(each.calls), say.usd(each.buy_usd), *offers, say.percent(each.p_build_cheaper))
        table.add_row(plain(each.name), *cells, plain(each.verdict), plain(pending))
    console.print(table)


def _deciding(workloads: Sequence[WorkloadReport]) -> dict[str, list[str]]:
    """The sentence that decided, and the workloads that it decided."""
    found: dict[str, list[str]] = {}
    for each in workloads:
        found.setdefault(each.why[0], []).append(each.name)
    return found


def _restated(changes: Sequence[Restated]) -> Iterator[str]:
    if changes:
        yield f"restated: {tables.plural(len(changes), 'figure')} of this week's earlier report have changed"
    for each in changes:
        if each.field.rpartition(".")[2] in HEADLINES and each.before and each.after:
            yield f"  {each.field}: {each.before} → {each.after}"


def _print_lacks(console: Console, report: Report) -> None:
    lacks = render.lacks(report)
    if not lacks:
        return
    console.print("\nTo say more, alternatives.yaml needs:")
    for lack in lacks:
        console.print(plain(f"  {lack.whose}: {lack.what}"))
        for line in lack.lines:
            console.print(plain(f"    {line}"))
