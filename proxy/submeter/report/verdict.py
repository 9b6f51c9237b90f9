"""The verdict of a workload, by rules that a reader can follow by hand. The first that speaks decides:

=== ==================================================================================== =========================
 1   under 100 calls with known tokens, the bill not known, or fewer than 7 days of data  NOT COMPARABLE
 2   nothing but the bill was declared: no other model, host or fleet                     NOT COMPARABLE
 3   the two cheapest within 5 % of each other, or 0.1 < P(build cheaper) < 0.9           TOO CLOSE
 4   P(build cheaper) ≥ 0.9, but fewer than 14 days of data                               NOT COMPARABLE
 5   P(build cheaper) ≥ 0.9, but no quality evidence for the equivalent                   BUILD IF QUALITY HOLDS
 6   P(build cheaper) ≥ 0.9                                                               BUILD
 7   a host of open weights is cheapest, but no quality evidence for the equivalent       NOT COMPARABLE
 8   a host of open weights is cheapest                                                   RENT-OPEN
 9   else                                                                                 BUY
=== ==================================================================================== =========================

Not asked at all from rule 3 on, because they are out whatever they cost: a build or a host whose equivalent failed its
evaluation; a build that does not meet the objective with a replica down; a build that is cheaper, but earns its
migration back in more than 26 weeks. What is withheld (no engineer's share, an objective that no fleet meets, a price
that is missing) is not asked either, and then "the cheaper of the rest" is among what is priced: ``missing`` says so.

RENT-OPEN needs evidence as BUILD does: it is the same other model. A lower price for another thing is no saving, so
without evidence the answer is not "stay" but "cannot be compared", with the line that would settle it. No rule looks at
whether bands overlap: where 95 % bands are apart, P is beyond its limits.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Literal

import msgspec

from submeter.report.document import Missing, VerdictName
from submeter.report.money import Withheld

LEAST_CALLS = 100
LEAST_DAYS = 7
"""A bill of fewer is not a week's, and a fleet is paid for by the week."""
LEAST_DAYS_TO_BUILD = 14
LEAST_P, MOST_P = 0.9, 0.1
"""Of P(build cheaper), to say that it is, and that it is not."""
TOO_CLOSE = Decimal("0.05")
MOST_PAYBACK_WEEKS = 26.0

Kind = Literal["buy", "rent", "build"]
_NAMES: dict[Kind, VerdictName] = {"buy": "BUY", "rent": "RENT-OPEN", "build": "BUILD"}
_QUALITY_LINE = 'quality: {evidence: "where to read it", date: 2026-11-02, holds: true}'
_EQUIVALENTS_LINE = "equivalents: [{model: llama-3.3-70b, rent: […], build: […]}]"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest option of its kind."""

    kind: Kind
    name: str
    week_usd: Decimal
    equivalent: str | None = None
    """The open model; ``None``: it is the API."""
    quality: bool | None = None
    """What the evidence says of the equivalent; ``None``: there is none."""

    @property
    def shown(self) -> bool:
        """That it does the work."""
        return self.kind == "buy" or self.quality is True


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What the verdict rests on, and nothing else."""

    counted_calls: int
    """With known tokens."""
    days_of_data: int
    buy: Side | None
    """``None``: the bill is not known."""
    week_over: bool = True
    other_buys: int = 0
    """API options that were priced beside the bill."""
    rent: Side | None = None
    build: Side | None = None
    p_build_cheaper: float | None = None
    """Than the cheaper of ``buy`` and ``rent``, over all draws."""
    holds_one_down: bool = True
    migration_usd: Decimal = Decimal(0)
    withheld: tuple[Withheld, ...] = ()

    @property
    def payback_weeks(self) -> float | None:
        """Of the build, against the cheapest other; ``None``: it never pays."""
        others = [each.week_usd for each in (self.buy, self.rent) if each is not None and each.quality is not False]
        if self.build is None or not others:
            return None
        return payback_weeks(self.migration_usd, self.build.week_usd, min(others))


class Verdict(msgspec.Struct, frozen=True):
    name: VerdictName
    why: tuple[str, ...]
    """Sentences, the deciding one first."""
    missing: tuple[Missing, ...]


class _Ruling(msgspec.Struct, frozen=True):
    name: VerdictName
    why: str


def payback_weeks(migration_usd: Decimal, build_usd: Decimal, other_usd: Decimal) -> float | None:
    """Weeks until what is saved has paid for the move; ``None``: nothing is saved."""
    saved = other_usd - build_usd
    return float(migration_usd / saved) if saved > 0 else None


