"""What the reading commands share: the ledger that is meant, what is asked of it, JSON on stdout."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import json

from submeter.config import Settings, load_settings
from submeter.core import when
from submeter.errors import UsageError
from submeter.store.ledger import Ledger, LedgerUnavailable
from submeter.store.queries import UnknownKeyError
from submeter.store.queries.grouping import check_keys


@contextmanager
def open_ledger(data_dir: Path | None, ledger_url: str | None) -> Iterator[Ledger]:
    """The ledger that the options and the configuration name, for reading. Raises ``UsageError``."""
    settings = load_settings(data_dir=data_dir, ledger=ledger_url)
    with Ledger.open(settings.ledger_url, read_only=True) as ledger:
        try:
            yield ledger
        except LedgerUnavailable as error:
            raise UsageError(f"the ledger cannot be read now ({error}): try again") from error


@contextmanager
def open_to_write(settings: Settings) -> Iterator[Ledger]:
    """The ledger, where it is there and of this version, for a command that adds to it. Raises ``UsageError``."""
    Ledger.open(settings.ledger_url, read_only=True).close()
    with Ledger.open(settings.ledger_url) as ledger:
        try:
            yield ledger
        except LedgerUnavailable as error:
            raise UsageError(f"the ledger cannot be written now ({error}): nothing was changed, try again") from error


def journal_dir(data_dir: Path | None) -> Path:
    """Where the relays of this data directory keep their journals."""
    return load_settings(data_dir=data_dir).data_dir / "journal"


class Question(msgspec.Struct, frozen=True):
    """What ``--by``, ``--since`` and ``--until`` ask; ``None`` is no limit."""

    keys: list[str]
    period: str
    """For people: ``last 7d``, ``since 2026-11-20``, ``all time``."""
    since_ns: int | None
    until_ns: int | None

    def as_json(self) -> dict[str, object]:
        """The head of a JSON document."""
        return {
            "since": None if self.since_ns is None else when.rfc3339(self.since_ns),
            "until": None if self.until_ns is None else when.rfc3339(self.until_ns),
            "by": self.keys,
        }


def parse_question(by: str, since: str, until: str | None) -> Question:
    """Raises ``UsageError``, which names the option and what it takes."""
    until_ns = None if until is None else parse_since("--until", until)
    return Question(parse_keys(by), _period(since, until), parse_since("--since", since), until_ns)


def _period(since: str, until: str | None) -> str:
    begin = "all time" if since == "all" else f"last {since}" if since[:-1].isdigit() else f"since {since}"
    return begin if until is None else f"{begin}, until {until}"


def parse_since(option: str, text: str) -> int | None:
    """Unix ns of what was typed after ``option``; ``None`` for all. Raises ``UsageError``."""
    try:
        return when.parse_since(text, time.time_ns())
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def parse_keys(text: str) -> list[str]:
    """The keys of ``--by a,b``. Raises ``UsageError``, which names the nearest right key."""
    keys = [key.strip() for key in text.split(",") if key.strip()]
    try:
        check_keys(keys)
    except UnknownKeyError as error:
        raise UsageError(f"--by: {error}") from None
    return keys


def write_json(document: object) -> None:
    """One JSON document, indented for reading."""
    sys.stdout.buffer.write(json.format(json.encode(document), indent=2) + b"\n")
