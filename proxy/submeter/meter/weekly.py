"""The newest weekly report, keep buying or rent or build, as gauges.

``submeter report`` stores each week's as JSON, ``reports/2026-W47.json`` in the data directory, whole by a rename. The
meter looks at each scrape whether there is another one, and reads the few fields that it shows: what a report is made
of takes numpy, which is not the meter's. Whatever else is in that directory is left alone.
"""

import logging
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from submeter.core.verdicts import VERDICTS, Verdict
from submeter.meter.families import (
    REPORT_BREAK_EVEN,
    REPORT_GAUGES,
    REPORT_OPTION,
    REPORT_P_BUILD,
    REPORT_RECORDED,
    REPORT_VERDICT,
    REPORT_WEEK,
    REPORT_WORKLOADS,
    GaugeFamily,
    Labels,
)

log = logging.getLogger("submeter")

DIRECTORY = "reports"
FILE = re.compile(r"[0-9]{4}-W[0-9]{2}\.json")
MOST_BYTES = 1 << 26
NAME = re.compile(r"[A-Za-z0-9._:/@() -]{1,100}")
"""What a label may be (``labels.NAME``), and the blanks and brackets of ``app / (no prompt) / model``. Where nothing
was configured, clients have said these words."""

Share = Annotated[float, Meta(ge=0, le=1)]


class Flip(msgspec.Struct, frozen=True):
    factor: str
    flips_at: tuple[float, ...]


class Workload(msgspec.Struct, frozen=True):
    name: str
    verdict: Verdict
    standing: Verdict | None
    """Holds instead, until a second week agrees with ``verdict``."""
    buy_usd: float
    buy_best_usd: float | None
    rent_open_usd: float | None
    build_usd: float | None
    p_build_cheaper: Share | None
    flips: tuple[Flip, ...]


class WeeklyReport(msgspec.Struct, frozen=True):
    """Of ``report.document.Report``, what is shown; a newer schema is not understood."""

    schema: Literal[1]
    week: str
    starts: date
    synthetic: bool
    buy_usd: float
    workloads: tuple[Workload, ...]


class _Version(NamedTuple):
    """Of a file: a rename over it changes at least one of them."""

    inode: int
    size: int
    modified_ns: int


class NewestReport:
    """Reads a report again when its file has changed, and no other. For any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / DIRECTORY
        self._read: Mapping[Path, tuple[_Version, WeeklyReport | None]] = {}
        """The files looked at last: the newest report, and before it what is none."""

    def look(self) -> WeeklyReport | None:
        """``None``: there is none, or none that can be read."""
        read: dict[Path, tuple[_Version, WeeklyReport | None]] = {}
        for path, version in self._newest_first():
            known = self._read.get(path)
            read[path] = known if known is not None and known[0] == version else (version, _read(path, version))
            if read[path][1] is not None:
                break
        self._read = read
        return next((report for _, report in read.values() if report is not None), None)

    def _newest_first(self) -> Iterator[tuple[Path, _Version]]:
        try:
            names = sorted((path.name for path in self._directory.iterdir() if FILE.fullmatch(path.name)), reverse=True)
        except OSError:  # the week has not come, or the directory is not ours to read
            return
        for name in names:
            try:
                found = (self._directory / name).stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield self._directory / name, _Version(found.st_ino, found.st_size, found.st_mtime_ns)


def _read(path: Path, version: _Version) -> WeeklyReport | None:
    """What is no report is said once, as long as it stays as it is."""
    try:
        if version.size > MOST_BYTES:
            raise msgspec.ValidationError(f"{version.size} bytes")
        report = msgspec.json.decode(path.read_bytes(), type=WeeklyReport)
        if report.week != path.stem:
            raise msgspec.ValidationError(f"it is of week {report.week!r}")
    except (OSError, ValueError) as why:  # msgspec's errors, and those of bytes that are no UTF-8
        log.warning("%s is not shown on /metrics, as it is no weekly report: %s", path.name, why)
        return None
    if report.synthetic:
        log.info("%s is not shown on /metrics: its calls are synthetic", path.name)
        return None
    return report


def gauges(report: WeeklyReport | None) -> dict[GaugeFamily, Mapping[Labels, float]]:
    """Of the costliest workloads; what is not known has no sample."""
    if report is None:
        return {family: {} for family in REPORT_GAUGES}
    shown = _named(sorted(report.workloads, key=lambda each: (-each.buy_usd, each.name))[:REPORT_WORKLOADS])
    starts_s = datetime.combine(report.starts, time(), UTC).timestamp()
    return {
        REPORT_WEEK: {(): starts_s},
        REPORT_RECORDED: {(): report.buy_usd},
        REPORT_OPTION: {(name, option): usd for name, each in shown.items() for option, usd in _options(each)},
        REPORT_VERDICT: {(name,): VERDICTS.index(each.standing or each.verdict) for name, each in shown.items()},
        REPORT_P_BUILD: {
            (name,): each.p_build_cheaper for name, each in shown.items() if each.p_build_cheaper is not None
        },
        REPORT_BREAK_EVEN: {
            (name,): multiple for name, each in shown.items() if (multiple := _break_even(each)) is not None
        },
    }


def _named(workloads: list[Workload]) -> dict[str, Workload]:
    """What may not be a label is shown by its place."""
    names = [each.name if NAME.fullmatch(each.name) else f"workload {place}" for place, each in enumerate(workloads, 1)]
    return dict(zip(names, workloads, strict=True))


def _options(workload: Workload) -> Iterator[tuple[str, float]]:
    """With the API it can always stay as it is."""
    yield "buy", workload.buy_usd if workload.buy_best_usd is None else workload.buy_best_usd
    if workload.rent_open_usd is not None:
        yield "rent", workload.rent_open_usd
    if workload.build_usd is not None:
        yield "build", workload.build_usd


def _break_even(workload: Workload) -> float | None:
    """The nearest multiple of the volume that would turn the verdict; ``None``: none from 0.1 to 100."""
    multiples = [at for flip in workload.flips if flip.factor == "volume" for at in flip.flips_at if at > 0]
    return min(multiples, key=lambda at: max(at, 1 / at), default=None)