def judge(case: Case) -> Verdict:
    """Raises ``ValueError`` for a build without its P, where there is a bill to hold it against."""
    if case.build is not None and case.buy is not None and case.p_build_cheaper is None:
        raise ValueError("a build is judged by P(build cheaper)")
    out = dict(_out(case))
    asked = msgspec.structs.replace(
        case, rent=None if "rent" in out else case.rent, build=None if "build" in out else case.build
    )
    ruling = next(found for rule in _RULES if (found := rule(asked, case)) is not None)
    withheld = (f"{_NAMES[each.kind]} is withheld ({each.name}): {each.what}." for each in case.withheld)
    return Verdict(ruling.name, (ruling.why, *out.values(), *withheld), tuple(_missing(asked, case)))


# ---- what is out, whatever it costs ------------------------------------------------------------------------------


def _out(case: Case) -> Iterator[tuple[Kind, str]]:
    for side in (case.rent, case.build):
        if side is not None and side.quality is False:
            yield (
                side.kind,
                f"{_NAMES[side.kind]} is out: the evidence says that {side.equivalent} does not do the work.",
            )
    if case.build is None or case.build.quality is False:
        return
    if not case.holds_one_down:
        yield "build", f"BUILD is out: {case.build.name} misses the objective with one replica down."
    elif _likely(case) and not _pays(case):
        weeks = case.payback_weeks
        after = "never" if weeks is None else f"in {weeks:.0f} weeks"
        paid = f"{_usd(case.build.week_usd)} a week earns a migration of {_usd(case.migration_usd)} back {after}"
        yield "build", f"BUILD is out: {paid}; at most {MOST_PAYBACK_WEEKS:.0f} are allowed."


def _likely(case: Case) -> bool:
    return case.p_build_cheaper is not None and case.p_build_cheaper >= LEAST_P


def _pays(case: Case) -> bool:
    return case.payback_weeks is not None and case.payback_weeks <= MOST_PAYBACK_WEEKS


# ---- the rules, in their order: `case` has only what is still asked, `whole` all that was priced -----------------

_Rule = Callable[[Case, Case], _Ruling | None]


def _too_little(case: Case, _: Case) -> _Ruling | None:
    if case.counted_calls < LEAST_CALLS:
        why = f"Only {case.counted_calls} calls have known tokens; a verdict needs {LEAST_CALLS}."
    elif case.buy is None:
        why = "The week's bill is not known: calls without a price, or without tokens."
    elif not case.week_over:
        why = "The week is not over: its bill is of some days, and a fleet's cost of seven."
    elif case.days_of_data < LEAST_DAYS:
        why = f"Only {case.days_of_data} days of data; a week's bill needs {LEAST_DAYS}."
    else:
        return None
    return _Ruling("NOT COMPARABLE", why)


def _nothing_declared(_: Case, whole: Case) -> _Ruling | None:
    if whole.rent is not None or whole.build is not None or whole.other_buys or whole.withheld:
        return None
    return _Ruling("NOT COMPARABLE", "Nothing is declared to compare the bill with: no other model, host or fleet.")


def _too_close(case: Case, _: Case) -> _Ruling | None:
    sides = _sides(case)
    if len(sides) < 2:
        return None
    first, second = sides[:2]
    rest = "".join(f" {_of(each)} costs {_usd(each.week_usd)}." for each in sides[2:])
    p = case.p_build_cheaper
    if case.build is not None and p is not None and MOST_P < p < LEAST_P:
        why = (
            f"BUILD is cheaper in {_percent(p)} of draws, sure neither to be nor not to be. {_compared(first, second)}"
        )
    elif second.week_usd - first.week_usd <= TOO_CLOSE * second.week_usd:
        why = f"{_compared(first, second)} Within {_percent(TOO_CLOSE)} of each other they are alike."
    else:
        return None
    return _Ruling("TOO CLOSE", why + rest)


def _build(case: Case, _: Case) -> _Ruling | None:
    p = case.p_build_cheaper
    if case.build is None or p is None or not _likely(case):
        return None
    cheaper = f"BUILD is cheaper in {_percent(p)} of draws. {_compared(*_sides(case)[:2])}"
    if case.days_of_data < LEAST_DAYS_TO_BUILD:
        why = f"Only {case.days_of_data} days of data; BUILD needs {LEAST_DAYS_TO_BUILD}. Of these: {cheaper}"
        return _Ruling("NOT COMPARABLE", why)
    if not case.build.shown:
        why = f"{cheaper} Nobody has shown that {case.build.equivalent} does the work."
        return _Ruling("BUILD IF QUALITY HOLDS", why)
    return _Ruling("BUILD", f"{cheaper} {_terms(case)}")


