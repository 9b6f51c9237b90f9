"""A past for a Prometheus that has none: synthetic, made of what this run has measured.

Each counter of a scrape is let grow at a steady rate in some windows of the past, so that queries that compare with
last week have something to compare with. The scrape's own series are taken, with their labels.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

STEP_S = 60
HOUR_S = 3600
DAY_S = 24 * HOUR_S
WEEK_S = 7 * DAY_S
WEEKS = 4
COUNTED = ("counter", "histogram")


class Window(NamedTuple):
    """Unix seconds."""

    begin_s: int
    end_s: int


def windows(now_s: int) -> list[Window]:
    """The three hours until lately, and the three hours around this time of day yesterday and in each of the last four
    weeks; the oldest first."""
    end_s = (now_s - 900) // STEP_S * STEP_S
    ago_s = [*(week * WEEK_S for week in range(WEEKS, 0, -1)), DAY_S]
    return [
        *(Window(end_s - ago - 2 * HOUR_S, end_s - ago + HOUR_S) for ago in ago_s),
        Window(end_s - 3 * HOUR_S, end_s),
    ]


def openmetrics(scrape: str, labels: Mapping[str, str], window: Window, share: float) -> Iterator[str]:
    """The lines of a file for ``promtool tsdb create-blocks-from openmetrics``. ``labels`` are the scrape's own (job,
    instance); a counter that stood at v in the scrape has grown by ``share`` × v at the window's end."""
    steps = range(window.begin_s, window.end_s + 1, STEP_S)
    for family in text_string_to_metric_families(scrape):
        for sample in family.samples:
            said = ",".join(f'{name}="{_escaped(value)}"' for name, value in {**sample.labels, **labels}.items())
            for at, second in enumerate(steps):
                grown = share * at / (len(steps) - 1) if family.type in COUNTED else 1.0
                yield f"{sample.name}{{{said}}} {sample.value * grown!r} {second}\n"
    up = ",".join(f'{name}="{value}"' for name, value in labels.items())
    for second in steps:
        yield f"up{{{up}}} 1 {second}\n"
    yield "# EOF\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
