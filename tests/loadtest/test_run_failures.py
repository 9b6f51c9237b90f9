"""A run that has measured nothing says why, and what a call that failed has cost."""

from pathlib import Path

import msgspec
import pytest

from submeter.core.pricebook import PriceEntry
from submeter.loadtest import spend
from submeter.loadtest.failures import by_error, total_failure
from submeter.loadtest.order import Ended
from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import Call
from submeter.loadtest.spend import BookSpend, LedgerSpend
from submeter.store.ledger import Ledger

PLAIN = Sample(
    started_ns=0,
    scheduled_ns=None,
    setting="in=22,out=1",
    model="m",
    concurrency=1,
    input_tokens=None,
    cached_input_tokens=None,
    output_tokens=None,
    ttfb_ns=None,
    ttft_ns=None,
    first_content_ns=None,
    e2e_ns=None,
    max_gap_ns=None,
    status=None,
    error=None,
    call_id=None,
    request_id=None,
    streamed=True,
)
TARGET = "http://127.0.0.1:9/v1"
BY_HAND = f"ask {TARGET} once by hand, for instance with curl"


def failed(*errors: str | None) -> list[Sample]:
    return [msgspec.structs.replace(PLAIN, error=error) for error in errors]


def made(kind: type) -> BookSpend | LedgerSpend:
    """A call costs 500 nano-USD at most; its ledger is not asked."""
    return BookSpend(PriceEntry(model="m"), [500]) if kind is BookSpend else LedgerSpend(None, [500])  # type: ignore[arg-type]


def test_the_most_frequent_error_comes_first() -> None:
    assert list(by_error(failed("a", None, "b", "b")).items()) == [("b", 2), ("a", 1)]


def test_one_answer_is_no_total_failure() -> None:
    assert total_failure(failed("a", None), TARGET, "m") is None
    assert total_failure([], TARGET, "m") is None


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        (
            ("status 401", "status 401", "TimeoutError"),
            f"every call failed (3), 2 with status 401: set OPENAI_API_KEY to a key that {TARGET} takes",
        ),
        (("status 503",), f"every call failed (1), all with status 503: look at the log of {TARGET}"),
        (
            ("an error in the answer",),
            f"every call failed (1), all with an error in the answer: {BY_HAND}",
        ),
    ],
)
def test_a_total_failure_names_the_next_step(errors: tuple[str, ...], line: str) -> None:
    assert total_failure(failed(*errors), TARGET, "m") == line


@pytest.mark.parametrize("kind", [BookSpend, LedgerSpend])
@pytest.mark.parametrize(
    ("status", "cost"), [(None, 500), (200, 500), (404, 0), (429, 0), (500, 500), (502, 500), (503, 0)]
)
def test_what_was_refused_costs_nothing_and_what_broke_off_its_most(kind: type, status: int | None, cost: int) -> None:
    spent = made(kind)
    sample = msgspec.structs.replace(PLAIN, status=status, error="status")
    spent.take(Ended(Call(0, 0, None, False), sample, 0))
    assert [each.nano_usd for each in spent.settled()] == [cost]


@pytest.mark.parametrize(("status", "cost"), [(404, 0), (200, 500)])
def test_calls_that_never_become_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, cost: int) -> None:
    for name in ("PATIENCE_S", "REFUSED_PATIENCE_S"):
        monkeypatch.setattr(spend, name, -1.0)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3") as ledger:
        ledger.migrate()
        spent = LedgerSpend(ledger, [500])
        spent.take(Ended(Call(0, 0, None, False), msgspec.structs.replace(PLAIN, status=status, call_id="x"), 0))
        assert [each.nano_usd for each in spent.settled()] == [cost]
    assert spent.waiting == 0


@pytest.mark.parametrize("kind", [BookSpend, LedgerSpend])
@pytest.mark.parametrize(("sent", "cost"), [(False, 0), (True, 500)])
def test_a_call_costs_nothing_only_if_it_never_left(kind: type, sent: bool, cost: int) -> None:
    spent = made(kind)
    spent.take(Ended(Call(0, 0, None, False), failed("ConnectionRefusedError")[0], 0, sent=sent))
    assert [each.nano_usd for each in spent.settled()] == [cost]
    assert (spent.nano_usd, spent.at_worst, spent.waiting) == (cost, int(sent), 0)
