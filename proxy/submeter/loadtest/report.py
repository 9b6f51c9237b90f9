"""One HTML file about one load test: everything is inside it, and it asks nobody for anything."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from submeter.loadtest import (
    report_calls,
    report_charts,
    report_fit,
    report_heat,
    report_result,
    report_text,
    report_words,
)

if TYPE_CHECKING:
    from submeter.loadtest.samples import Sample

NAME = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
PAGE = files("submeter.meter") / "static"
"""uPlot and the logo, which the ops page has too."""


class Script(NamedTuple):
    """``source`` is what the file's own policy lets run: the text's hash, and so nothing else."""

    text: Markup
    source: str


def write_report(directory: Path, result: Mapping[str, object], samples: Sequence["Sample"]) -> Path:
    """Write ``directory/report.html`` from a run's ``result.json`` and its samples, and return its path.

    Raises ``msgspec.ValidationError`` for a result that is none, ``OSError`` where nothing can be written.
    """
    path = directory / NAME
    path.write_text(render(report_result.read(result), samples), encoding="utf-8")
    return path


def render(result: report_result.Result, samples: Sequence["Sample"]) -> str:
    """The text of the file."""
    calls = report_calls.answered(samples)
    fit_charts = report_fit.fit_charts(result.fit, calls)
    tpot_chart = report_charts.tpot_chart(calls)
    throughput = report_charts.throughput_chart(result)
    cdfs = [
        report_charts.cdf("cdf-ttft", "First token (TTFT)", calls, attrgetter("ttft_ms"), colour_by="input"),
        report_charts.cdf("cdf-e2e", "End to end", calls, attrgetter("e2e_ms"), colour_by="output"),
    ]
    drawn = [*fit_charts, tpot_chart, *([] if throughput is None else [throughput]), *cdfs]
    return (
        make_environment()
        .get_template("report.html")
        .render(
            result=result,
            target=report_words.without_credentials(result.target),
            notices=report_text.notices(result),
            why_no_fit=report_text.why_no_fit(result, calls),
            tiles=report_text.tiles(result, samples, calls),
            checks=report_text.checks(result, samples),
            fit_charts=fit_charts,
            heat_maps=[
                report_heat.heat_map("heat-ttft", "First token (TTFT) by length", calls, attrgetter("ttft_ms")),
                report_heat.heat_map("heat-e2e", "End to end by length", calls, attrgetter("e2e_ms")),
            ],
            tpot_rows=report_text.tpot_rows(result.settings),
            tpot_chart=tpot_chart,
            throughput=throughput,
            cdfs=cdfs,
            charts=[chart for chart in drawn if chart.missing is None],
            logo=Markup((PAGE / "favicon.svg").read_text(encoding="utf-8")),  # noqa: S704 - our own file
            styles=[_style(PAGE / "uPlot.min.css"), _style(files(__package__) / "templates" / "report.css")],
            scripts=_scripts(),
        )
    )


def make_environment() -> Environment:
    """Jinja with everything escaped and nothing undefined passed over."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("between", "central", "count", "moment", "ms", "plural", "reading", "terms", "visible")
    environment.filters |= {name: getattr(report_words, name) for name in names}
    # "<" and its like are escaped afterwards, so that no name can end the element that carries the data.
    environment.policies["json.dumps_function"] = lambda value, **_: msgspec.json.encode(value).decode()
    return environment


def _scripts() -> list[Script]:
    licence = (PAGE / "uPlot.LICENSE").read_text(encoding="utf-8")
    uplot = (PAGE / "uPlot.iife.min.js").read_text(encoding="utf-8")
    own = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return [_script(f"/*!\nuPlot\n\n{licence}*/\n{uplot}"), _script(own)]


def _script(text: str) -> Script:
    """The hash is of what the browser sees: HTML knows one kind of line end."""
    text = text.replace("\r\n", "\n")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"'sha256-{digest}'")  # noqa: S704 - our own files


def _style(path: Traversable) -> Markup:
    return Markup(path.read_text(encoding="utf-8"))  # noqa: S704 - our own files
