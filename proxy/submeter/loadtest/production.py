"""The same analysis of the ledger's real calls: by the model that served them and the ISO week (UTC).

Nobody designs what production asks: lengths come as they come, and another mix of them next week is no regression.
Medians are therefore compared between calls whose input and whose output lie between the same powers of two, where both
weeks have such calls. End to end gets no verdict: it is TTFT and TPOT times a length that still varies within those
bounds. A week that is not over is held against as much of the one before it, as nights and weekends are faster.
"""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from submeter.core.week import NS as WEEK_NS
from submeter.core.week import Week
from submeter.loadtest.compare import Change, compare
from submeter.loadtest.fit import Fit, NotFitted, fit
from submeter.loadtest.samples import Sample, from_rows_in_order
from submeter.store import queries
from submeter.store.ledger import Ledger

MOST_CALLS = 5_000
"""Of a model and week: the fit takes 4 s and 200 MB for so many, and six times that for four times as many."""
JUDGED = ("ttft", "tpot")
SEED = 0


class Thinned:
    """Of calls that come in order every k-th, k the least power of two with which there are at most ``most``."""

    def __init__(self, most: int = MOST_CALLS) -> None:
        self.kept: list[Sample] = []
        self.seen = 0
        self._most = most
        self._every = 1

    def add(self, sample: Sample) -> None:
        if self.seen % self._every == 0:
            self.kept.append(sample)
        self.seen += 1
        if len(self.kept) > self._most:
            del self.kept[1::2]
            self._every *= 2


class ModelWeek(msgspec.Struct, frozen=True, kw_only=True):
    """One model's week, and its verdict against the week before."""

    model: str
    calls: int
    """That ended well, of which ``MOST_CALLS`` at most are looked at, evenly spread; so too ``calls_before``."""
    calls_before: int
    fit: Fit | NotFitted
    measures: tuple[Change, ...]
    """Of ``JUDGED``: after / before."""
    settings: tuple[Change, ...]
    threshold: float

    @property
    def regressed(self) -> bool:
        return any(change.verdict == "regressed" for change in self.measures)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    week: Week
    until_ns: int
    """Its end, or now."""
    models: tuple[ModelWeek, ...]
    """The busiest first."""

    @property
    def before(self) -> Week:
        return self.week.previous()

    @property
    def before_until_ns(self) -> int:
        return self.until_ns - WEEK_NS

    @property
    def regressed(self) -> bool:
        return any(each.regressed for each in self.models)


def analyse(ledger: Ledger, now_ns: int, week: Week | None = None, model: str | None = None) -> Report:
    """``week``: else the newest that has calls; ``model``: only that one. The same ledger gives the same figures."""
    if week is None:
        newest_ns = queries.newest_call_ns(ledger, model)
        week = Week.of_ns(now_ns if newest_ns is None else newest_ns)
    until_ns = max(week.start_ns, min(week.end_ns, now_ns))
    after = _by_model(ledger, week.start_ns, until_ns, model)
    before = _by_model(ledger, week.start_ns - WEEK_NS, until_ns - WEEK_NS, model)
    names = sorted(after, key=lambda name: (-after[name].seen, name))
    models = tuple(_model_week(name, before.get(name, Thinned()), after[name]) for name in names)
    return Report(week=week, until_ns=until_ns, models=models)


def _by_model(ledger: Ledger, since_ns: int, until_ns: int, model: str | None) -> dict[str, Thinned]:
    found: defaultdict[str, Thinned] = defaultdict(Thinned)
    for sample in from_rows_in_order(queries.timed_calls(ledger, since_ns, until_ns, model)):
        found[sample.model].add(sample)
    return found


def _model_week(name: str, before: Thinned, after: Thinned) -> ModelWeek:
    compared = compare(before.kept, after.kept, seed=SEED)
    return ModelWeek(
        model=name,
        calls=after.seen,
        calls_before=before.seen,
        fit=fit(after.kept, seed=SEED),
        measures=_judged(compared.measures),
        settings=_judged(compared.settings),
        threshold=compared.threshold,
    )


def _judged(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.measure in JUDGED)
