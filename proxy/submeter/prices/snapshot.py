"""A price snapshot: compiled entries with where they come from, in a file with one entry per line.

The id names exactly the entries (their sha256), so that a row says which prices made its cost.
"""

import hashlib
from datetime import date

import msgspec

from submeter.core.pricebook import PriceEntry


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """``litellm-VERSION+`` and the first 12 hex digits of ``sha256``."""
    source: str
    source_version: str
    source_sha256: str
    """Of the map that was read."""
    sha256: str
    """Of the entries as they stand in the file."""
    imported_at: str
    """RFC 3339, UTC."""
    entries: tuple[PriceEntry, ...]


class Origin(msgspec.Struct, frozen=True):
    """Where a price map comes from."""

    source: str
    version: str
    imported_at: str
    """RFC 3339, UTC."""

    @property
    def imported_on(self) -> date:
        return date.fromisoformat(self.imported_at[:10])


_OPENING = b',"entries":[\n'
_CLOSING = b"\n]}\n"


def build_snapshot(entries: list[PriceEntry], origin: Origin, raw_map: bytes) -> Snapshot:
    """Sorts the entries and names them."""
    ordered = tuple(sorted(entries, key=_place))
    digest = hashlib.sha256(_lines(ordered)).hexdigest()
    return Snapshot(
        id=f"litellm-{origin.version}+{digest[:12]}",
        source=origin.source,
        source_version=origin.version,
        source_sha256=hashlib.sha256(raw_map).hexdigest(),
        sha256=digest,
        imported_at=origin.imported_at,
        entries=ordered,
    )


def _place(entry: PriceEntry) -> tuple[str, str, date]:
    return entry.provider or "", entry.model, entry.valid_from or date.min


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """JSON: the header on the first line, then one entry per line, so that a diff can be read."""
    header = {name: getattr(snapshot, name) for name in Snapshot.__struct_fields__ if name != "entries"}
    return msgspec.json.encode(header)[:-1] + _OPENING + _lines(snapshot.entries) + _CLOSING


def decode_snapshot(data: bytes) -> Snapshot:
    """Raises ValueError where the file is no snapshot or its entries are not those that its sha256 names."""
    snapshot = _decoder.decode(data)
    start, end = data.find(_OPENING), data.rfind(_CLOSING)
    if start < 0 or hashlib.sha256(data[start + len(_OPENING) : end]).hexdigest() != snapshot.sha256:
        raise ValueError("its entries are not those that its sha256 names")
    return snapshot


def _lines(entries: tuple[PriceEntry, ...]) -> bytes:
    return b",\n".join(_encoder.encode(entry) for entry in entries)


_decoder = msgspec.json.Decoder(Snapshot)
_encoder = msgspec.json.Encoder()