def _rest(case: Case, _: Case) -> _Ruling:
    first, *others = [each for each in _sides(case) if each.kind != "build"]
    if case.build is not None:
        others.append(case.build)
    why = " ".join(_compared(first, each) for each in others)
    if not others:
        which = (
            f"the cheapest of {case.other_buys + 1} API options"
            if case.other_buys
            else "all that is left to choose from"
        )
        why = f"{_of(first)} costs {_usd(first.week_usd)} a week and is {which}."
    if not first.shown:
        return _Ruling("NOT COMPARABLE", f"{why} But nobody has shown that {first.equivalent} does the work.")
    return _Ruling(_NAMES[first.kind], why)


_RULES: tuple[_Rule, ...] = (_too_little, _nothing_declared, _too_close, _build, _rest)


def _sides(case: Case) -> list[Side]:
    """The cheapest first; at one price, the one that changes less."""
    return sorted((each for each in (case.buy, case.rent, case.build) if each is not None), key=_week_usd)


def _week_usd(side: Side) -> Decimal:
    return side.week_usd


# ---- words -------------------------------------------------------------------------------------------------------


def _usd(amount: Decimal) -> str:
    return f"{amount:,.2f} USD" if abs(amount) < 100 else f"{amount:,.0f} USD"


def _percent(share: float | Decimal) -> str:
    """89.9 % is not 90 %, where 90 % is what is asked."""
    return f"{float(100 * share):.3g} %"


def _of(side: Side) -> str:
    return f"{_NAMES[side.kind]} ({side.name})"


def _compared(first: Side, second: Side) -> str:
    prices = f"{_of(first)} costs {_usd(first.week_usd)} a week, {_of(second)} {_usd(second.week_usd)}"
    if not second.week_usd:
        return f"{prices}."
    less = 1 - first.week_usd / second.week_usd
    return f"{prices}: {_percent(abs(less))} {'less' if less >= 0 else 'more'}."


def _terms(case: Case) -> str:
    paid = f"The migration is paid back in {case.payback_weeks:.1f} weeks" if case.migration_usd else "Moving is free"
    return f"{paid}, and the objective holds with one replica down."


def _missing(case: Case, whole: Case) -> Iterator[Missing]:
    if case.buy is None and not any(each.kind == "buy" for each in case.withheld):
        yield Missing("a price of the week's calls: add it to prices: in submeter.yaml, then submeter reprice", None)
    for each in case.withheld:
        yield Missing(f"{each.name}: {each.what}", each.line)
    if _nothing_declared(case, whole) is not None:
        yield Missing("something to compare with: an open model that could do the work", _EQUIVALENTS_LINE)
    yield from _missing_quality(case)
    if case.days_of_data < LEAST_DAYS_TO_BUILD and (case.build is not None or case.days_of_data < LEAST_DAYS):
        yield Missing(f"{LEAST_DAYS_TO_BUILD} days of data: there are {case.days_of_data}", None)


def _missing_quality(case: Case) -> Iterator[Missing]:
    """Where evidence could change the verdict: of what is cheaper than the bill."""
    unshown = [each for each in _sides(case) if not each.shown and (case.buy is None or _cheaper(each, case.buy))]
    for equivalent in dict.fromkeys(each.equivalent for each in unshown):
        yield Missing(f"evidence that {equivalent} does the work", _QUALITY_LINE)


def _cheaper(one: Side, other: Side) -> bool:
    return one.week_usd < other.week_usd


# ---- two weeks that agree ----------------------------------------------------------------------------------------


class Standing(msgspec.Struct, frozen=True):
    """The verdict that holds, and whether this week's waits for a second one that agrees."""

    verdict: VerdictName
    pending: bool


def standing(found: VerdictName, last_found: VerdictName | None, last_standing: VerdictName | None) -> Standing:
    """``last_…``: of the newest report before this week's; ``None``: there is none, and the verdict holds at once."""
    if last_standing is None or found in (last_standing, last_found):
        return Standing(found, pending=False)
    return Standing(last_standing, pending=True)


def advised(stands: VerdictName) -> Kind:
    """What one does by the standing verdict, and whose cost is forecast: without evidence or a clear winner, stay."""
    return "rent" if stands == "RENT-OPEN" else "build" if stands == "BUILD" else "buy"
