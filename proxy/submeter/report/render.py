"""One HTML file about one week: everything is inside it, it runs no script and asks nobody for anything.

Printed it is two pages: the arithmetic and the verdicts, then the proof of the dearest workload that has a fleet. The
other workloads and the assumptions stay in the file. The look is the load test report's, whose stylesheet comes first.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from submeter.report import charts_bars, charts_lines
from submeter.report import render_words as say
from submeter.report.charts import Drawing
from submeter.report.document import Missing, Report, WorkloadReport
from submeter.report.render_methods import METHODS

TEMPLATES = Path(__file__).parent / "templates"
SHARED = files("submeter.loadtest") / "templates" / "report.css"
LOGO = files("submeter.meter") / "static" / "favicon.svg"


class Plot(NamedTuple):
    """``method``: an id of ``METHODS``."""

    drawing: Drawing
    method: str


class Shown(NamedTuple):
    """A workload with what is drawn of it. ``kind`` is the colour of its verdict."""

    slug: str
    workload: WorkloadReport
    kind: str
    interval: Plot
    plots: tuple[Plot, ...]


class Lack(NamedTuple):
    """A line that alternatives.yaml does not have, and whom it would help."""

    whose: str
    what: str
    lines: tuple[str, ...]


def render(report: Report) -> str:
    """The text of the file: the same report gives the same bytes."""
    shown = [_shown(f"w{at}", workload) for at, workload in enumerate(by_bill(report.workloads), start=1)]
    on_paper = next((each for each in shown if each.workload.fleet is not None), shown[0] if shown else None)
    return _environment().get_template("weekly.html").render(
        report=report,
        shown=shown,
        on_paper=on_paper,
        others=[each for each in shown if each is not on_paper],
        trend=Plot(charts_lines.trend("trend", report.trend), "trend"),
        tally=tally(report.workloads),
        lacks=lacks(report),
        lines={line.id: line for line in report.page_one.lines},
        assumptions={each.id: each for each in report.assumptions},
        stale=[each for each in report.assumptions if each.stale],
        known={line.id for line in report.page_one.lines} | {each.id for each in report.assumptions},
        methods=METHODS,
        logo=_own(LOGO),
        styles=[_own(SHARED), _own(files(__package__) / "templates" / "weekly.css")],
    )  # fmt: skip


def by_bill(workloads: Iterable[WorkloadReport]) -> list[WorkloadReport]:
    """The dearest first."""
    return sorted(workloads, key=lambda workload: (-workload.buy_usd, workload.name))


def tally(workloads: Sequence[WorkloadReport]) -> str:
    """``2 workloads: 1 BUILD, 1 BUY.``"""
    if not workloads:
        return "No workload was judged."
    verdicts = [workload.verdict for workload in workloads]
    parts = (f"{verdicts.count(verdict)} {verdict}" for verdict in charts_lines.KINDS if verdict in verdicts)
    return f"{say.plural(len(workloads), 'workload')}: {', '.join(parts)}."


def lacks(report: Report) -> list[Lack]:
    """Each line once, in the order in which the workloads ask for it."""
    found: dict[str, Lack] = {}
    for workload in by_bill(report.workloads):
        for missing in _missing_of(workload):
            if missing.line is not None:
                found.setdefault(missing.line, Lack(workload.name, missing.what, tuple(missing.line.splitlines())))
    return list(found.values())


def _missing_of(workload: WorkloadReport) -> list[Missing]:
    return [*workload.missing, *(missing for choice in workload.choices for missing in choice.missing)]


def _shown(slug: str, workload: WorkloadReport) -> Shown:
    fleet = workload.fleet
    volume = next((flip.flips_at for flip in workload.flips if flip.factor == "volume"), ())
    plots = (
        Plot(charts_lines.staircase(f"{slug}-staircase", workload.staircase, volume), "staircase"),
        Plot(charts_lines.hourly(f"{slug}-hourly", fleet), "demand"),
        Plot(charts_bars.tornado(f"{slug}-tornado", workload.tornado, build_less_other(workload)), "tornado"),
        Plot(charts_bars.waterfall(f"{slug}-waterfall", workload.explained), "shapley"),
        Plot(charts_lines.cdf(f"{slug}-cdf", None if fleet is None else fleet.proof), "cdf"),
    )
    interval = Plot(charts_bars.intervals(f"{slug}-intervals", workload), "band")
    return Shown(slug, workload, charts_lines.KINDS[workload.verdict], interval, plots)


def build_less_other(workload: WorkloadReport) -> Decimal | None:
    """USD a week; above 0 build is the dearer."""
    if workload.build_usd is None:
        return None
    failed = any(each.holds is False for each in workload.quality)
    others = (workload.buy_usd, workload.buy_best_usd, None if failed else workload.rent_open_usd)
    return workload.build_usd - min(usd for usd in others if usd is not None)


# -- the template ---------------------------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    """Jinja with everything escaped, nothing undefined passed over, and no character that hides what is around it."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = (
        "amount", "anchor", "band", "count", "figure", "ms", "multiple", "percent", "pieces", "plural",
        "signed_percent", "usd", "usd_short",
    )  # fmt: skip
    environment.filters |= {name: getattr(say, name) for name in names}
    environment.globals["days"] = say.days
    return environment


def _visible(value: object) -> object:
    """Names come from clients."""
    return say.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _own(path: Traversable) -> Markup:
    return Markup(path.read_text(encoding="utf-8"))  # noqa: S704 - our own files
