"""A recorded stream broken off at every one of its bytes: the row's bounds contain the invoice line each time.

The invoice is what the whole answer costs: whoever breaks off, or is broken off, does not know how much of it the
provider had made by then. A row is ``exact`` only where it is that very amount.
"""

from collections.abc import Iterator

import msgspec
import pytest

from corpus.prices import MEDIA, book
from corpus.recordings import RECORDINGS, Recording
from submeter.core.exchange import Exchange
from submeter.core.pricebook import PriceBook
from submeter.core.record import CallRow, Finish, Start
from submeter.core.settle import settle

INVOICED = [r for r in RECORDINGS if r.streamed and r.cost_nano_usd is not None and r.usage is not None]

# FAULTS 37: this provider takes its first count back, and a stream broken off between the two has only the first.
TAKEN_BACK = {"chat_usage_decreasing"}

invoiced = pytest.mark.parametrize(
    "recording", [r for r in INVOICED if r.name not in TAKEN_BACK], ids=lambda recording: recording.name
)


def start_of(recording: Recording) -> Start:
    """The sharpest one: a body of a byte per token, and not one more token of output allowed than came."""
    assert recording.usage is not None
    return Start(
        call_id="c",
        attempt=1,
        operation_id="c",
        endpoint=recording.expected["endpoint"],
        upstream="openai",
        started_at_ns=0,
        model_requested=recording.expected["model"],
        n=recording.expected["n"],
        max_output_tokens=recording.usage.output_total,
        bytes_in=recording.usage.input_total,
        unbounded=recording.expected.get("unbounded", False),
    )


def book_of(recording: Recording) -> PriceBook:
    """The prices, but those of sounds and images for a model that has none."""
    return book(without=[name for name in MEDIA if not getattr(recording.usage, name)])


def broken_off(recording: Recording, start: Start, size: int) -> Iterator[Finish]:
    """FINISH after so many bytes, whoever ends it: the upstream or the client."""
    for client_gone in (False, True):
        exchange = Exchange(start, 0)
        exchange.take_head(200, [(b"Content-Type", recording.content_type)], 0)
        exchange.feed(recording.body[:size], 0)
        if client_gone:
            exchange.client_gone()
        else:
            exchange.lost("upstream_incomplete")
        assert exchange.finish is not None
        yield exchange.finish


@invoiced
def test_cut_at_every_byte_the_bounds_contain_the_invoice(recording: Recording) -> None:
    start, prices, invoice = start_of(recording), book_of(recording), recording.cost_nano_usd
    assert invoice is not None
    rows: dict[Finish, CallRow] = {}
    for size in range(len(recording.body) + 1):
        for finish in broken_off(recording, start, size):
            told = msgspec.structs.replace(finish, bytes_out=0)  # a row says how many, and nothing follows from it
            if told not in rows:
                rows[told] = settle(start, told, prices, {})
                check(rows[told], invoice)
    assert rows[told].cost_state == "exact", "the last cut leaves nothing out"


def check(row: CallRow, invoice: int) -> None:
    assert row.cost_low_nano_usd is not None
    assert row.cost_high_nano_usd is not None
    assert row.cost_low_nano_usd <= invoice
    assert invoice <= row.cost_high_nano_usd or row.unbounded
    if row.cost_state == "exact":
        assert row.cost_low_nano_usd == row.cost_nano_usd == row.cost_high_nano_usd == invoice
    else:
        assert row.cost_state in ("estimated", "indeterminate")


def test_all_that_have_an_invoice_are_cut() -> None:
    assert len(INVOICED) - len(TAKEN_BACK) >= 40
    assert {r.expected["endpoint"] for r in INVOICED} == {"chat/completions", "completions", "responses", "messages"}
