"""One weekly report, from recorded calls to verdicts. START HERE: ``analyse`` reads top to bottom.

Nothing here reads a clock, a file or the network: the same request gives the same report, byte for byte.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
import numpy as np

from submeter import __version__
from submeter.core.pricebook import Origin, PriceBook
from submeter.core.week import Week
from submeter.core.when import DAY_NS
from submeter.report import build as building
from submeter.report import buy, fleets, history, offers, proof, sensitivity, uncertainty, verdict
from submeter.report import workloads as splitting
from submeter.report.alternatives import Alternatives
from submeter.report.arithmetic import DEFAULT, page_one
from submeter.report.assumptions import Assumptions
from submeter.report.buy import Market
from submeter.report.changes import Bought, Changed, bought, explained, rented
from submeter.report.document import Band, Choice, Explained, Forecast, Missing, Quality, Report, WorkloadReport
from submeter.report.fleets import Candidate
from submeter.report.history import History
from submeter.report.money import Option, Withheld, usd
from submeter.report.offers import Offered
from submeter.report.trace import Day, Trace, total_nano_usd
from submeter.report.uncertainty import Draws
from submeter.report.verdict import Case, Kind
from submeter.report.workloads import Workload

Progress = Callable[[str, float], None]
"""(what is being done, the share that is done)"""
KINDS: tuple[Kind, ...] = ("buy", "rent", "build")
FORECAST = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    week: Week
    trace: Trace
    """The calls begun in the week."""
    days: tuple[Day, ...]
    """Of thirteen weeks, this one the last."""
    book: PriceBook
    origins: Mapping[str, Origin]
    history: History
    alternatives: Alternatives | None = None
    before: Mapping[str, Bought] = field(default_factory=dict)
    """The workloads of the week before, by name; of others, what has changed is not explained."""
    seed: int = 0
    over: bool = True
    """Whether the week is: a bill of some days is no week's, and a fleet is paid for seven."""


def analyse(request: Request, progress: Progress) -> Report:
    """Raises ``UsageError`` for a configuration that names what there is not."""
    week, trace = request.week, request.trace
    alternatives = Alternatives() if request.alternatives is None else request.alternatives
    assumed = Assumptions(on=week.end_day)
    progress("page one", 0.0)
    first = page_one(trace, week, assumed, price=building.gpu_price(DEFAULT.gpu, alternatives))
    checked = buy.reconcile(trace, request.book, request.origins)
    parts = splitting.workloads(trace, request.alternatives)
    found = tuple(
        _Analysis(request, alternatives, Market(request.book, request.origins, assumed), part)
        .report(lambda text, number=number: progress(text, number / len(parts)))  # type: ignore[misc]
        for number, part in enumerate(parts)
    )  # fmt: skip
    report = Report(
        week=week.text,
        version=__version__,
        seed=request.seed,
        synthetic=bool(trace.synthetic.any()),
        starts=week.monday.isoformat(),
        ends=week.end_day.isoformat(),
        days_of_data=_days_of_data(request.days),
        buy_usd=usd(total_nano_usd(trace.cost_nano_usd)),
        unexplained=tuple(each.text for each in checked.differences),
        page_one=first,
        workloads=found,
        trend=history.trend(request.history, _recorded(request.days), found),
        restated=(),
        assumptions=assumed.listed(),
        warnings=(*_warnings(trace, assumed), *request.history.warnings),
    )
    progress("done", 1.0)
    return msgspec.structs.replace(report, restated=history.restated(request.history, report))


def _days_of_data(days: tuple[Day, ...]) -> int:
    """From the first day with calls to the last."""
    return (days[-1].day - days[0].day).days + 1 if days else 0


def _recorded(days: tuple[Day, ...]) -> dict[str, tuple[int, Decimal]]:
    """Calls and USD by week."""
    sums: dict[str, tuple[int, Decimal]] = {}
    for day in days:
        week = Week.of_day(day.day).text
        calls, cost = sums.get(week, (0, Decimal(0)))
        sums[week] = calls + day.calls, cost + usd(day.cost_nano_usd)
    return sums


