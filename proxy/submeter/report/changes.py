"""What this week's figures have over last week's, as the factors that ``explain`` switches one by one.

A week's bill is asked calls × the share that went upstream × (of each model: its share of these, its tokens a call by
class, the price of a token of that class). With each factor of one week or the other the product is a week that never
was, and at both ends it is the recorded bill, to the nano-USD. A fleet follows the work that its calls are: replicas in
proportion to seconds of a full replica, so that both ends are the planned fleets. No plan is made anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

import numpy as np

from submeter import __version__
from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import INPUT_CLASSES, OUTPUT_CLASSES, TOKEN_CLASSES
from submeter.report.alternatives import Alternatives
from submeter.report.document import Explained, Rented
from submeter.report.explain import FACTORS, Factor, Inputs, explain
from submeter.report.fleets import Candidate
from submeter.report.money import NANO_PER_USD, Pricing, Withheld, reprice, usd
from submeter.report.trace import Trace, total_nano_usd
from submeter.report.workloads import workloads

_CACHED = TOKEN_CLASSES.index("cached_read")
_UNCACHED = TOKEN_CLASSES.index("input_uncached")
_INPUTS = [TOKEN_CLASSES.index(name) for name in INPUT_CLASSES]
_OUTPUTS = [TOKEN_CLASSES.index(name) for name in OUTPUT_CLASSES]

WEEK_HOURS = 168

_T = TypeVar("_T")
_Vector = tuple[Fraction, ...]
"""One per token class."""


@dataclass(frozen=True, slots=True)
class Bought:
    """A week of one workload, taken apart. By model: what calls of it are like."""

    asked: int
    """Calls, those answered from Submeter's cache included."""
    sent: Fraction
    """The share that went upstream."""
    mix: Mapping[str | None, Fraction]
    tokens: Mapping[str | None, _Vector]
    """A call, with what the provider's cache served counted as uncached."""
    cached: Mapping[str | None, Fraction]
    """The share of the uncached input that the provider's cache served."""
    nano_usd: Mapping[str | None, tuple[Fraction | None, ...]]
    """A token, by class; ``None``: the week has none of the class, and does not say what they would have cost."""
    fee_nano_usd: Mapping[str | None, Fraction]
    """A call: fees, and what no token explains."""
    first_ns: int = 0
    """When its first call began."""


def rented(fleet: Candidate) -> Rented | None:
    """``None``: it has no price, or follows the demand and has no whole replicas."""
    if isinstance(fleet.built, Withheld) or fleet.costs.price is None or fleet.choice.policy != "static":
        return None
    if fleet.costs.owned is not None or fleet.choice.rent_by == "node":
        return None
    server, hardware = fleet.server, fleet.hardware
    return Rented(
        replicas=fleet.plan.replicas,
        idle_replicas=fleet.plan.spare + hardware.staging_replicas,
        gpus=hardware.tensor_parallel,
        usd_per_gpu_hour=fleet.costs.price.usd,
        week_usd=fleet.built.option.weekly_usd,
        objective_s=(fleet.objective.ttft_p95_s, fleet.objective.tpot_p95_s),
        estimator=f"{fleet.name}, speed {server.speed:g}, {__version__}",
    )


def bought(trace: Trace, book: PriceBook, origins: Mapping[str, Origin]) -> Bought:
    """``trace``: one workload's calls in one week."""
    sent = trace.where(trace.upstream_call)
    mix, tokens, cached, prices, fees = {}, {}, {}, {}, {}
    for place in np.unique(sent.codes["model"]).tolist():
        model = sent.names["model"][place]
        some = sent.where(sent.codes["model"] == place)
        sums = [int(each) for each in some.tokens.sum(axis=0)]
        found = reprice(some, Pricing(book, origins))
        recorded, repriced = total_nano_usd(some.cost_nano_usd), total_nano_usd(found.nano_usd)
        true = Fraction(recorded, repriced) if repriced else Fraction(0)
        prices[model] = tuple(
            Fraction(part, count) * true if count else None for part, count in zip(found.parts, sums, strict=True)
        )
        by_token = sum((price * count for price, count in zip(prices[model], sums, strict=True) if price), Fraction(0))
        fees[model] = (recorded - by_token) / len(some)
        text = sums[_UNCACHED] + sums[_CACHED]
        cached[model] = Fraction(sums[_CACHED], text) if text else Fraction(0)
        counts = [*sums]
        counts[_UNCACHED], counts[_CACHED] = text, 0
        tokens[model] = tuple(Fraction(count, len(some)) for count in counts)
        mix[model] = Fraction(len(some), len(sent))
    share = Fraction(len(sent), len(trace)) if len(trace) else Fraction(0)
    first_ns = int(trace.started_at_ns[0]) if len(trace) else 0
    return Bought(len(trace), share, mix, tokens, cached, prices, fees, first_ns)


def bought_by_name(
    trace: Trace, alternatives: Alternatives | None, book: PriceBook, origins: Mapping[str, Origin]
) -> dict[str, Bought]:
    """Of each workload that has calls. What is kept of an earlier week: a trace of many calls is large."""
    parts = workloads(trace, alternatives)
    return {part.name: bought(part.trace, book, origins) for part in parts if len(part.rows)}


@dataclass(frozen=True, slots=True)
class Changed:
    """One of the two weeks."""

    bought: Bought
    rented: Rented | None
    """``None`` in either week: the bill alone is explained."""


_Chosen = Mapping[Factor, Changed]
"""The week of which each factor has its value."""


