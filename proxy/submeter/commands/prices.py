"""``submeter prices``: what a token costs, why, since when, and where that was read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from submeter.commands.options import Config, DataDir, Json

if TYPE_CHECKING:
    from datetime import date

    from submeter.config import Settings
    from submeter.core.pricebook import Match, PriceBook
    from submeter.prices.importer import Compiled
    from submeter.prices.snapshot import Origin

Provider = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only this provider, such as openai.", show_default=False)
]

app = typer.Typer(
    help="What a token costs, why, and where that was read. Prices are USD per million tokens.", no_args_is_help=True
)


@app.command("list")
def list_prices(
    provider: Provider = None, as_json: Json = False, data_dir: DataDir = None, config: Config = None
) -> None:
    """Every price in force: your own first, then the snapshot's."""
    from submeter.commands import prices_output as output
    from submeter.prices.history import in_force

    _, book = _load(config, data_dir)
    entries = [entry for entry in (*book.overlay, *in_force(book.snapshot)) if provider in (None, entry.provider)]
    if as_json:
        output.write_json({"snapshot": book.snapshot_id, "entries": entries})
    else:
        output.print_list(entries, book.snapshot_id)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="As a request or an answer names it.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="The price of then: a day or a time (UTC).", show_default=False),
    ] = None,
    provider: Provider = None,
    region: Annotated[
        str | None, typer.Option(metavar="NAME", help="Served there, such as eu or us.", show_default=False)
    ] = None,
    tier: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this service tier, such as batch.", show_default=False)
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option(metavar="ID", help="In an earlier snapshot: its id, or shipped.", show_default=False)
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """One model's price: every class, tier and context size, its source, and the rule that found it."""
    from submeter.commands import prices_output as output
    from submeter.core.pricebook import tier_name

    settings, book = _load(config, data_dir, snapshot)
    at_ns, wanted = _parse_time(at), None if tier is None else tier_name(tier)
    matches = _matches(settings, book, model, provider, at_ns, region)
    _require_tier(model, matches, wanted)
    if as_json:
        found = [
            {"rule": match.text, "explained": output.explain(model, match), "entry": match.entry} for match in matches
        ]
        output.write_json({"model": model, "at_ns": at_ns, "snapshot": book.snapshot_id, "matches": found})
        return
    for match in matches:
        output.print_match(model, match, book.snapshot_id, wanted)


@app.command()
def check(
    every: Annotated[bool, typer.Option("--all", help="Every provider, not only those of your upstreams.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Look for prices that cannot be right, and for old ones. Exit code 1 if something was found."""
    from datetime import UTC, datetime

    from submeter.commands import prices_output as output
    from submeter.prices import nonsense
    from submeter.prices.history import in_force
    from submeter.prices.load import current_snapshot, previous_snapshot

    settings, book = _load(config, data_dir)
    providers = {upstream.provider for upstream in settings.upstreams.values()}
    entries = [entry for entry in in_force(book.snapshot) if every or entry.provider in providers]
    findings = nonsense.check(
        current_snapshot(settings.data_dir),
        entries,
        datetime.now(UTC),
        overlay=book.overlay,
        previous=previous_snapshot(settings.data_dir),
    )
    if as_json:
        output.write_json({"snapshot": book.snapshot_id, "checked": len(entries), "findings": findings})
    else:
        output.print_findings(findings, len(entries), book.snapshot_id)
    if findings:
        raise typer.Exit(1)


@app.command("import")
def import_prices(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|URL]", help="litellm's price map; without it, the installed litellm wheel's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    effective: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="First day (UTC) of the prices that changed.", show_default="today"),
    ] = None,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Forget earlier prices: these hold for all time.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write here instead of the data directory.", show_default=False),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Compile a new snapshot and show what it changes, before anything is written.

    Calls from before keep the prices of then: a price that changed ends the day before, and the snapshot in force until
    now is kept in prices/archive of the data directory. With --json nothing is asked: it is written only with --yes.
    """
    from submeter.commands import prices_output
    from submeter.config import load_settings
    from submeter.prices.history import continue_history
    from submeter.prices.load import archive_snapshot, current_snapshot, save_snapshot, snapshot_path
    from submeter.prices.review import compare
    from submeter.prices.snapshot import build_snapshot

    settings = load_settings(config, data_dir=data_dir)
    target = snapshot_path(settings.data_dir) if output is None else output
    first_day = _parse_day(effective)
    raw, origin, compiled = _compile(source)
    before = current_snapshot(settings.data_dir)
    entries = compiled.entries if no_history else continue_history(before.entries, compiled.entries, first_day)
    after = build_snapshot(entries, origin, raw)
    diff = compare(before.entries, after.entries)
    if as_json:
        document = prices_output.diff_json(compiled, before, after, diff)
        prices_output.write_json({**document, "written": str(target) if yes else None})
    else:
        prices_output.print_diff(compiled, before, after, diff)
    if not yes and (as_json or not typer.confirm(f"Write {target}?", err=True)):
        return
    if output is None:
        archive_snapshot(before, settings.data_dir)
    save_snapshot(after, target)


def _load(config: Path | None, data_dir: Path | None, snapshot: str | None = None) -> "tuple[Settings, PriceBook]":
    # Imported here, as in every command: see the package's docstring.
    from submeter.config import load_settings
    from submeter.prices import load_book

    settings = load_settings(config, data_dir=data_dir)
    return settings, load_book(settings.prices, settings.data_dir, snapshot)


def _matches(
    settings: "Settings", book: "PriceBook", model: str, provider: str | None, at_ns: int, region: str | None
) -> "list[Match]":
    """At the provider asked for, else at those of the upstreams, else wherever the model is known."""
    from submeter.errors import UsageError

    upstreams = [upstream.provider for upstream in settings.upstreams.values()]
    everywhere = sorted({entry.provider for entry in book.snapshot if entry.provider is not None})
    for group in ([provider],) if provider is not None else (upstreams, everywhere):
        found = [match for name in group if (match := book.match(model, name, at_ns, region)) is not None]
        if found:
            return list({(match.entry.provider, match.entry.model, match.text): match for match in found}.values())
    place = "" if provider is None else f" of {provider}"
    raise UsageError(
        f"there is no price for {model}{place}: calls of it are unpriced; add it under prices: in submeter.yaml"
    )


def _require_tier(model: str, matches: "list[Match]", tier: str | None) -> None:
    from submeter.errors import UsageError

    known = sorted({name for match in matches for name in match.entry.tiers})
    if tier is not None and tier not in known:
        raise UsageError(
            f"{model} has no price in the tier {tier}: calls in it are unpriced; it has {', '.join(known)}"
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


def _parse_day(text: str | None) -> "date":
    """Today, in UTC, if nothing is given."""
    from datetime import UTC, date, datetime

    from submeter.errors import UsageError

    try:
        return datetime.now(UTC).date() if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise UsageError("--effective takes a day, such as 2026-11-20") from error


def _compile(source: str | None) -> "tuple[bytes, Origin, Compiled]":
    from rich.console import Console

    from submeter.prices.importer import compile_map
    from submeter.prices.sources import read_source

    with Console(stderr=True).status("reading prices …"):
        raw, origin = read_source(source)
        return raw, origin, compile_map(raw, origin.imported_on)
