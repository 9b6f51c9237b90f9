"""What the calls of a load test cost: from the ledger of the Submeter that is tested, or else from the price book.

Either way a call of which nobody can say what it cost counts as the most that it can have cost: a budget errs on the
side of stopping. A call that never left costs nothing.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Protocol

from sqlalchemy import select

from submeter.core.cost import Range, bounds, price_call
from submeter.core.pricebook import PriceEntry
from submeter.core.record import TokenClasses
from submeter.errors import UsageError
from submeter.loadtest import texts
from submeter.loadtest.order import Ended, Settled
from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import Scenario, Setting
from submeter.store.ledger import Ledger
from submeter.store.queries.priced import priced_calls

FRAME_BYTES = 4096
"""Of a request around its prompt; the members of ``body`` come on top."""
TIERS = ("standard", "flex", "priority")
"""A project's own setting may stand behind a call that names no tier."""
ASKED_AT_ONCE = 500
"""Calls in one query."""
PATIENCE_S = 15.0
"""A finished call is a row within a second, unless its relay or the meter has died."""
REFUSED_PATIENCE_S = 3.0
"""What Submeter itself refuses is no row at all."""


class Spend(Protocol):
    """Takes calls as they end, and gives back what they cost once it is known."""

    source: str
    """For people: where the figures are from."""
    at_worst: int
    """Calls that were counted at the most they can have cost."""
    nano_usd: int | None
    """Of all settled calls; ``None``: there is no price."""

    def take(self, ended: Ended) -> None: ...

    def settled(self) -> list[Settled]:
        """What has become known since the last time."""
        ...

    @property
    def waiting(self) -> int:
        """Calls that are not settled."""
        ...


Prices = Mapping[str, PriceEntry]
"""Of the models that settings name themselves."""


def worst_cases(scenario: Scenario, entry: PriceEntry, others: Prices = MappingProxyType({})) -> list[int]:
    """The most that a call can cost in nano-USD, by setting: a token is at least one byte. Raises ``UsageError``."""
    return [_worst(scenario, setting, _entry(setting.model, entry, others)) for setting in scenario.settings]


def _entry(model: str | None, entry: PriceEntry, others: Prices) -> PriceEntry:
    return entry if model is None else others.get(model, entry)


def _worst(scenario: Scenario, setting: Setting, entry: PriceEntry) -> int:
    input_max = texts.most_bytes(setting.input_tokens) + FRAME_BYTES + len(repr(scenario.body))
    found = bounds(entry, TIERS, Range(None, input_max, 0, setting.output_tokens))
    if found is None:
        raise UsageError(f"the price of {entry.model} is not complete, so that --max-usd cannot hold; see prices show")
    return found[1]


class BookSpend:
    """Reported usage at the price book's standard tier."""

    source = "reported usage at the price book"

    def __init__(
        self, entry: PriceEntry | None, worst_nano_usd: list[int], others: Prices = MappingProxyType({})
    ) -> None:
        self._entry = entry
        self._others = others
        self._worst = worst_nano_usd
        self._new: list[Settled] = []
        self.waiting = 0
        self.at_worst = 0
        self.nano_usd: int | None = None if entry is None else 0

    def take(self, ended: Ended) -> None:
        if self._entry is None or self.nano_usd is None:
            return
        entry = _entry(ended.sample.model, self._entry, self._others)
        cost = _by_usage(ended.sample, entry) if ended.sent else 0
        if cost is None:
            cost = self._worst[ended.call.setting]
            self.at_worst += 1
        self.nano_usd += cost
        self._new.append(Settled(ended.call.number, cost))

    def settled(self) -> list[Settled]:
        new, self._new = self._new, []
        return new


def _by_usage(sample: Sample, entry: PriceEntry) -> int | None:
    """``None``: an answer began, and then said nothing of what it cost."""
    if sample.input_tokens is None or sample.output_tokens is None:
        return 0 if _refused(sample) else None
    cached = 0 if sample.cached_input_tokens is None else sample.cached_input_tokens
    tokens = TokenClasses(
        input_uncached=sample.input_tokens - cached, cached_read=cached, output_text=sample.output_tokens
    )
    cost = price_call(tokens, entry, None)
    return None if cost is None else cost.total


def _refused(sample: Sample) -> bool:
    """Nothing was done for it. Any other 5xx may hide an answer that was paid for."""
    status = sample.status
    return status is not None and (400 <= status < 500 or status == HTTPStatus.SERVICE_UNAVAILABLE)


class LedgerSpend:
    """What the ledger says, call by call: all attempts, and of what it cannot tell exactly the upper bound."""

    source = "the ledger"

    def __init__(self, ledger: Ledger, worst_nano_usd: list[int]) -> None:
        self._ledger = ledger
        self._worst = worst_nano_usd
        self._pending: dict[str, tuple[Ended, float]] = {}
        self._new: list[Settled] = []
        self.at_worst = 0
        self.nano_usd: int | None = 0

    @property
    def waiting(self) -> int:
        return len(self._pending)

    def take(self, ended: Ended) -> None:
        call_id = ended.sample.call_id
        if call_id is None:
            self._settle(ended, _without_row(ended))
        else:
            patience_s = REFUSED_PATIENCE_S if _refused(ended.sample) else PATIENCE_S
            self._pending[call_id] = (ended, time.monotonic() + patience_s)

    def settled(self) -> list[Settled]:
        if self._pending:
            for call_id, cost in self._rows().items():
                self._settle(self._pending.pop(call_id)[0], cost)
            for call_id in self._given_up():
                ended = self._pending.pop(call_id)[0]
                self._settle(ended, _without_row(ended))
        new, self._new = self._new, []
        return new

    def _rows(self) -> dict[str, int | None]:
        """Nano-USD of each pending call that is in the ledger; ``None``: it cannot say."""
        costs: dict[str, int | None] = {}
        with self._ledger.reading() as connection:
            rows = priced_calls(connection)
            columns = [rows.c[name] for name in ("call_id", *_MONEY)]
            for some in _chunks(sorted(self._pending)):
                for call_id, *money in connection.execute(select(*columns).where(rows.c.call_id.in_(some))):
                    known, more = costs.get(call_id, 0), _most(*money)
                    costs[call_id] = None if known is None or more is None else known + more
        return costs

    def _given_up(self) -> list[str]:
        now_s = time.monotonic()
        return [call_id for call_id, (_, deadline_s) in self._pending.items() if now_s > deadline_s]

    def _settle(self, ended: Ended, cost: int | None) -> None:
        if cost is None:
            cost = self._worst[ended.call.setting] if self._worst else None
            self.at_worst += 1
        if cost is None or self.nano_usd is None:
            self.nano_usd = None
            return
        self.nano_usd += cost
        self._new.append(Settled(ended.call.number, cost))


def _without_row(ended: Ended) -> int | None:
    """What a call has cost that the ledger does not know; ``None``: nobody can say."""
    return None if ended.sent and not _refused(ended.sample) else 0


def _chunks(call_ids: list[str]) -> list[list[str]]:
    return [call_ids[at : at + ASKED_AT_ONCE] for at in range(0, len(call_ids), ASKED_AT_ONCE)]


_MONEY = ("cache", "cost_state", "cost_nano_usd", "cost_high_nano_usd")


def _most(cache: str, state: str, nano_usd: int | None, high_nano_usd: int | None) -> int | None:
    if cache in ("hit", "coalesced"):
        return 0
    return nano_usd if state == "exact" else high_nano_usd
