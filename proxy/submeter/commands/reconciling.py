"""What ``submeter reconcile`` does: the invoice that is asked for, its period, its calls, its version."""

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec

from submeter.commands.reading import parse_since
from submeter.config import Settings
from submeter.core import when
from submeter.errors import UsageError
from submeter.prices import load_book
from submeter.reconcile import anthropic, openai
from submeter.reconcile.explain import Report, reconcile
from submeter.reconcile.fetch import Pull
from submeter.reconcile.ledger import Scope, sides
from submeter.reconcile.lines import NANO_PER_USD, Invoice
from submeter.reconcile.mapping import InvoiceMap, parse_columns, read_map
from submeter.reconcile.match import same_names
from submeter.reconcile.read import MAX_BYTES, read_invoice
from submeter.reconcile.settle import settled_costs
from submeter.reconcile.values import read_decimal
from submeter.store.ledger import Ledger
from submeter.store.versions import add_version

APIS: dict[str, tuple[str, str, Pull]] = {
    "openai": (openai.BASE_URL, openai.KEY_ENV, openai.pull),
    "anthropic": (anthropic.BASE_URL, anthropic.KEY_ENV, anthropic.pull),
}
DEFAULT_DAYS = 7


class Period(msgspec.Struct, frozen=True):
    """Whole days since 1970, UTC; ``None``: as far as the invoice goes."""

    since_day: int | None
    until_day: int | None
    """Exclusive."""
    today: int
    """Not over yet: neither side has all of it."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    file: Path | None
    provider: str | None
    period: Period
    key_env: str | None
    base_url: str | None
    mapping: InvoiceMap
    tolerance_nano_usd: int


def parse_period(since: str | None, until: str | None) -> Period:
    """Raises ``UsageError``; ``7d`` begins with the day that it falls into."""
    return Period(_day("--since", since), _day("--until", until), time.time_ns() // when.DAY_NS)


def _day(option: str, text: str | None) -> int | None:
    at_ns = None if text is None else parse_since(option, text)
    return None if at_ns is None else at_ns // when.DAY_NS


def parse_tolerance(text: str) -> int:
    usd = read_decimal("--tolerance-usd", "it", text)
    if usd is None or not 0 <= usd <= 10**6:
        raise UsageError("--tolerance-usd: expected dollars, such as 0.01")
    return int(usd * NANO_PER_USD)


def read_mapping(file: Path | None, columns: str | None) -> InvoiceMap:
    mapping = InvoiceMap() if file is None else read_map(file)
    return mapping if columns is None else msgspec.structs.replace(mapping, columns=parse_columns(columns))


def read(asked: Asked) -> Invoice:
    """From the file or the API. Raises ``UsageError``."""
    if (asked.file is None) == (asked.provider is None):
        raise UsageError("give either a FILE or --provider openai|anthropic, and not both")
    invoice = _pull(asked) if asked.file is None else _read_file(asked.file, asked.mapping)
    if invoice.days is None:
        raise UsageError("the export has a header and no rows: export a period that has calls")
    return invoice


def _read_file(file: Path, mapping: InvoiceMap) -> Invoice:
    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    try:
        return read_invoice(raw, mapping)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def _pull(asked: Asked) -> Invoice:
    if asked.provider not in APIS:
        raise UsageError(f"--provider is {' or '.join(APIS)}; of any other, give the export as a FILE")
    base_url, key_env, pull = APIS[asked.provider]
    key_env = key_env if asked.key_env is None else asked.key_env
    key = os.environ.get(key_env, "").strip()  # an admin's secret for one run, so no setting
    if not key or not key.isascii() or not key.isprintable():
        raise UsageError(f"{key_env} holds no admin key: export it, or name its variable with --key-env")
    period = asked.period
    until = period.today if period.until_day is None else min(period.until_day, period.today)
    since = until - DEFAULT_DAYS if period.since_day is None else period.since_day
    if since >= until:
        raise UsageError("there is no whole day between --since and --until: today is not over yet (UTC)")
    base_url = base_url if asked.base_url is None else asked.base_url
    return asyncio.run(pull(base_url, key, key_env, since, until, by_key=bool(asked.mapping.keys)))


def run(ledger: Ledger, settings: Settings, asked: Asked, invoice: Invoice) -> Report:
    scope, notes = _scope(ledger, settings, asked, invoice)
    book = load_book(settings.prices, settings.data_dir)
    keyed = _with_keys(invoice, asked.mapping) if scope.by_key else invoice
    report = reconcile(keyed, ledger, scope, book, settings.origins, asked.tolerance_nano_usd)
    return msgspec.structs.replace(report, notes=(*invoice.notes, *notes))


def _scope(ledger: Ledger, settings: Settings, asked: Asked, invoice: Invoice) -> tuple[Scope, list[str]]:
    assert invoice.days is not None, "read looked"
    notes = []
    first, last = invoice.days
    since = first if asked.period.since_day is None else asked.period.since_day
    until = last + 1 if asked.period.until_day is None else asked.period.until_day
    today = asked.period.today
    if until >= today and asked.file is None:
        until = today
        notes.append(f"{when.day(today)} is not over yet (UTC), and is left out")
    elif until > today:
        notes.append(f"{when.day(today)} is not over yet (UTC): calls may be missing on either side")
    if since >= until:
        raise UsageError("the export and --since, --until have no day in common: ask for days that the export covers")
    if since < first or until > last + 1:
        notes.append(f"the export covers {when.day(first)} to {when.day(last)}: other days are missing in it")
    by_key = bool(asked.mapping.keys) and all(line.key is not None for line in invoice.lines)
    if asked.mapping.keys and not by_key:
        notes.append("not every line names a key: all keys are compared together")
    by_model = any(line.model is not None or line.item is not None for line in invoice.lines) or not invoice.lines
    if not by_model:
        notes.append("the export names no models: whole days are compared")
    scope = Scope(
        since_day=since,
        until_day=until,
        upstreams=_upstreams(settings, asked, invoice),
        by_model=by_model,
        by_key=by_key,
    )
    ours = [place.name for place in sides(ledger, scope) if place.name is not None]
    theirs = [line.model for line in invoice.lines if line.model is not None]
    return msgspec.structs.replace(scope, names=same_names(ours, theirs)), notes


def _upstreams(settings: Settings, asked: Asked, invoice: Invoice) -> frozenset[str] | None:
    """Those that the map names, else those of the invoice's provider, else all."""
    for name in asked.mapping.upstreams:
        if name not in settings.upstreams:
            raise UsageError(f"--map: there is no upstream {name}; there are {', '.join(settings.upstreams)}")
    if asked.mapping.upstreams:
        return frozenset(asked.mapping.upstreams)
    if invoice.provider is None:
        return None
    return frozenset(name for name, upstream in settings.upstreams.items() if upstream.provider == invoice.provider)


def _with_keys(invoice: Invoice, mapping: InvoiceMap) -> Invoice:
    """With the ledger's name of each key; one that the map does not name keeps its own, and matches nothing."""
    lines = (
        line if line.key is None else msgspec.structs.replace(line, key=mapping.keys.get(line.key, line.key))
        for line in invoice.lines
    )
    return msgspec.structs.replace(invoice, lines=tuple(lines))


class Settled(msgspec.Struct, frozen=True):
    """What ``--settle`` wrote."""

    version: str
    calls: int


def settle(ledger: Ledger, report: Report) -> Settled | None:
    """Write down what the invoice says of calls that nobody saw the end of; ``None``: there are none."""
    costs = settled_costs(ledger, report)
    if not costs:
        return None
    since_ns, until_ns = (day * when.DAY_NS for day in (report.scope.since_day, report.scope.until_day))
    note = f"{report.invoice.source}, {len(costs)} calls settled"
    version = add_version(ledger, "reconcile", note, None, since_ns, until_ns, costs, select=True)
    return Settled(version.id, len(costs))
