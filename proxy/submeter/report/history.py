"""Reports of earlier weeks, one JSON file each under ``DATA_DIR/reports``: what a new one is held against.

Of an earlier report a few fields are read, most with a default, so that one of an older Submeter still counts; a file
that cannot be read is warned of and left alone. Without a data directory (``--trace``) nothing is read and none kept.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from submeter.core.week import Week
from submeter.report.document import Forecast, Regret, Rented, Report, Restated, TrendPoint, VerdictName, encode
from submeter.report.verdict import Kind

DIRECTORY = "reports"
READ_WEEKS = 52
TREND_WEEKS = 12

_JSON: TypeAlias = "dict[str, _JSON] | list[_JSON] | str | int | Decimal | bool | None"


# ---- what is read of an earlier report ---------------------------------------------------------------------------


class PastRegret(msgspec.Struct, frozen=True):
    within: bool


class PastWorkload(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    calls: int = 0
    buy_usd: Decimal
    rent_open_usd: Decimal | None = None
    build_usd: Decimal | None = None
    verdict: VerdictName | None = None
    standing: VerdictName | None = None
    forecast: Forecast | None = None
    rented: Rented | None = None
    regret: PastRegret | None = None


class Past(msgspec.Struct, frozen=True):
    week: str
    workloads: tuple[PastWorkload, ...] = ()

    def workload(self, name: str) -> PastWorkload | None:
        return next((each for each in self.workloads if each.name == name), None)


@dataclass(frozen=True, slots=True)
class History:
    week: Week
    before: tuple[Past, ...] = ()
    """Of earlier weeks, the newest first."""
    same_week: bytes | None = None
    """An earlier report of this very week, as it was stored."""
    warnings: tuple[str, ...] = ()

    def newest(self, name: str) -> PastWorkload | None:
        """The workload in the newest report that has it: whose verdict stands."""
        return next((found for past in self.before if (found := past.workload(name)) is not None), None)

    def last_week(self, name: str) -> PastWorkload | None:
        """In the report of the week before: whose forecast was of this one."""
        past = next((each for each in self.before if each.week == self.week.previous().text), None)
        return None if past is None else past.workload(name)


def load(data_dir: Path | None, week: Week) -> History:
    """Reports of the ``READ_WEEKS`` before, and of the week itself."""
    if data_dir is None:
        return History(week)
    before, warnings = [], []
    for earlier in (week.previous(number) for number in range(1, READ_WEEKS + 1)):
        try:
            before.append(_past(data_dir, earlier))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            warnings.append(f"{_path(data_dir, earlier)} is not a report that can be read, and is left out: {error}")
    try:
        same_week = _path(data_dir, week).read_bytes()
    except OSError:
        same_week = None
    return History(week, tuple(before), same_week, tuple(warnings))


def _past(data_dir: Path, week: Week) -> Past:
    past = msgspec.json.decode(_path(data_dir, week).read_bytes(), type=Past)
    if past.week != week.text:
        raise ValueError(f"it is of week {past.week}")
    return past


def _path(data_dir: Path, week: Week) -> Path:
    return data_dir / DIRECTORY / f"{week}.json"


def store(data_dir: Path | None, report: Report) -> Path | None:
    """Replaces an earlier report of the week, whole or not at all. Raises ``OSError``."""
    if data_dir is None:
        return None
    path = _path(data_dir, Week.parse(report.week))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(encode(report))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


# ---- restated ----------------------------------------------------------------------------------------------------

_NOT_COMPARED = ("restated", "trend")
_NAMED_BY = ("name", "id", "factor", "equivalent", "kind", "what")


def restated(history: History, report: Report) -> tuple[Restated, ...]:
    """What differs from the stored report of the same week, curves left out; ``""``: it was or is not there.

    A rerun that finds nothing new keeps the stored report's list, so that its bytes are the same.
    """
    if history.same_week is None:
        return ()
    try:
        stored = _decoded(history.same_week)
    except ValueError:
        return (Restated("report", "a file that cannot be read", "made anew"),)
    before, after = (dict(_leaves(each)) for each in (stored, _decoded(encode(report))))
    fields = dict.fromkeys((*after, *before))
    found = [(field, before.get(field, ""), after.get(field, "")) for field in fields]
    differences = tuple(Restated(*each) for each in found if each[1] != each[2])
    return differences or _kept(history.same_week)


class _Kept(msgspec.Struct):
    restated: tuple[Restated, ...] = ()


def _kept(stored: bytes) -> tuple[Restated, ...]:
    return msgspec.json.decode(stored, type=_Kept).restated


def _decoded(report: bytes) -> _JSON:
    """Numbers as they are written: 1.10 stays so, and no float comes between."""
    found: _JSON = json.loads(report, parse_float=Decimal)
    return found


def _leaves(value: _JSON, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names of values, and the values as text."""
    if isinstance(value, dict):
        if value.keys() == {"x", "y"}:
            return
        for key, each in value.items():
            if path or key not in _NOT_COMPARED:
                yield from _leaves(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for name, each in zip(_names(value), value, strict=True):
            yield from _leaves(each, f"{path}.{name}")
    elif value is not None:
        yield path, str(value)


def _names(entries: Sequence[_JSON]) -> Iterator[str]:
    """Of a list's entries: what each is called, so that one more before it renames none."""
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        known = [str(entry[key]) for key in _NAMED_BY if key in entry] if isinstance(entry, dict) else []
        name = known[0] if known and known[0] not in seen else str(number)
        seen.add(name)
        yield name


# ---- trend -------------------------------------------------------------------------------------------------------


class Figures(Protocol):
    """Of a workload, in this week's report or a stored one."""

    @property
    def calls(self) -> int: ...
    @property
    def buy_usd(self) -> Decimal: ...
    @property
    def rent_open_usd(self) -> Decimal | None: ...
    @property
    def build_usd(self) -> Decimal | None: ...
    @property
    def verdict(self) -> VerdictName | None: ...


def trend(
    history: History, recorded: Mapping[str, tuple[int, Decimal]], now: Sequence[Figures]
) -> tuple[TrendPoint, ...]:
    """The last twelve weeks, the oldest first and this one last.

    ``recorded``: calls and USD by week, as ``2026-W46``, for weeks without a report; a week with neither is left out.
    """
    reported = {past.week: past.workloads for past in history.before}
    points = []
    for number in range(TREND_WEEKS - 1, 0, -1):
        week = history.week.previous(number).text
        if week in reported:
            points.append(point(week, reported[week]))
        elif week in recorded:
            calls, usd = recorded[week]
            points.append(_bare(week, calls, usd))
    return (*points, point(history.week.text, now))


def point(week: str, workloads: Sequence[Figures]) -> TrendPoint:
    """Sums over workloads; what one of them lacks is in no sum. The verdict is that of the dearest."""
    dearest = max(workloads, key=lambda each: each.buy_usd, default=None)
    return TrendPoint(
        week=week,
        calls=sum(each.calls for each in workloads),
        buy_usd=sum((each.buy_usd for each in workloads), Decimal(0)),
        rent_open_usd=_total([each.rent_open_usd for each in workloads]),
        build_usd=_total([each.build_usd for each in workloads]),
        verdict=None if dearest is None else dearest.verdict,
    )


def _bare(week: str, calls: int, usd: Decimal) -> TrendPoint:
    return TrendPoint(week=week, calls=calls, buy_usd=usd, rent_open_usd=None, build_usd=None, verdict=None)


def _total(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [each for each in amounts if each is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(amounts) else None


# ---- regret ------------------------------------------------------------------------------------------------------


def regret(history: History, name: str, cost_usd: Mapping[Kind, Decimal]) -> Regret | None:
    """Last week's forecast of a workload against this week's costs by kind, of those that are known and would do.

    ``None``: last week made none, or this week does not know what the advised way would have cost.
    """
    last = history.last_week(name)
    if last is None or last.forecast is None or last.forecast.kind not in cost_usd:
        return None
    forecast, actual = last.forecast, cost_usd[last.forecast.kind]
    within = forecast.low <= actual <= forecast.high
    scores = [found.regret.within for past in history.before if (found := past.workload(name)) and found.regret]
    return Regret(
        forecast_low_usd=forecast.low,
        forecast_high_usd=forecast.high,
        actual_usd=actual,
        within=within,
        regret_usd=actual - min(cost_usd.values()),
        weeks_scored=len(scores) + 1,
        weeks_within=sum(scores) + within,
    )
