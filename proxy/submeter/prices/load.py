"""Which prices are in force: the imported snapshot of the data directory, else the shipped one; the overlay first."""

import hashlib
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import msgspec

from submeter.core.pricebook import PriceBook, PriceEntry
from submeter.errors import UsageError
from submeter.prices.overlay import parse_overlay
from submeter.prices.snapshot import Snapshot, decode_snapshot, encode_snapshot


def snapshot_path(data_dir: Path) -> Path:
    """Where ``submeter prices import`` writes."""
    return data_dir / "prices" / "snapshot.json"


def load_snapshot(path: Path | None = None) -> Snapshot:
    """The snapshot in ``path``, or the one shipped with submeter. Raises UsageError if it cannot be used."""
    try:
        data = _shipped() if path is None else path.read_bytes()
        return decode_snapshot(data)
    except OSError as error:
        raise UsageError(f"cannot read the price snapshot {path}: {error.strerror}") from error
    except (ValueError, msgspec.DecodeError) as error:
        fix = "reinstall submeter" if path is None else "delete it, or run submeter prices import"
        raise UsageError(f"the price snapshot {path or ''} is damaged or was edited: {fix}") from error


def current_snapshot(data_dir: Path) -> Snapshot:
    """The imported snapshot where there is one, else the shipped one."""
    path = snapshot_path(data_dir)
    return load_snapshot(path if path.exists() else None)


def load_book(overlay: Sequence[object], data_dir: Path) -> PriceBook:
    """The book in force. ``overlay``: the configuration's ``prices:`` list, as parsed. Raises UsageError."""
    snapshot, own = current_snapshot(data_dir), parse_overlay(overlay)
    return PriceBook(snapshot.entries, own, snapshot.id + _overlay_id(own))


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Replace the file in one step. Raises UsageError if it cannot be written."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(encode_snapshot(snapshot))
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose a writable --data-dir") from error


def _overlay_id(overlay: tuple[PriceEntry, ...]) -> str:
    if not overlay:
        return ""
    return f"/overlay-{hashlib.sha256(msgspec.json.encode(overlay)).hexdigest()[:12]}"


def _shipped() -> bytes:
    return files("submeter.prices").joinpath("snapshot.json").read_bytes()