def _warnings(trace: Trace, assumed: Assumptions) -> Iterator[str]:
    if trace.synthetic.any():
        yield "Synthetic traffic: made up from a seed, and no one's bill."
    unbounded = int(trace.unbounded.sum())
    if unbounded:
        yield f"{unbounded:,} calls have a cost without an upper bound: see submeter cost."
    for each in assumed.stale():
        yield f"{each.name} is of {each.as_of}: look it up again ({each.id})."


@dataclass(frozen=True, slots=True)
class _Analysis:
    """One workload: priced as it was and as it could be, simulated, judged."""

    request: Request
    alternatives: Alternatives
    market: Market
    part: Workload

    def report(self, progress: Callable[[str], None]) -> WorkloadReport:
        part, request, week = self.part, self.request, self.request.week
        trace = part.trace
        progress(f"{part.name}: prices")
        bill = buy.recorded_bill(trace, week)
        all_offers = offers.offered(
            trace,
            week,
            part.choice,
            self.alternatives,
            self.market,
            request.seed,
            lambda text: progress(f"{part.name}: {text}"),
        )
        chosen = {kind: found for kind in KINDS if (found := offers.best(all_offers, kind)) is not None}
        fleet = offers.best_fleet(all_offers)
        draws = _draws(chosen, all_offers, request.seed)
        case = self._case(trace, all_offers, chosen, draws)
        judged = verdict.judge(case)
        newest = request.history.newest(part.name)
        standing = verdict.standing(
            judged.name,
            None if newest is None else newest.verdict,
            None if newest is None else newest.standing or newest.verdict,
        )
        progress(f"{part.name}: what would turn it")
        turning = sensitivity.of(chosen, fleet, request.seed)
        return WorkloadReport(
            name=part.name,
            app=_only(trace, "app"),
            prompt=_only(trace, "prompt"),
            model=_only(trace, "model"),
            calls=int(trace.upstream_call.sum()),
            input_tokens=int(trace.input_tokens[trace.upstream_call].sum()),
            cached_input_tokens=int(trace.cached_input_tokens[trace.upstream_call].sum()),
            output_tokens=int(trace.output_tokens[trace.upstream_call].sum()),
            verdict=judged.name,
            pending=standing.pending,
            standing=standing.verdict if standing.pending else None,
            why=judged.why,
            missing=judged.missing,
            buy_usd=bill.week_usd,
            buy_band=Band(bill.low_usd, bill.high_usd),
            buy_best_usd=_week_usd(chosen, "buy"),
            rent_open_usd=_week_usd(chosen, "rent"),
            build_usd=_week_usd(chosen, "build"),
            p_build_cheaper=case.p_build_cheaper,
            replicas=None if fleet is None else fleet.plan.replicas,
            payback_weeks=case.payback_weeks,
            choices=tuple(_choice(each, draws) for each in all_offers),
            fleet=None if fleet is None else proof.fleet(fleet, trace),
            flips=turning.flips,
            staircase=turning.staircase,
            tornado=turning.tornado,
            quality=tuple(_quality(part)),
            explained=self._explained(trace, fleet),
            rented=None if fleet is None else rented(fleet),
            forecast=_forecast(verdict.advised(standing.verdict), draws, chosen),
            regret=history.regret(request.history, part.name, _costs(chosen)),
        )

    def _case(
        self, trace: Trace, all_offers: tuple[Offered, ...], chosen: Mapping[Kind, Offered], draws: Draws
    ) -> Case:
        built, unknown_bill = chosen.get("build"), isinstance(all_offers[0].option, Withheld)
        buys = [each for each in all_offers if each.option.kind == "buy" and each.week_usd is not None]
        return Case(
            counted_calls=int((trace.upstream_call & trace.counted).sum()),
            days_of_data=min(_days_of_data(self.request.days), self._own_days(trace)),
            week_over=self.request.over,
            buy=chosen["buy"].side if "buy" in chosen and not unknown_bill else None,
            other_buys=max(0, len(buys) - 1),
            rent=chosen["rent"].side if "rent" in chosen else None,
            build=None if built is None else built.side,
            p_build_cheaper=_p_build(chosen, draws),
            holds_one_down=built is None or built.candidate is None or proof.holds_one_down(built.candidate),
            migration_usd=self.alternatives.migration_usd,
            withheld=tuple(each.option for each in all_offers if isinstance(each.option, Withheld)),
        )

    def _own_days(self, trace: Trace) -> int:
        """From the workload's first call, in this week or the one before, to the end of this one."""
        before, end_ns = self.request.before.get(self.part.name), self.request.week.end_ns
        first_ns = before.first_ns if before is not None else int(trace.started_at_ns[0]) if len(trace) else end_ns
        return -(-(end_ns - first_ns) // DAY_NS)

    def _explained(self, trace: Trace, fleet: Candidate | None) -> Explained | None:
        before = self.request.before.get(self.part.name)
        if before is None or not len(trace):
            return None
        last = self.request.history.last_week(self.part.name)
        return explained(
            Changed(before, None if last is None else last.rented),
            Changed(bought(trace, self.request.book, self.request.origins), None if fleet is None else rented(fleet)),
        )


def _only(trace: Trace, key: str) -> str | None:
    """The one name that all its calls have; ``None``: several, or none."""
    places = np.unique(trace.codes[key])
    return trace.names[key][int(places[0])] if len(places) == 1 else None


# ---- how sure it is ----------------------------------------------------------------------------------------------


def _draws(chosen: Mapping[Kind, Offered], all_offers: tuple[Offered, ...], seed: int) -> Draws:
    """Of all priced options, by name; the same draw prices all of them."""
    paid = {each.name: each.usd_by_day for each in _by_use(all_offers)}
    fleet_of = {
        each.option.name: fleets.drawn(each.candidate)
        for each in all_offers
        if each.week_usd is not None and each.candidate is not None
    }
    return uncertainty.draw(paid, fleet_of, np.random.default_rng(seed))


def _by_use(all_offers: tuple[Offered, ...]) -> Iterator[Option]:
    return (each.option for each in all_offers if isinstance(each.option, Option) and each.option.kind != "build")


def _p_build(chosen: Mapping[Kind, Offered], draws: Draws) -> float | None:
    """Than the cheaper of the best others, of those that would do."""
    if "build" not in chosen:
        return None
    rivals = [
        chosen[kind].option.name for kind in ("buy", "rent") if kind in chosen and chosen[kind].quality is not False
    ]
    return uncertainty.p_cheaper(draws.week, chosen["build"].option.name, rivals)


def _week_usd(chosen: Mapping[Kind, Offered], kind: Kind) -> Decimal | None:
    return chosen[kind].week_usd if kind in chosen else None


def _costs(chosen: Mapping[Kind, Offered]) -> dict[Kind, Decimal]:
    """Of those that would do."""
    fit = {kind: each for kind, each in chosen.items() if each.quality is not False}
    return {kind: each.week_usd for kind, each in fit.items() if each.week_usd is not None}


def _forecast(kind: Kind, draws: Draws, chosen: Mapping[Kind, Offered]) -> Forecast | None:
    """Of what holds now; ``None``: it has no price, or no fleet that does."""
    if kind not in chosen or not np.isfinite(draws.next_week[chosen[kind].option.name]).any():
        return None
    band = uncertainty.band(draws.next_week[chosen[kind].option.name], FORECAST)
    return Forecast(kind=kind, low=band.low, high=band.high)


# ---- as the report shows it --------------------------------------------------------------------------------------


def _choice(each: Offered, draws: Draws) -> Choice:
    option = each.option
    if isinstance(option, Withheld):
        missing = (Missing(option.what, option.line),)
        return Choice(kind=option.kind, name=option.name, week_usd=None, band=None, missing=missing)
    drawn = draws.week[option.name]
    unmet = uncertainty.p_unmet(drawn)
    too_slow = (f"in {unmet:.0%} of draws the engine is too slow for the objective",) if unmet else ()
    return Choice(
        kind=option.kind,
        name=option.name,
        week_usd=option.weekly_usd,
        band=None if unmet == 1 else uncertainty.band(drawn),
        notes=(*option.notes, *too_slow),
        assumptions=option.assumptions,
    )


def _quality(part: Workload) -> Iterator[Quality]:
    for equivalent in () if part.choice is None else part.choice.equivalents:
        found = equivalent.quality
        yield Quality(
            equivalent=equivalent.model,
            holds=None if found is None else found.holds,
            evidence=None if found is None else found.evidence,
            as_of=None if found is None else found.date.isoformat(),
        )
