"""A weekly report from its options to its files. Notes go to stderr: stdout is for what was asked for."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from submeter.commands import reading, report_output
from submeter.config import Settings, load_settings
from submeter.core.week import Week, last_complete
from submeter.errors import UsageError
from submeter.prices.load import load_book
from submeter.report import alternatives as choices
from submeter.report import analyse as analysing
from submeter.report import document, history, trace_files
from submeter.report import trace as traces
from submeter.report.alternatives import Alternatives
from submeter.report.analyse import Progress, Request
from submeter.report.changes import bought_by_name
from submeter.report.document import Report
from submeter.report.render import render
from submeter.report.suggest import suggest
from submeter.report.trace import Trace
from submeter.report.workloads import workloads
from submeter.store.ledger import Ledger

ALTERNATIVES = Path("alternatives.yaml")
STDOUT = Path("-")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The command line."""

    week: str | None = None
    config: Path | None = None
    html: Path | None = None
    json: Path | None = None
    trace: Path | None = None
    seed: int = 0


def run(asked: Asked, data_dir: Path | None, ledger: str | None) -> None:
    """Make the report, keep it if it is over the ledger, and write what was asked for. Raises ``UsageError``."""
    _check_outputs(asked)
    settings = load_settings(data_dir=data_dir, ledger=ledger)
    chosen = _alternatives(asked.config)
    with progress_bar() as progress:
        request = _request(asked, settings, chosen, progress)
        report = analysing.analyse(request, progress)
    if asked.trace is None:
        _keep(report, settings.data_dir)
    _write(asked, report)


def init(
    out: Path, week: str | None, trace: Path | None, data_dir: Path | None, ledger: str | None, *, force: bool
) -> None:
    """Write a commented alternatives.yaml; it loads as it is. Raises ``UsageError``."""
    if out.exists() and not force:
        raise UsageError(f"{out} is there already: --force replaces it, --out FILE writes another")
    _check_directory("--out", out)
    settings = load_settings(data_dir=data_dir, ledger=ledger)
    with _source(trace, settings) as source:
        chosen = choose_week(source, week)
        calls = calls_of(source, chosen)
    text = suggest(workloads(calls), chosen, load_book(settings.prices, settings.data_dir))
    _replace("--out", out, text.encode())
    report_output.say_suggested(out, chosen)


# ---- what is read ------------------------------------------------------------------------------------------------


def _alternatives(config: Path | None) -> Alternatives | None:
    if config is None and not ALTERNATIVES.exists():
        _note("no alternatives.yaml here: page one alone, BUILD is withheld; submeter report init writes one")
        return None
    path = ALTERNATIVES if config is None else config
    if config is None:
        _note(f"alternatives: {ALTERNATIVES} of this directory")
    found = choices.load(path)
    choices.check(found, path.name)
    return found


def _request(asked: Asked, settings: Settings, chosen: Alternatives | None, progress: Progress) -> Request:
    book = load_book(settings.prices, settings.data_dir)
    progress("reading calls", 0.0)
    with _source(asked.trace, settings) as source:
        week = choose_week(source, asked.week)
        before = bought_by_name(_rows(source, week.previous()), chosen, book, settings.origins)
        calls = calls_of(source, week)
        days = traces.daily(source, week)
    return Request(
        week=week,
        trace=calls,
        days=days,
        book=book,
        origins=settings.origins,
        alternatives=chosen,
        history=history.load(settings.data_dir if asked.trace is None else None, week),
        before=before,
        seed=asked.seed,
        over=not week.start_ns <= time.time_ns() < week.end_ns,
    )


@contextmanager
def _source(file: Path | None, settings: Settings) -> Iterator[Ledger | Trace]:
    if file is not None:
        yield trace_files.read(file)
        return
    with reading.open_ledger(settings.data_dir, settings.ledger) as ledger:
        yield ledger


def choose_week(source: Ledger | Trace, asked: str | None) -> Week:
    """The one that was asked for, else ``trace.default_week``, which is said. Raises ``UsageError``."""
    if asked is not None:
        try:
            return Week.parse(asked)
        except ValueError as error:
            raise UsageError(str(error)) from None
    week = traces.default_week(source, time.time_ns())
    if week is None:
        raise UsageError(_no_calls(source))
    _note(f"week {week} ({report_output.days(week)}), {_which(week, time.time_ns())}; --week WEEK takes another")
    return week


def _which(week: Week, now_ns: int) -> str:
    if week == last_complete(now_ns):
        return "the last one that is over"
    return "the newest with calls" if week.end_ns <= now_ns else "the newest with calls, which is not over yet"


def calls_of(source: Ledger | Trace, week: Week) -> Trace:
    """The week's calls, of which there are some. Raises ``UsageError``."""
    calls = _rows(source, week)
    if len(calls):
        return calls
    newest = traces.default_week(source, time.time_ns())
    if newest is None:
        raise UsageError(_no_calls(source))
    raise UsageError(f"no calls in week {week}: try --week {newest}, which has some")


def _rows(source: Ledger | Trace, week: Week) -> Trace:
    return source.week(week) if isinstance(source, Trace) else traces.from_ledger(source, week)


def _no_calls(source: Ledger | Trace) -> str:
    if isinstance(source, Trace):
        return "no calls in --trace: give a file with a row for each call"
    return "no calls in the ledger yet: send some through submeter serve, or give recorded ones with --trace FILE"


# ---- what is written ---------------------------------------------------------------------------------------------


def _check_outputs(asked: Asked) -> None:
    """Before a minute of simulation, not after it."""
    if asked.html == asked.json and asked.html is not None:
        raise UsageError(f"--html and --json cannot both go to {asked.html}: name a file for one of them")
    for option, path in (("--html", asked.html), ("--json", asked.json)):
        if path is not None and path != STDOUT:
            _check_directory(option, path)


def _check_directory(option: str, path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a directory: name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: there is no directory {path.parent}: make it, or name another file")


def _write(asked: Asked, report: Report) -> None:
    for option, path, make in (("--html", asked.html, _html), ("--json", asked.json, document.encode)):
        if path == STDOUT:
            sys.stdout.buffer.write(make(report))
        elif path is not None:
            _replace(option, path, make(report))
            _note(f"{option.removeprefix('--').upper()}: {path}")
    if asked.html is None and asked.json is None:
        report_output.print_report(report)
    elif STDOUT not in (asked.html, asked.json):
        report_output.print_tally(report)


def _html(report: Report) -> bytes:
    return render(report).encode()


def _replace(option: str, path: Path, data: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{option}: cannot write {path} ({error.strerror}): mend it, or name another file") from None


def _keep(report: Report, data_dir: Path) -> None:
    """For pending verdicts, trends and regret. A report that cannot be kept is still one."""
    try:
        history.store(data_dir, report)
    except OSError as error:
        _note(f"not kept in {data_dir} ({error.strerror}): next week's report will know nothing of this one")


def _note(text: str) -> None:
    typer.echo(text, err=True)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """On stderr, where somebody can watch."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=1.0)

        def show(text: str, share: float) -> None:
            shown.update(task, description=report_output.visible(text), completed=share)

        yield show
