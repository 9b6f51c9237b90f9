"""``submeter prices``: what a token costs, why, since when, and where that was read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from submeter.commands.options import DataDir, Json

if TYPE_CHECKING:
    from collections import Counter

    from rich.console import Console

    from submeter.config import Settings
    from submeter.core.pricebook import Match, PriceBook, PriceEntry
    from submeter.prices.importer import Compiled
    from submeter.prices.review import Diff
    from submeter.prices.snapshot import Snapshot

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Instead of ./submeter.yaml.", show_default=False)
]
Provider = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only this provider, such as openai.", show_default=False)
]
SHOWN_CHANGES = 20

RULES = {
    "overlay": "your own prices: the entry of this very name",
    "overlay glob": "your own prices: the glob {name}",
    "exact": "the snapshot's entry of this very name",
    "undated": "the snapshot has no {model}; without the trailing date it is {name}",
    "latest": "the snapshot has no {model}; without -latest it is {name}",
    "fine-tune": "a fine-tune costs what {name} costs",
}

app = typer.Typer(
    help="What a token costs, why, and where that was read. Prices are USD per million tokens.", no_args_is_help=True
)


@app.command("list")
def list_prices(
    provider: Provider = None, as_json: Json = False, data_dir: DataDir = None, config: Config = None
) -> None:
    """Every price in force: your own first, then the snapshot's."""
    from submeter.commands.tables import make_console, make_table, plain

    _, book = _load(config, data_dir)
    entries = [entry for entry in (*book.overlay, *book.snapshot) if provider in (None, entry.provider)]
    if as_json:
        _write_json({"snapshot": book.snapshot_id, "entries": entries})
        return
    table = make_table(
        f"{len(entries):,} prices of {book.snapshot_id}",
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


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="As a request or an answer names it.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="The price of then: a day or a time (UTC).", show_default=False),
    ] = None,
    provider: Provider = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """One model's price: every class, tier and context size, its source, and the rule that found it."""
    from submeter.commands.tables import make_console

    settings, book = _load(config, data_dir)
    at_ns = _parse_time(at)
    matches = _matches(settings, book, model, provider, at_ns)
    if as_json:
        found = [{"rule": match.rule, "explained": _explain(model, match), "entry": match.entry} for match in matches]
        _write_json({"model": model, "at_ns": at_ns, "snapshot": book.snapshot_id, "matches": found})
        return
    for match in matches:
        _print_match(make_console(), model, match, book.snapshot_id)


