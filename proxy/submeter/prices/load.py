"""Which prices are in force: the imported snapshot of the data directory, else the shipped one; the overlay first.

Each import keeps what was in force before it in ``prices/archive/``, so that a row can be priced again as it was.
"""

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

SHIPPED = "shipped"
_OVERLAY = "/overlay-"


def snapshot_path(data_dir: Path) -> Path:
    """Where ``submeter prices import`` writes."""
    return data_dir / "prices" / "snapshot.json"


def archive_dir(data_dir: Path) -> Path:
    """Where the snapshots that an import replaced are kept, each as ``ID.json``."""
    return data_dir / "prices" / "archive"


def load_snapshot(path: Path | None = None, fix: str = "delete it, or run submeter prices import") -> Snapshot:
    """The snapshot in ``path``, or the one shipped with submeter. Raises UsageError if it cannot be used."""
    try:
        data = _shipped() if path is None else path.read_bytes()
        return decode_snapshot(data)
    except OSError as error:
        raise UsageError(f"cannot read the price snapshot {path}: {error.strerror}") from error
    except (ValueError, msgspec.DecodeError) as error:
        fix = "reinstall submeter" if path is None else fix
        raise UsageError(f"the price snapshot {path or ''} is damaged or was edited: {fix}") from error


def current_snapshot(data_dir: Path) -> Snapshot:
    """The imported snapshot where there is one, else the shipped one."""
    path = snapshot_path(data_dir)
    return load_snapshot(path if path.exists() else None)


def find_snapshot(data_dir: Path, name: str) -> Snapshot:
    """``shipped``, the id of the current or an archived snapshot (as rows name it), or a file.

    Raises UsageError that names those there are.
    """
    if name == SHIPPED:
        return load_snapshot()
    wanted = name.partition(_OVERLAY)[0]  # a row's own prices are not archived: those of now apply
    archived = _archived(data_dir)
    if wanted in archived:
        return load_snapshot(archived[wanted])
    for snapshot in (current_snapshot(data_dir), load_snapshot()):
        if wanted == snapshot.id:
            return snapshot
    if Path(name).is_file():
        return load_snapshot(Path(name), "give a file that submeter prices import has written")
    known = sorted({*archived, current_snapshot(data_dir).id})
    raise UsageError(f"no price snapshot {name}: give {SHIPPED}, a file, or one of {', '.join(known)}")


def load_book(overlay: Sequence[object], data_dir: Path, snapshot: str | None = None) -> PriceBook:
    """The book in force, or that of another ``snapshot`` (as ``find_snapshot`` takes it).

    ``overlay``: the configuration's ``prices:`` list, as parsed. Raises UsageError.
    """
    chosen = current_snapshot(data_dir) if snapshot is None else find_snapshot(data_dir, snapshot)
    own = parse_overlay(overlay)
    return PriceBook(chosen.entries, own, chosen.id + _overlay_id(own))


def archive_snapshot(snapshot: Snapshot, data_dir: Path) -> None:
    """Keep it for ``find_snapshot``. Raises UsageError if it cannot be written."""
    path = archive_dir(data_dir) / f"{snapshot.id}.json"
    if not path.exists():
        save_snapshot(snapshot, path)


def previous_snapshot(data_dir: Path) -> Snapshot | None:
    """The one that the last import replaced, else the shipped one where another is in force."""
    archived = sorted(_archived(data_dir).values(), key=lambda path: path.stat().st_mtime_ns)
    if archived:
        return load_snapshot(archived[-1])
    return load_snapshot() if snapshot_path(data_dir).exists() else None


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Replace the file in one step. Raises UsageError if it cannot be written."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(encode_snapshot(snapshot))
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose a writable --data-dir") from error


def _archived(data_dir: Path) -> dict[str, Path]:
    return {path.stem: path for path in archive_dir(data_dir).glob("*.json")}


def _overlay_id(overlay: tuple[PriceEntry, ...]) -> str:
    if not overlay:
        return ""
    return f"{_OVERLAY}{hashlib.sha256(msgspec.json.encode(overlay)).hexdigest()[:12]}"


def _shipped() -> bytes:
    return files("submeter.prices").joinpath("snapshot.json").read_bytes()
