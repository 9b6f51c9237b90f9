"""Journal to ledger: nothing twice, nothing lost, counters that follow the journal while the database is down."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from meter.shipping import COST_NANO, Ship, finish_of, start_of, value
from submeter.core.collected import derived_id
from submeter.core.record import Tally
from submeter.journal.directory import list_sequences
from submeter.store.ledger import LedgerUnavailable
from submeter.store.queries import summary


@pytest.fixture
def ship(tmp_path: Path) -> Iterator[Ship]:
    ship = Ship(tmp_path)
    yield ship
    ship.stop()
    ship.ledger.close()


def test_an_answer_that_is_fetched_again_is_one_row_and_counted_once(ship: Ship) -> None:
    metrics = ship.start()
    call_id = derived_id("openai", "resp_1")
    for name in ("relay-0", "relay-1", "relay-0"):
        writer = ship.writer(name)
        start = msgspec.structs.replace(start_of(1, team="jobs"), call_id=call_id, operation_id=call_id)
        writer.start_and_finish(start, msgspec.structs.replace(finish_of(1), call_id=call_id))
        writer.close()
    ship.stop()
    assert (summary(ship.ledger).calls, summary(ship.ledger).confirmed_nano_usd) == (1, COST_NANO)
    assert value(metrics, "submeter_calls_total") == 1
    assert value(metrics, "submeter_cost_usd_total", team="jobs") == pytest.approx(COST_NANO / 1e9, abs=1e-12)


def test_calls_become_rows_and_figures(ship: Ship) -> None:
    metrics = ship.start()
    writer = ship.writer()
    for number in range(1200):
        writer.start(start_of(number, team="search"))
        writer.finish(finish_of(number))
    writer.tally([Tally("refused", "invalid_json", 3), Tally("passed", "models", 2), Tally("unmetered", "journal", 1)])
    writer.close()
    ship.stop()
    total = summary(ship.ledger)
    assert (total.calls, total.confirmed_nano_usd) == (1200, 1200 * COST_NANO)
    assert value(metrics, "submeter_calls_total", model="gpt-4o-mini", outcome="ok") == 1200
    assert value(metrics, "submeter_cost_usd_total", team="search") == pytest.approx(1200 * COST_NANO / 1e9, abs=1e-9)
    assert value(metrics, "submeter_tokens_total", **{"class": "cached_read"}) == 1200 * 500
    assert value(metrics, "submeter_refused_calls_total", code="invalid_json") == 3
    assert value(metrics, "submeter_passed_requests_total", path="models") == 2
    assert value(metrics, "submeter_unmetered_calls_total", reason="journal") == 1


def test_the_open_calls_of_a_dead_relay_become_indeterminate(ship: Ship) -> None:
    writer = ship.writer()
    writer.start(start_of(1, max_output_tokens=100, bytes_in=4000))
    writer.close()
    metrics = ship.start()
    ship.stop()
    total = summary(ship.ledger)
    assert (total.calls, total.indeterminate_calls) == (1, 1)
    # at least nothing; at most 4,000 bytes of prompt at the input price and 100 tokens at the output price
    low, high = total.indeterminate_low_nano_usd, total.indeterminate_high_nano_usd
    assert low == 0
    assert high >= 4000 * 150 + 100 * 600
    assert value(metrics, "submeter_indeterminate_usd_total", bound="high") == pytest.approx(high / 1e9)


def test_shipped_segments_are_removed_and_open_calls_keep_theirs(ship: Ship) -> None:
    writer = ship.writer(segment_bytes=20_000)
    ship.start()
    writer.start(start_of(0))
    for number in range(1, 600):
        writer.start(start_of(number))
        writer.finish(finish_of(number))
    deadline = time.monotonic() + 20
    while summary(ship.ledger).calls < 599 or len(list_sequences(ship.journal_dir / "relay-0")) > 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    writer.finish(finish_of(0))
    ship.stop()
    assert summary(ship.ledger).calls == 600
    writer.close()


def test_counters_follow_the_journal_while_the_database_is_down(ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = ship.start()
    writer = ship.writer()
    works = ship.ledger.ship
    down = True

    def maybe(*arguments: object, **more: object) -> object:
        if down:
            raise LedgerUnavailable("OperationalError")
        return works(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ship.ledger, "ship", maybe)
    for number in range(700):
        writer.start(start_of(number))
        writer.finish(finish_of(number))
    deadline = time.monotonic() + 20
    while value(metrics, "submeter_calls_total") < 700 or value(metrics, "submeter_database_up") != 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert summary(ship.ledger).calls == 0
    assert metrics.state.lag_s > 0
    assert value(metrics, "submeter_ledger_rows_total") == 0
    assert value(metrics, "submeter_ledger_failures_total") >= 1
    down = False
    ship.stop()
    assert summary(ship.ledger).calls == 700
    assert value(metrics, "submeter_calls_total") == 700
    writer.close()


def test_series_stay_bounded(ship: Ship) -> None:
    metrics = ship.start()
    writer = ship.writer()
    for number in range(3000):
        junk = {
            "team": f"team{number}",
            "app": f"app{number % 97}",
            "prompt": f"p{number % 61}",
            "prompt_version": f"v{number}",
        }
        writer.start(start_of(number, **junk))
        writer.finish(finish_of(number))
    writer.close()
    ship.stop()
    lines = [line for line in metrics.exposition()[0].decode().splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 2000
    assert value(metrics, "submeter_calls_total") == 3000
    assert value(metrics, "submeter_prompt_cost_usd_total") == pytest.approx(3000 * COST_NANO / 1e9)
