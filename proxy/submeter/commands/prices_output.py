"""How ``submeter prices`` shows a price, a diff and where a price is from."""

from collections import Counter
from collections.abc import Iterator

import msgspec
import typer

from submeter.commands.tables import make_console, make_table, plain
from submeter.core.pricebook import STANDARD, Bracket, Match, OffPeak, PriceEntry
from submeter.core.record import TOKEN_CLASSES
from submeter.prices.importer import Compiled
from submeter.prices.nonsense import Finding
from submeter.prices.review import Diff, describe_change
from submeter.prices.snapshot import Snapshot

SHOWN_CHANGES = 20
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

RULES = {
    "overlay": "your own prices: the entry of this very name",
    "overlay glob": "your own prices: the glob {name}",
    "exact": "the snapshot's entry of this very name",
    "undated": "the snapshot has no {model}; without the trailing date it is {name}",
    "latest": "the snapshot has no {model}; without -latest it is {name}",
    "listed name": "the snapshot has no {model}; without models/ it is {name}",
    "version": "the snapshot has no {model}; without the version it is {name}",
    "fine-tune": "a fine-tune costs what {name} costs",
}


def explain(model: str, match: Match) -> str:
    """How the entry was found, and what was applied to its prices."""
    rule = RULES.get(match.rule, f"the rule {match.rule}, as {{name}}").format(model=model, name=match.entry.model)
    return ", ".join((rule, *match.applied))


def write_json(document: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


def name_of(entry: PriceEntry) -> str:
    return f"{entry.provider or 'your own'} {entry.model}"


def print_list(entries: list[PriceEntry], snapshot_id: str) -> None:
    table = make_table(
        f"{len(entries):,} prices of {snapshot_id}",
        ["provider", "model"],
        ["input", "cached", "output", "max input", "max output"],
    )
    for entry in entries:
        prices = _base_prices(entry)
        figures = [prices.get(name) for name in ("input_uncached", "cached_read", "output_text")]
        table.add_row(
            plain(entry.provider or "your own"),
            plain(entry.model),
            *map(plain, [*figures, entry.max_input_tokens, entry.max_output_tokens]),
        )
    make_console().print(table)


def _base_prices(entry: PriceEntry) -> dict[str, str]:
    brackets = entry.tiers.get(STANDARD, ())
    return {name: f"{price:f}" for name, price in brackets[0].usd_per_million.items()} if brackets else {}


def print_match(model: str, match: Match, snapshot_id: str, tier: str | None) -> None:
    """Every price of the entry, or of one tier, and where it is from."""
    console, entry = make_console(), match.entry
    cards = {name: card for name, card in entry.rate_cards.items() if tier in (None, name)}
    columns = [(name, above, rates) for name, card in cards.items() for above, rates in reversed(card)]
    heads = [f"{name} >{above:,}" if above else name for name, above, _ in columns]
    table = make_table(f"{entry.provider or 'your own'}: {entry.model}", ["USD per million tokens"], heads)
    for place, name in enumerate(TOKEN_CLASSES):
        rates = [rates[place] for _, _, rates in columns]
        if any(rate is not None for rate in rates):
            table.add_row(name, *(plain(None if rate is None else f"{rate / 1000:f}") for rate in rates))
    console.print(table)
    for label, text in _facts(model, match, snapshot_id):
        console.print(plain(f"{label:<10}{text}"))


def _facts(model: str, match: Match, snapshot_id: str) -> Iterator[tuple[str, str]]:
    entry = match.entry
    yield "found by", explain(model, match)
    yield "source", f"{entry.source or 'the price map itself'}; {snapshot_id}"
    yield "checked", f"{entry.checked_on or 'day unknown'}"
    yield "valid", f"{entry.valid_from or 'always'} to {entry.valid_until or 'further notice'}"
    yield "limits", f"input {entry.max_input_tokens}, output {entry.max_output_tokens} tokens"
    if entry.fees:
        yield "fees", ", ".join(f"{fee:f} USD per {name.replace('_', ' ')}" for name, fee in entry.fees.items())
    if entry.regions:
        yield "regions", ", ".join(f"{name} × {factor:f}" for name, factor in entry.regions.items())
    if entry.off_peak is not None:
        yield "off-peak", _off_peak_text(entry.off_peak)


def _off_peak_text(off_peak: OffPeak) -> str:
    """``Mon–Fri 10:00–24:00 UTC …: input_uncached 0.15``."""
    windows = "; ".join(
        f"{' '.join(DAYS[day - 1] for day in days)} {start // 60:02}:{start % 60:02}–{end // 60:02}:{end % 60:02}"
        for days, start, end in map(msgspec.structs.astuple, off_peak.windows)
    )
    bracket = next(iter(off_peak.tiers.get(STANDARD, ())), Bracket(0, {}))
    prices = ", ".join(f"{name} {price:f}" for name, price in bracket.usd_per_million.items())
    return f"{windows} (UTC): {prices}"


def print_findings(findings: list[Finding], checked: int, snapshot_id: str) -> None:
    table = make_table(f"{len(findings)} findings in {checked:,} prices", ["kind", "of", "what"], [])
    for finding in findings:
        table.add_row(finding.kind, plain(finding.subject), plain(finding.text))
    make_console().print(table if findings else f"{checked:,} prices of {snapshot_id}: nothing found")


def diff_json(compiled: Compiled, before: Snapshot, after: Snapshot, diff: Diff) -> dict[str, object]:
    return {
        "before": before.id,
        "after": after.id,
        "entries": len(after.entries),
        "added": [name_of(entry) for entry in diff.added],
        "removed": [name_of(entry) for entry in diff.removed],
        "changed": [{"model": name_of(new), "what": describe_change(old, new)} for old, new in diff.changed],
        "left_out": dict(compiled.left_out),
        "not_understood": dict(compiled.not_understood),
    }


def print_diff(compiled: Compiled, before: Snapshot, after: Snapshot, diff: Diff) -> None:
    console = make_console()
    console.print(plain(_counts("left out of the map", compiled.left_out)))
    console.print(plain(_counts("price fields not understood", compiled.not_understood)))
    changes = [
        *(("changed", new, describe_change(old, new)) for old, new in diff.changed),
        *(("removed", entry, "") for entry in diff.removed),
        *(("added", entry, "") for entry in diff.added),
    ]
    if changes:
        title = f"the first {min(SHOWN_CHANGES, len(changes))} of {len(changes):,} changes"
        table = make_table(title, ["change", "model", "USD per million tokens"], [])
        for kind, entry, what in changes[:SHOWN_CHANGES]:
            table.add_row(kind, plain(name_of(entry)), plain(what))
        console.print(table)
    console.print(plain(f"{before.id} → {after.id}: {len(after.entries):,} entries"))
    counts = (len(diff.added), len(diff.removed), len(diff.changed))
    console.print("{:,} added, {:,} removed, {:,} changed".format(*counts))


def _counts(what: str, counts: Counter[str]) -> str:
    parts = ", ".join(f"{name} ({number:,})" for name, number in counts.most_common())
    return f"{what}: {parts or 'nothing'}"
