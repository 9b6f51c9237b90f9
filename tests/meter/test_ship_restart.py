"""A meter that ends, or is killed, and the next one: each call counted once, and what is shown never goes back."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from meter.shipping import COST_NANO, UNIT, Ship, counted, finish_of, in_ledger, start_of, value, write
from submeter.core.collected import derived_id
from submeter.meter.reading import READ_RECORDS
from submeter.store.ledger import Cursor, Ledger
from submeter.store.queries import summary


@pytest.fixture
def ship(tmp_path: Path) -> Iterator[Ship]:
    ship = Ship(tmp_path)
    yield ship
    ship.stop()
    ship.ledger.close()


def test_a_restart_ships_the_rest_once(ship: Ship) -> None:
    writer = ship.writer()
    for number in range(10):
        writer.start(start_of(number))
        if number != 4:
            writer.finish(finish_of(number))
    ship.start()
    ship.stop()
    assert summary(ship.ledger).calls == 9, "the open call is no row yet"
    writer.finish(finish_of(4))
    for number in range(10, 15):
        writer.start(start_of(number))
        writer.finish(finish_of(number))
    metrics = ship.start()
    ship.stop()
    assert summary(ship.ledger).calls == 15
    assert value(metrics, "submeter_calls_total") == 15, "counters go on where the committed rows end"
    writer.close()


def test_a_meter_that_dies_between_counting_and_committing(ship: Ship) -> None:
    writer = ship.writer()
    write(writer, 0, 10)
    ship.restart()
    write(writer, 10, 30)
    dying, shipper = ship.make()
    shipper._read()
    assert counted(dying) == (30, pytest.approx(30 * COST_NANO / 1e9), 10), "ten more rows are only counted"
    metrics = ship.restart()
    assert counted(metrics) == in_ledger(ship.ledger)
    assert counted(metrics)[0] == 30
    writer.close()


def test_a_meter_that_dies_between_two_batches(ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the first batch are in the ledger, and neither their cursor nor what they count for."""
    ids = (derived_id("openai", f"resp_{number}") for number in itertools.count())
    call_id = next(each for each in ids if each < start_of(0).call_id)  # it would be in the first batch
    writer = ship.writer()
    writer.start_and_finish(
        msgspec.structs.replace(start_of(5000), call_id=call_id), msgspec.structs.replace(finish_of(1), call_id=call_id)
    )
    write(writer, 0, 700)
    _, shipper = ship.make()
    works = ship.ledger.ship

    def only_the_first(rows: object, cursors: Mapping[str, object], *more: object, **named: object) -> object:
        if cursors:
            raise KeyboardInterrupt
        return works(rows, cursors, *more, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ship.ledger, "ship", only_the_first)
        shipper._read()
        with pytest.raises(KeyboardInterrupt):
            shipper._ship()
    assert (summary(ship.ledger).calls, ship.ledger.counters(UNIT)) == (500, {})
    metrics = ship.restart()
    assert counted(metrics) == in_ledger(ship.ledger)
    assert counted(metrics)[0] == 701
    writer.close()


def test_nothing_is_shown_before_the_journals_are_read_to_their_ends(ship: Ship) -> None:
    writer = ship.writer()
    write(writer, 0, READ_RECORDS // 2 + 10)  # two records each
    _, shipper = ship.make()
    shipper._read()
    shipper._judge_catching_up()
    assert not shipper.caught_up.is_set()
    shipper._read()
    shipper._judge_catching_up()
    assert shipper.caught_up.is_set()
    writer.start(start_of(9999))
    writer.close()
    metrics, shipper = ship.make()
    while shipper._read():
        shipper._judge_catching_up()
        assert not shipper.caught_up.is_set() or value(metrics, "submeter_calls_total", outcome="indeterminate"), (
            "what a dead relay left open is known only when nothing more comes"
        )


def test_what_a_dead_relay_left_is_given_up_once(ship: Ship) -> None:
    writer = ship.writer()
    write(writer, 0, 3)
    writer.start(start_of(7, max_output_tokens=100, bytes_in=4000))
    writer.close()
    for _ in range(3):
        metrics = ship.restart()
        assert counted(metrics) == in_ledger(ship.ledger)
        assert value(metrics, "submeter_indeterminate_calls_total") == 1
        assert value(metrics, "submeter_ledger_rows_total") == 4
    writer = ship.writer()  # the relay's successor
    writer.start(start_of(8, max_output_tokens=100, bytes_in=4000))
    writer.close()
    for _ in range(2):
        metrics = ship.restart()
        assert value(metrics, "submeter_indeterminate_calls_total") == 2
        assert counted(metrics) == in_ledger(ship.ledger)


def test_an_answer_that_is_fetched_again_after_a_restart_is_counted_once(ship: Ship) -> None:
    call_id = derived_id("openai", "resp_1")
    for _ in range(3):
        writer = ship.writer()
        start = msgspec.structs.replace(start_of(1), call_id=call_id, operation_id=call_id)
        writer.start_and_finish(start, msgspec.structs.replace(finish_of(1), call_id=call_id))
        writer.close()
        assert counted(ship.restart()) == in_ledger(ship.ledger)
    assert summary(ship.ledger).calls == 1


def test_damage_is_counted_once(ship: Ship) -> None:
    writer = ship.writer()
    write(writer, 0, 10)
    [segment] = (ship.journal_dir / "relay-0").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(bytes(data))
    found = value(ship.restart(), "submeter_journal_damage_total")
    assert found >= 1
    assert value(ship.restart(), "submeter_journal_damage_total") == found
    write(writer, 10, 20)
    assert value(ship.restart(), "submeter_journal_damage_total") == found
    writer.close()


def test_units_that_share_a_ledger_keep_apart(ship: Ship) -> None:
    """Their relays have the same names."""
    other = Ship(ship.directory / "other", "1" * 32, ship.ledger)
    one, two = ship.writer(), other.writer()
    for begin in (0, 100):
        write(one, begin, begin + 20)
        write(two, begin + 50, begin + 60)
        first, second = ship.restart(), other.restart()
    assert (counted(first)[0], counted(second)[0], summary(ship.ledger).calls) == (40, 20, 60)
    assert len(ship.ledger.cursors(UNIT)) == len(ship.ledger.cursors("1" * 32)) == 1
    one.close()
    two.close()


def forget_whose(ledger: Ledger) -> None:
    """As before units had names."""
    with ledger.writing() as connection:
        connection.execute(text("UPDATE cursors SET unit = ''"))
        connection.execute(text("DELETE FROM counter_state"))


def test_an_older_ledger_is_not_shipped_and_counted_anew(ship: Ship) -> None:
    writer = ship.writer()
    write(writer, 0, 20)
    ship.restart()
    forget_whose(ship.ledger)
    write(writer, 20, 25)
    assert counted(ship.restart())[0] == 5, "an older meter kept no counters"
    assert (list(ship.ledger.cursors(UNIT)), ship.ledger.cursors("")) == (["relay-0"], {})
    assert counted(ship.restart())[0] == 5
    assert summary(ship.ledger).calls == 25
    writer.close()


def test_another_hosts_cursor_is_not_taken_for_ones_own(ship: Ship) -> None:
    ship.ledger.ship([], {"relay-0": Cursor(1, 1 << 20, 0)})
    writer = ship.writer()
    write(writer, 100, 110)
    assert counted(ship.restart())[0] == 10 == summary(ship.ledger).calls
    assert list(ship.ledger.cursors("")) == ["relay-0"], "its owner may still come for it"
    writer.close()
