"""All ways to serve a workload that were declared, priced or withheld, and the best of each kind."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import msgspec

from submeter.core.week import Week
from submeter.report import buy, fleets, rent
from submeter.report.alternatives import Alternatives, Equivalent, WorkloadChoice
from submeter.report.buy import Market, Offer
from submeter.report.fleets import Candidate
from submeter.report.money import Option, Withheld
from submeter.report.trace import Trace
from submeter.report.verdict import Kind, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    option: Option | Withheld
    equivalent: Equivalent | None = None
    """The open model; ``None``: it is an API."""
    candidate: Candidate | None = None
    """The fleet; ``None``: none, or none that meets the objective."""

    @property
    def quality(self) -> bool | None:
        """What the evidence says of the equivalent; ``None``: there is none."""
        evidence = None if self.equivalent is None else self.equivalent.quality
        return None if evidence is None else evidence.holds

    @property
    def week_usd(self) -> Decimal | None:
        return self.option.weekly_usd if isinstance(self.option, Option) else None

    @property
    def side(self) -> Side:
        """Raises ``AssertionError`` for one that is withheld."""
        assert isinstance(self.option, Option)
        return Side(
            kind=self.option.kind,
            name=self.option.name,
            week_usd=self.option.weekly_usd,
            equivalent=None if self.equivalent is None else self.equivalent.model,
            quality=self.quality,
        )


def offered(
    trace: Trace,
    week: Week,
    choice: WorkloadChoice | None,
    alternatives: Alternatives,
    market: Market,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[Offered, ...]:
    """What was done first, then the file's order. Raises ``UsageError``."""
    buys = (Offered(option=each) for each in buy.buy_options(trace, week, choice, market))
    if choice is None:
        return tuple(buys)
    rents = _rents(trace, week, choice, market)
    builds = _builds(trace, week, choice, alternatives, market, seed, progress)
    return tuple(_told_apart((*buys, *rents, *builds)))


def _told_apart(found: tuple[Offered, ...]) -> Iterator[Offered]:
    """Draws are kept by name: two options of one name would both have the figures of the last."""
    seen: Counter[str] = Counter()
    for each in found:
        seen[each.option.name] += 1
        number = seen[each.option.name]
        name = each.option.name if number == 1 else f"{each.option.name} ({number})"
        yield replace(each, option=msgspec.structs.replace(each.option, name=name))


def _rents(trace: Trace, week: Week, choice: WorkloadChoice, market: Market) -> Iterator[Offered]:
    for equivalent in choice.equivalents:
        for each in equivalent.rent:
            offer = Offer(
                model=equivalent.model if each.model is None else each.model,
                provider=each.host,
                tokenizer_ratio=equivalent.tokenizer_ratio,
                length_ratio=equivalent.length_ratio,
            )
            yield Offered(option=rent.rent(trace, week, offer, market, each.usd_per_million), equivalent=equivalent)


def _builds(
    trace: Trace,
    week: Week,
    choice: WorkloadChoice,
    alternatives: Alternatives,
    market: Market,
    seed: int,
    progress: Callable[[str], None],
) -> Iterator[Offered]:
    for equivalent in choice.equivalents:
        for each in equivalent.build:
            found = fleets.candidate(
                trace, week, equivalent, each, choice, alternatives, market.assumed, seed, progress
            )
            if isinstance(found, Withheld):
                yield Offered(option=found, equivalent=equivalent)
            else:
                option = found.built if isinstance(found.built, Withheld) else found.built.option
                yield Offered(option=option, equivalent=equivalent, candidate=found)


def best(offers: tuple[Offered, ...], kind: Kind) -> Offered | None:
    """The cheapest of its kind, of those that evidence does not speak against where there are such."""
    priced = [each for each in offers if each.option.kind == kind and isinstance(each.option, Option)]
    allowed = [each for each in priced if each.quality is not False] or priced
    return min(allowed, key=lambda each: each.week_usd or Decimal(0), default=None)


def best_fleet(offers: tuple[Offered, ...]) -> Candidate | None:
    """Of the best build; where none has a price, the first that meets the objective."""
    chosen = best(offers, "build")
    if chosen is not None:
        return chosen.candidate
    return next((each.candidate for each in offers if each.candidate is not None), None)
