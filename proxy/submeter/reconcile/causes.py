"""Why a group differs: the first row of ``CAUSES`` whose condition holds says it, and what to do about it."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import msgspec

from submeter.core import when
from submeter.reconcile.lines import NANO_PER_USD
from submeter.reconcile.match import Group
from submeter.reconcile.pricing import OtherPrice


class Case(NamedTuple):
    """A group, and what was found out about it elsewhere."""

    group: Group
    shifted_to: int | None = None
    """The neighbouring day with the same difference the other way round."""
    repeated: tuple[int, ...] = ()
    """Rows of the invoice that are there already, and without which both sides agree."""
    other_price: OtherPrice | None = None
    """The one that gives the invoice."""
    unmetered_calls: int = 0
    """Calls of the same day that passed through unread."""
    provider: str | None = None
    row_word: str = "line"


class Cause(NamedTuple):
    code: str
    text: str


Rule = Callable[[Case], str | None]


def likely_cause(case: Case) -> Cause | None:
    """``None`` for a group that agrees exactly."""
    if case.group.kind == "matched":
        text = _rounding(case)
        return None if text is None else Cause("rounding", text)
    return next(Cause(code, text) for code, rule in CAUSES if (text := rule(case)) is not None)


def _rounding(case: Case) -> str | None:
    difference = case.group.difference_nano_usd
    return f"{_usd(difference)}: within rounding and tolerance" if difference else None


def _duplicate(case: Case) -> str | None:
    if not case.repeated:
        return None
    rows = ", ".join(map(str, case.repeated))
    return f"{case.row_word} {rows} of the invoice repeats an earlier one; without it both sides agree"


def _day_boundary(case: Case) -> str | None:
    if case.shifted_to is None:
        return None
    return (
        f"{when.day(case.shifted_to)} differs by the same amount the other way round: calls near midnight that the "
        "provider books on the other day, or an export whose days are not UTC"
    )


def _bounds(case: Case) -> str | None:
    group = case.group
    if group.kind != "within_bounds":
        return None
    side = group.side
    calls = _calls(side.estimated_calls + side.indeterminate_calls)
    if group.amount_nano_usd is None:
        return (
            f"{calls} without the provider's word on their tokens, and no amounts here: reconcile the costs export too"
        )
    between = f"between {_usd(side.low_nano_usd)} and {_usd(side.high_nano_usd)}"
    if side.unbounded_calls:
        return f"{calls} not seen to the end, some without an upper bound: all of it lies {between} or above"
    return f"{calls} not seen to the end: all of it lies {between}, and so does the invoice; settle it with --settle"


def _unpriced(case: Case) -> str | None:
    calls = case.group.side.unpriced_calls
    if not calls or case.group.kind == "token_drift":
        return None
    return (
        f"{_calls(calls)} have no price here: add it under prices: in submeter.yaml, or `submeter prices import`; "
        "then `submeter reprice`"
    )


def _fee(case: Case) -> str | None:
    if case.group.kind != "missing_here" or not case.group.is_item:
        return None
    return "no model's tokens: a fee for a tool, storage or a subscription, which the ledger does not hold"


def _unmetered(case: Case) -> str | None:
    group = case.group
    if not case.unmetered_calls or not (group.kind == "missing_here" or _costs_more_there(group)):
        return None
    return (
        f"{_calls(case.unmetered_calls)} of that day passed through unmetered (images, audio, batches and the like): "
        "their cost is on the invoice alone"
    )


def _not_through_proxy(case: Case) -> str | None:
    if case.group.kind != "missing_here":
        return None
    return "no such call went through the proxy that day: somebody calls the provider directly, or with another key"


def _more_tokens(case: Case) -> str | None:
    group = case.group
    if group.kind != "token_drift" or _token_sum(group) < 0:
        return None
    more = f"{_token_sum(group):,} more tokens"
    if group.requests is not None and group.requests > group.side.metered_calls:
        more = f"{_calls(group.requests - group.side.metered_calls)} and {more}"
    return f"{more} on the invoice: calls of this model that did not go through the proxy, beside those that did"


def _fewer_tokens(case: Case) -> str | None:
    if case.group.kind != "token_drift":
        return None
    return (
        f"{-_token_sum(case.group):,} fewer tokens on the invoice: calls that the provider did not bill, or billed to "
        "another organisation or project"
    )


def _missing_there(case: Case) -> str | None:
    if case.group.kind != "missing_there":
        return None
    priority = "; Anthropic's cost report leaves out the priority tier" if case.provider == "anthropic" else ""
    return (
        "in the ledger and not on the invoice: refused and not billed after all, or billed to another organisation "
        f"or project{priority}"
    )


_OTHER_PRICES = {
    "current_price": "the prices in force now give exactly the invoice: `submeter reprice --since {day}`",
    "full_price_for_cached": "exactly the invoice if cached tokens cost the full input price: the provider gave no "
    "discount on them",
    "tier": "exactly the invoice at the {tier} tier: the provider billed these calls as {tier}",
    "price_of_the_day_before": "exactly the invoice at the price of the day before: the price changed that day, later",
    "price_of_the_day_after": "exactly the invoice at the price of the day after: the price changed that day, earlier",
}


def _as_if(code: str) -> Rule:
    def rule(case: Case) -> str | None:
        if case.other_price is None or case.other_price.code != code:
            return None
        return _OTHER_PRICES[code].format(day=when.day(case.group.place.day), tier=case.other_price.tier)

    return rule


def _half_price(case: Case) -> str | None:
    if percent_off(case.group) != 50:
        return None
    return "half the price: the provider billed these calls as batch or flex, which the price book does not know here"


def _discount(case: Case) -> str | None:
    percent = percent_off(case.group)
    if percent is None or percent < 0:
        return None
    return f"{percent.normalize():f} % off every token: a contract's discount? Give it under prices: (discount)"


def _surcharge(case: Case) -> str | None:
    percent = percent_off(case.group)
    if percent is None:
        return None
    return f"{-percent.normalize():f} % on top of every token: regional processing, or another contract's price?"


def percent_off(group: Group) -> Decimal | None:
    """The discount, in whole or half percent, that makes the invoice of the ledger's sum; negative for a surcharge."""
    ours, theirs = group.side.cost_nano_usd, group.amount_nano_usd
    if group.kind not in ("price_drift", "amount_drift") or not ours or not theirs or group.side.is_uncertain:
        return None
    halves = round(200 * (1 - Fraction(theirs, ours)))
    predicted = ours * (1 - Fraction(halves, 200))
    near = abs(predicted - theirs) <= group.slack_nano_usd
    return Decimal(halves) / 2 if near and halves and -200 <= halves < 200 else None


