"""The shipped snapshot, snapshot files, and which of them is in force."""

import os
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from submeter.core.cost import price_call
from submeter.core.pricebook import Bracket, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.errors import UsageError
from submeter.prices import load_book, load_snapshot
from submeter.prices.importer import compile_map
from submeter.prices.load import (
    archive_dir,
    archive_snapshot,
    current_snapshot,
    find_snapshot,
    previous_snapshot,
    save_snapshot,
    snapshot_path,
)
from submeter.prices.snapshot import Origin, Snapshot, build_snapshot, decode_snapshot, encode_snapshot
from submeter.prices.sources import read_source

NOW_NS = 1_795_500_000_000_000_000
SMALL_MAP = b'{"m": {"mode": "chat", "litellm_provider": "openai", "input_cost_per_token": 1e-6}}'


@pytest.fixture(scope="module")
def shipped() -> Snapshot:
    return load_snapshot()


def small_snapshot() -> Snapshot:
    return build_snapshot(compile_map(SMALL_MAP).entries, Origin("test", "1.2.3", "2026-11-01T00:00:00Z"), SMALL_MAP)


def standard(snapshot: Snapshot, model: str, provider: str) -> dict[str, Decimal]:
    entry = PriceBook(snapshot.entries).find(model, provider, NOW_NS)
    assert entry is not None
    return entry.tiers["standard"][0].usd_per_million


def test_prices_are_those_that_the_providers_publish(shipped: Snapshot) -> None:
    """USD per million tokens: openai.com/api/pricing and claude.com/pricing, checked 2026-11-24."""
    gpt_4o_mini = {"input_uncached": "0.15", "cached_read": "0.075", "output_text": "0.60"}
    gpt_4o = {"input_uncached": "2.50", "cached_read": "1.25", "output_text": "10.00"}
    haiku = {
        "input_uncached": "1",
        "cached_read": "0.10",
        "cache_write_5m": "1.25",
        "cache_write_1h": "2",
        "output_text": "5",
    }
    embedding = {"input_uncached": "0.02", "output_text": "0"}
    for model, provider, published in (
        ("gpt-4o-mini", "openai", gpt_4o_mini),
        ("gpt-4o", "openai", gpt_4o),
        ("claude-haiku-4-5", "anthropic", haiku),
        ("text-embedding-3-small", "openai", embedding),
    ):
        assert standard(shipped, model, provider) == {name: Decimal(price) for name, price in published.items()}


def test_a_call_at_shipped_prices(shipped: Snapshot) -> None:
    entry = PriceBook(shipped.entries).find("gpt-4o-mini-2031-01-01", "openai", NOW_NS)
    assert entry is not None
    cost = price_call(TokenClasses(input_uncached=1000, cached_read=24, output_text=500), entry, "default")
    assert cost is not None
    assert cost.total == 1000 * 150 + 24 * 75 + 500 * 600


def test_the_shipped_snapshot_is_what_the_pinned_wheel_compiles_to(shipped: Snapshot) -> None:
    raw, origin = read_source(None)
    again = build_snapshot(compile_map(raw, shipped.entries[0].checked_on).entries, origin, raw)
    assert (again.id, again.source_sha256) == (shipped.id, shipped.source_sha256)
    assert again.entries == shipped.entries


def test_every_shipped_price_has_a_rate_card(shipped: Snapshot) -> None:
    assert len(shipped.entries) > 3000
    assert len({(entry.provider, entry.model) for entry in shipped.entries}) == len(shipped.entries)
    for entry in shipped.entries:
        assert set(entry.rate_cards) == set(entry.tiers)


def test_a_snapshot_comes_back_as_it_was_written_one_entry_per_line(tmp_path: Path) -> None:
    snapshot = small_snapshot()
    path = snapshot_path(tmp_path)
    save_snapshot(snapshot, path)
    assert load_snapshot(path) == snapshot
    assert [file.name for file in path.parent.iterdir()] == ["snapshot.json"]
    header, entry, end, rest = path.read_bytes().split(b"\n")
    assert header.startswith(b'{"id":"litellm-1.2.3+' + snapshot.sha256[:12].encode())
    assert msgspec.json.decode(entry, type=PriceEntry) == snapshot.entries[0]
    assert (end, rest) == (b"]}", b"")