@app.command()
def check(
    every: Annotated[bool, typer.Option("--all", help="Every provider, not only those of your upstreams.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Look for prices that cannot be right, and for old ones. Exit code 1 if something was found."""
    from datetime import UTC, datetime

    from submeter.commands.tables import make_console, make_table, plain
    from submeter.prices.load import current_snapshot
    from submeter.prices.review import check as find_nonsense

    settings, book = _load(config, data_dir)
    providers = {upstream.provider for upstream in settings.upstreams.values()}
    entries = [entry for entry in book.snapshot if every or entry.provider in providers]
    snapshot = current_snapshot(settings.data_dir)
    findings = find_nonsense(snapshot, [*book.overlay, *entries], datetime.now(UTC))
    if as_json:
        _write_json({"snapshot": book.snapshot_id, "checked": len(entries), "findings": findings})
    else:
        table = make_table(f"{len(findings)} findings in {len(entries):,} prices", ["kind", "of", "what"], [])
        for finding in findings:
            table.add_row(finding.kind, plain(finding.subject), plain(finding.text))
        make_console().print(table if findings else f"{len(entries):,} prices of {book.snapshot_id}: nothing found")
    if findings:
        raise typer.Exit(1)


@app.command("import")
def import_prices(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|URL]", help="litellm's price map; without it, the installed litellm wheel's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write here instead of the data directory.", show_default=False),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Compile a new snapshot and show what it changes, before anything is written.

    With --json nothing is asked: it is written only with --yes.
    """
    from submeter.config import load_settings
    from submeter.prices.load import current_snapshot, save_snapshot, snapshot_path
    from submeter.prices.review import compare

    settings = load_settings(config, data_dir=data_dir)
    target = snapshot_path(settings.data_dir) if output is None else output
    compiled, after = _compile(source)
    before = current_snapshot(settings.data_dir)
    diff = compare(before.entries, after.entries)
    if as_json:
        _write_json({**_diff_json(compiled, before, after, diff), "written": str(target) if yes else None})
    else:
        _print_diff(compiled, before, after, diff)
    if not yes and (as_json or not typer.confirm(f"Write {target}?", err=True)):
        return
    save_snapshot(after, target)


def _load(config: Path | None, data_dir: Path | None) -> "tuple[Settings, PriceBook]":
    # Imported here, as in every command: see the package's docstring.
    from submeter.config import load_settings
    from submeter.prices import load_book

    settings = load_settings(config, data_dir=data_dir)
    return settings, load_book(settings.prices, settings.data_dir)


def _matches(settings: "Settings", book: "PriceBook", model: str, provider: str | None, at_ns: int) -> "list[Match]":
    """At the provider asked for, else at those of the upstreams, else wherever the model is known."""
    from submeter.errors import UsageError

    upstreams = [upstream.provider for upstream in settings.upstreams.values()]
    everywhere = sorted({entry.provider for entry in book.snapshot if entry.provider is not None})
    for group in ([provider],) if provider is not None else (upstreams, everywhere):
        found = [match for name in group if (match := book.match(model, name, at_ns)) is not None]
        if found:
            return list({id(match.entry): match for match in found}.values())
    place = "" if provider is None else f" of {provider}"
    raise UsageError(
        f"there is no price for {model}{place}: calls of it are unpriced; add it under prices: in submeter.yaml"
    )


def _parse_time(text: str | None) -> int:
    """Unix nanoseconds; now if nothing is given."""
    import time

    from submeter.core.when import parse_moment
    from submeter.errors import UsageError

    try:
        return time.time_ns() if text is None else parse_moment(text)
    except ValueError as error:
        raise UsageError("--at takes a day or a time, such as 2026-11-20 or 2026-11-20T08:30:00Z") from error


def _base_prices(entry: "PriceEntry") -> dict[str, str]:
    from submeter.core.pricebook import STANDARD

    brackets = entry.tiers.get(STANDARD, ())
    return {name: f"{price:f}" for name, price in brackets[0].usd_per_million.items()} if brackets else {}


def _explain(model: str, match: "Match") -> str:
    return RULES[match.rule].format(model=model, name=match.entry.model)


def _print_match(console: "Console", model: str, match: "Match", snapshot_id: str) -> None:
    from submeter.commands.tables import make_table, plain
    from submeter.core.record import TOKEN_CLASSES

    entry = match.entry
    columns = [(tier, above, rates) for tier, card in entry.rate_cards.items() for above, rates in reversed(card)]
    heads = [f"{tier} >{above:,}" if above else tier for tier, above, _ in columns]
    table = make_table(f"{entry.provider or 'your own'}: {entry.model}", ["USD per million tokens"], heads)
    for place, name in enumerate(TOKEN_CLASSES):
        rates = [rates[place] for _, _, rates in columns]
        if any(rate is not None for rate in rates):
            table.add_row(name, *(plain(None if rate is None else f"{rate / 1000:f}") for rate in rates))
    console.print(table)
    console.print(plain(f"found by  {_explain(model, match)}"))
    console.print(plain(f"source    {entry.source or 'the price map itself'}; {snapshot_id}"))
    console.print(plain(f"valid     {entry.valid_from or 'always'} to {entry.valid_until or 'further notice'}"))
    console.print(plain(f"limits    input {entry.max_input_tokens}, output {entry.max_output_tokens} tokens"))


def _compile(source: str | None) -> "tuple[Compiled, Snapshot]":
    from rich.console import Console

    from submeter.prices.importer import compile_map
    from submeter.prices.snapshot import build_snapshot
    from submeter.prices.sources import read_source

    with Console(stderr=True).status("reading prices …"):
        raw, origin = read_source(source)
        compiled = compile_map(raw)
        return compiled, build_snapshot(compiled.entries, origin, raw)


def _diff_json(compiled: "Compiled", before: "Snapshot", after: "Snapshot", diff: "Diff") -> dict[str, object]:
    from submeter.prices.review import describe_change

    return {
        "before": before.id,
        "after": after.id,
        "entries": len(after.entries),
        "added": [_name(entry) for entry in diff.added],
        "removed": [_name(entry) for entry in diff.removed],
        "changed": [{"model": _name(new), "what": describe_change(old, new)} for old, new in diff.changed],
        "left_out": dict(compiled.left_out),
        "not_understood": dict(compiled.not_understood),
    }


def _print_diff(compiled: "Compiled", before: "Snapshot", after: "Snapshot", diff: "Diff") -> None:
    from submeter.commands.tables import make_console, make_table, plain
    from submeter.prices.review import describe_change

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
            table.add_row(kind, plain(_name(entry)), plain(what))
        console.print(table)
    console.print(plain(f"{before.id} → {after.id}: {len(after.entries):,} entries"))
    counts = (len(diff.added), len(diff.removed), len(diff.changed))
    console.print("{:,} added, {:,} removed, {:,} changed".format(*counts))


def _counts(what: str, counts: "Counter[str]") -> str:
    parts = ", ".join(f"{name} ({number:,})" for name, number in counts.most_common())
    return f"{what}: {parts or 'nothing'}"


def _name(entry: "PriceEntry") -> str:
    return f"{entry.provider or 'your own'} {entry.model}"


def _write_json(document: object) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