def _no_tokens(case: Case) -> str | None:
    if case.group.kind != "amount_drift":
        return None
    if case.group.side.is_uncertain:
        return "outside of what calls that were not seen to the end can have cost: other calls, or another price"
    what = "more calls than went through the proxy" if _costs_more_there(case.group) else "fewer calls"
    return f"{what}, or another price: this export has no tokens to tell; reconcile the usage export too"


def _price_changed(case: Case) -> str | None:
    ours, theirs = case.group.side.cost_nano_usd, case.group.amount_nano_usd
    factor = f"{theirs / ours:.4g}" if ours and theirs is not None else "another factor"
    return (
        f"the same tokens at {factor} × the price: it changed, or a price of the book is wrong; "
        "`submeter prices show`, `submeter prices import`, then `submeter reprice`"
    )


CAUSES: tuple[tuple[str, Rule], ...] = (
    ("duplicate_line", _duplicate),
    ("day_boundary", _day_boundary),
    ("bounds", _bounds),
    *((code, _as_if(code)) for code in _OTHER_PRICES),
    ("unpriced", _unpriced),
    ("fee", _fee),
    ("half_price", _half_price),
    ("discount", _discount),
    ("surcharge", _surcharge),
    ("unmetered", _unmetered),
    ("not_through_proxy", _not_through_proxy),
    ("calls_beside_the_proxy", _more_tokens),
    ("not_billed", _fewer_tokens),
    ("missing_there", _missing_there),
    ("calls_or_price", _no_tokens),
    ("price_changed", _price_changed),
)
"""(code, the words for it where it holds), from what is certain to what is left over: the last always holds."""


def _costs_more_there(group: Group) -> bool:
    return group.difference_nano_usd is not None and group.difference_nano_usd > 0


def _token_sum(group: Group) -> int:
    """Input and output; cached and cache-write tokens are parts of the input, and count where nothing else differs."""
    drift = group.usage_difference
    whole = sum(count for count in (drift.input_tokens, drift.output_tokens) if count is not None)
    return whole or sum(count for count in msgspec.structs.astuple(drift) if count is not None)


def _calls(number: int) -> str:
    return f"{number:,} call" if number == 1 else f"{number:,} calls"


def _usd(nano_usd: int) -> str:
    return f"${Decimal(nano_usd) / NANO_PER_USD:,f}"