def test_an_imported_snapshot_goes_before_the_shipped_one(tmp_path: Path, shipped: Snapshot) -> None:
    assert current_snapshot(tmp_path) == shipped
    save_snapshot(small_snapshot(), snapshot_path(tmp_path))
    assert current_snapshot(tmp_path) == small_snapshot()


def test_the_books_id_names_snapshot_and_overlay(tmp_path: Path) -> None:
    save_snapshot(small_snapshot(), snapshot_path(tmp_path))
    plain = load_book([], tmp_path)
    assert plain.snapshot_id == small_snapshot().id
    ids = set()
    for price in ("1", "2"):
        book = load_book([{"model": "m", "usd_per_million": {"input": price}}], tmp_path)
        base, _, overlay = book.snapshot_id.partition("/overlay-")
        assert base == plain.snapshot_id
        assert len(overlay) == 12
        ids.add(overlay)
        match = book.match("m", None, NOW_NS)
        assert match is not None
        assert match.rule == "overlay"
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [(b'"1"', b'"2"'), (b'"entries"', b'"entires"'), (b"\n]}", b""), (b'"id"', b'"idd"')],
)
def test_a_damaged_or_edited_snapshot_is_refused_with_the_fix(tmp_path: Path, before: bytes, after: bytes) -> None:
    data = encode_snapshot(small_snapshot())
    assert before in data
    with pytest.raises((ValueError, msgspec.DecodeError)):
        decode_snapshot(data.replace(before, after))
    path = snapshot_path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(data.replace(before, after))
    with pytest.raises(UsageError, match="delete it, or run submeter prices import"):
        load_book([], tmp_path)


def test_a_snapshot_that_cannot_be_written_names_the_fix(tmp_path: Path) -> None:
    (tmp_path / "prices").write_text("a file where the directory should be")
    with pytest.raises(UsageError, match="choose a writable --data-dir"):
        save_snapshot(small_snapshot(), snapshot_path(tmp_path))


def archive(tmp_path: Path, price: str) -> Snapshot:
    entry = PriceEntry(model="m", provider="p", tiers={"standard": (Bracket(0, {"output_text": Decimal(price)}),)})
    found = build_snapshot([entry], Origin("file", "file", "2026-11-01T00:00:00Z"), b"")
    archive_snapshot(found, tmp_path)
    return found


def test_an_archived_snapshot_is_found_by_the_id_that_rows_name(tmp_path: Path, shipped: Snapshot) -> None:
    old, current = archive(tmp_path, "1"), small_snapshot()
    save_snapshot(current, snapshot_path(tmp_path))
    for name, expected in (
        (old.id, old),
        (f"{old.id}/overlay-0123456789ab", old),
        (current.id, current),
        (shipped.id, shipped),
        ("shipped", shipped),
        (str(archive_dir(tmp_path) / f"{old.id}.json"), old),
    ):
        assert find_snapshot(tmp_path, name) == expected
        assert load_book([], tmp_path, name).snapshot_id == expected.id
    assert load_book([], tmp_path).snapshot_id == current.id
    overlay = [{"model": "m", "usd_per_million": {"input": "1"}}]
    assert load_book(overlay, tmp_path, old.id).snapshot_id.startswith(f"{old.id}/overlay-")


@pytest.mark.parametrize("name", ["litellm-9+no", "../snapshot", "", "."])
def test_an_unknown_snapshot_is_refused_with_those_there_are(tmp_path: Path, shipped: Snapshot, name: str) -> None:
    old = archive(tmp_path, "1")
    with pytest.raises(UsageError, match=r"no price snapshot .*: give shipped, a file, or one of ") as raised:
        load_book([], tmp_path, name)
    assert old.id in str(raised.value)
    assert shipped.id in str(raised.value)


def test_the_previous_snapshot_is_the_last_that_was_archived(tmp_path: Path, shipped: Snapshot) -> None:
    assert previous_snapshot(tmp_path) is None
    save_snapshot(small_snapshot(), snapshot_path(tmp_path))
    assert previous_snapshot(tmp_path) == shipped
    first, last = archive(tmp_path, "1"), archive(tmp_path, "2")
    for seconds, each in enumerate((first, last)):
        os.utime(archive_dir(tmp_path) / f"{each.id}.json", (seconds, seconds))
    assert previous_snapshot(tmp_path) == last


def test_another_file_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match="give a file that submeter prices import has written"):
        find_snapshot(tmp_path, str(tmp_path / "notes.txt"))
