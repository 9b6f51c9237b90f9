"""Calls in order of time, on SQLite and Postgres: which ones, in which order, and the newest of them."""

from store.ledger_rows import START_NS, make_call, make_call_id
from submeter.core.week import NS as WEEK_NS
from submeter.core.week import Week
from submeter.loadtest import production
from submeter.store import queries
from submeter.store.ledger import Ledger

END_NS = START_NS + 10**9


def ids(ledger: Ledger, model: str | None = None) -> list[str]:
    return [row["call_id"] for row in queries.timed_calls(ledger, START_NS, END_NS, model)]


def test_metered_upstream_calls_come_in_order_of_time(ledger: Ledger) -> None:
    ledger.ship(
        [
            make_call(1, started_at_ns=START_NS + 5),
            make_call(2, started_at_ns=START_NS),
            make_call(3, started_at_ns=START_NS + 7, outcome="timeout", cache="bypass"),
            make_call(4, started_at_ns=START_NS - 1),
            make_call(5, started_at_ns=END_NS),
            make_call(6, started_at_ns=START_NS, cache="hit"),
            make_call(7, started_at_ns=START_NS, cost_state="unmetered"),
            make_call(8, started_at_ns=START_NS + 6, model_served=None, model_requested="o3"),
        ],
        {},
    )
    assert ids(ledger) == [make_call_id(number) for number in (2, 1, 8, 3)]
    assert ids(ledger, "o3") == [make_call_id(8)]
    assert ids(ledger, "gpt-4o") == []


def test_the_newest_call_is_one_that_ended_well(ledger: Ledger) -> None:
    assert queries.newest_call_ns(ledger) is None
    ledger.ship(
        [
            make_call(1, started_at_ns=START_NS),
            make_call(2, started_at_ns=START_NS + 1, model_served="o3"),
            make_call(3, started_at_ns=START_NS + 2, outcome="timeout"),
            make_call(4, started_at_ns=START_NS + 3, cache="hit"),
            make_call(5, started_at_ns=START_NS + 4, cost_state="unmetered"),
        ],
        {},
    )
    assert queries.newest_call_ns(ledger) == START_NS + 1
    assert queries.newest_call_ns(ledger, "gpt-4o-2024-08-06") == START_NS
    assert queries.newest_call_ns(ledger, "nobody") is None


def test_a_planted_regression_is_found_on_every_engine(ledger: Ledger) -> None:
    week = Week.of_ns(START_NS)
    last = [
        make_call(at, started_at_ns=week.start_ns - WEEK_NS + at, output_tokens=100, e2e_ns=10**9 + at * 10**5)
        for at in range(40)
    ]
    this = [
        make_call(100 + at, started_at_ns=week.start_ns + at, output_tokens=100, e2e_ns=13 * 10**8 + at * 10**5)
        for at in range(40)
    ]
    ledger.ship([*last, *this], {})
    report = production.analyse(ledger, week.end_ns)
    (line,) = report.models
    assert [(change.measure, change.verdict) for change in line.measures] == [("ttft", "same"), ("tpot", "regressed")]
    assert report.regressed