def explained(before: Changed, after: Changed) -> Explained | None:
    """The bill's difference; with fleets of both weeks, that of what BUILD costs beyond the bill."""
    before, after = _priced_as(before, after), _priced_as(after, before)
    with_fleet = before.rented is not None and after.rented is not None
    figure = "BUILD less the recorded bill" if with_fleet else "the recorded bill"
    first, last = _inputs(before, with_fleet), _inputs(after, with_fleet)

    def value_usd(inputs: Inputs) -> Decimal:
        chosen = {factor: after if inputs[factor] == last[factor] else before for factor in FACTORS}
        bill = _bill_nano_usd(chosen, before, after)
        return _usd(_fleet_nano_usd(chosen, before, after) - bill if with_fleet else bill)

    return explain(figure, first, last, value_usd)


def _priced_as(of: Changed, other: Changed) -> Changed:
    """With the other week's price of a class that the week has no tokens of: they would not have cost nothing."""
    prices, others = of.bought.nano_usd, other.bought.nano_usd
    filled = {
        model: tuple(
            there if here is None else here for here, there in zip(known, others.get(model, known), strict=True)
        )
        for model, known in prices.items()
    }
    return replace(of, bought=replace(of.bought, nano_usd=filled))


def _inputs(of: Changed, with_fleet: bool) -> Inputs:
    bought, fleet = of.bought, of.rented if with_fleet else None
    return {
        "api price": (bought.nano_usd, bought.fee_nano_usd),
        "gpu price": None if fleet is None else (fleet.usd_per_gpu_hour, _fixed_usd(fleet)),
        "volume": (bought.asked, None if fleet is None else fleet.replicas),
        "mix": bought.mix,
        "lengths": bought.tokens,
        "objective": None if fleet is None else fleet.objective_s,
        "cache": (bought.sent, bought.cached),
        "estimator": None if fleet is None else fleet.estimator,
    }


def _bill_nano_usd(chosen: _Chosen, before: Changed, after: Changed) -> Fraction:
    prices, cached = chosen["api price"].bought, chosen["cache"].bought
    total = Fraction(0)
    for model, share in chosen["mix"].bought.mix.items():
        price = _of(model, prices.nano_usd, before.bought.nano_usd, after.bought.nano_usd)
        fee = _of(model, prices.fee_nano_usd, before.bought.fee_nano_usd, after.bought.fee_nano_usd)
        tokens = _tokens(model, chosen, before, after)
        total += share * (fee + sum((each * one for each, one in zip(tokens, price, strict=True) if one), Fraction(0)))
    return chosen["volume"].bought.asked * cached.sent * total


def _tokens(model: str | None, chosen: _Chosen, before: Changed, after: Changed) -> _Vector:
    """Of a call, with what the provider's cache served apart again."""
    tokens = list(_of(model, chosen["lengths"].bought.tokens, before.bought.tokens, after.bought.tokens))
    share = _of(model, chosen["cache"].bought.cached, before.bought.cached, after.bought.cached)
    text = tokens[_UNCACHED]
    tokens[_UNCACHED], tokens[_CACHED] = text * (1 - share), text * share
    return tuple(tokens)


def _of(
    model: str | None, chosen: Mapping[str | None, _T], before: Mapping[str | None, _T], after: Mapping[str | None, _T]
) -> _T:
    """What the model was like in the chosen week; in the other one, where that week has none of its calls."""
    return next(week[model] for week in (chosen, after, before) if model in week)


def _fleet_nano_usd(chosen: _Chosen, before: Changed, after: Changed) -> Fraction:
    """Replicas in proportion to the work; what differs beyond that is the objective's, the estimator's or, where
    neither has changed, that of how the calls arrived, which comes with the volume."""
    assert before.rented is not None
    assert after.rented is not None
    factor: Factor = (
        "objective"
        if before.rented.objective_s != after.rented.objective_s
        else "estimator"
        if before.rented.estimator != after.rented.estimator
        else "volume"
    )
    planned, priced = chosen[factor].rented, chosen["gpu price"].rented
    assert planned is not None
    assert priced is not None
    work = _work(chosen, before, after)
    own = _work(dict.fromkeys(FACTORS, chosen[factor]), before, after)
    replicas = planned.replicas * (work / own if own else Fraction(1)) + planned.idle_replicas
    hourly = Fraction(priced.usd_per_gpu_hour) * WEEK_HOURS * planned.gpus
    return (replicas * hourly + Fraction(_fixed_usd(priced))) * NANO_PER_USD


def _work(chosen: _Chosen, before: Changed, after: Changed) -> Fraction:
    """In output tokens: one that is read takes half of the time of one that is written (arithmetic.DEFAULT)."""
    per_call = Fraction(0)
    for model, share in chosen["mix"].bought.mix.items():
        tokens = _of(model, chosen["lengths"].bought.tokens, before.bought.tokens, after.bought.tokens)
        read, written = (sum((tokens[place] for place in places), Fraction(0)) for places in (_INPUTS, _OUTPUTS))
        per_call += share * (read / 2 + written)
    return chosen["volume"].bought.asked * chosen["cache"].bought.sent * per_call


def _fixed_usd(fleet: Rented) -> Decimal:
    """Of the week's cost, what is no rent of GPUs that always run."""
    hours = (fleet.replicas + fleet.idle_replicas) * fleet.gpus * WEEK_HOURS
    return fleet.week_usd - hours * fleet.usd_per_gpu_hour


def _usd(nano_usd: Fraction) -> Decimal:
    return usd(round(nano_usd))
