"""How ``submeter reprice`` is printed: what changes by model and team, and the versions there are."""

import msgspec

from submeter.commands import reading, tables
from submeter.commands.repricing import Change, Changes
from submeter.commands.tables import count, plain, plural, usd, usd_exact
from submeter.core import when
from submeter.store.versions import Version


def write_changes(changes: Changes, version: Version | None, snapshot_id: str, *, as_json: bool) -> None:
    """``version`` None: nothing was written."""
    if as_json:
        reading.write_json(
            {
                "version": None if version is None else version.id,
                "price_snapshot": snapshot_id,
                "lines": [_as_json(line) for line in changes.by_size()],
                "total": _as_json(changes.total()),
            }
        )
        return
    console = tables.make_console()
    table = tables.make_table(
        f"at the prices of {snapshot_id}",
        ["model", "team"],
        ["calls", "changed", "before", "after", "difference", "unpriced"],
    )
    for line in changes.by_size():
        table.add_row(plain(line.model), plain(line.team), *_cells(line))
    total = changes.total()
    table.add_row("all", "", *_cells(total), style="bold")
    console.print(table)
    console.print(
        f"{usd_exact(total.before_nano_usd)} → {usd_exact(total.after_nano_usd)}, "
        f"{plural(total.changed, 'call')} of {total.calls:,} changed"
    )
    if version is None:
        console.print("nothing was written (--dry-run)")
    else:
        console.print(f"written as {version.id}, which is selected now; the original rows are as they were")
        console.print("undo: submeter reprice --select original; all versions: submeter reprice --list")


def _cells(line: Change) -> list[str]:
    difference = line.after_nano_usd - line.before_nano_usd
    sign = "+" if difference > 0 else "−" if difference < 0 else ""
    share = f" ({difference / line.before_nano_usd:+.1%})" if line.before_nano_usd and difference else ""
    unpriced = count(line.unpriced_after)
    if line.unpriced_before != line.unpriced_after:
        unpriced = f"{line.unpriced_before:,} → {line.unpriced_after:,}"
    return [
        count(line.calls),
        count(line.changed),
        usd(line.before_nano_usd),
        usd(line.after_nano_usd),
        f"{sign}{usd(abs(difference))}{share}",
        unpriced,
    ]


def _as_json(line: Change) -> dict[str, object]:
    return {**msgspec.structs.asdict(line), "difference_nano_usd": line.after_nano_usd - line.before_nano_usd}


def write_versions(versions: list[Version], *, as_json: bool) -> None:
    selected = next((version.id for version in versions if version.selected), "original")
    if as_json:
        reading.write_json({"selected": selected, "versions": versions})
        return
    table = tables.make_table(
        "versions of what calls cost",
        ["", "version", "made by", "at", "prices", "calls begun", "note"],
        ["calls"],
        ["version", "at", "calls begun"],
    )
    table.add_row(_mark(selected == "original"), "original", "the meter", "", "", "", "", "")
    for version in versions:
        table.add_row(
            _mark(version.selected),
            plain(version.id),
            version.kind,
            when.rfc3339(version.created_at_ns)[:19],
            plain(version.price_snapshot),
            _span(version),
            plain(version.note),
            count(version.calls),
        )
    tables.make_console().print(table)


def _mark(selected: bool) -> str:
    return "→" if selected else ""


def _span(version: Version) -> str:
    first, last = (None if at is None else when.rfc3339(at)[:16] for at in (version.since_ns, version.until_ns))
    return f"{first or 'always'} to {last or 'the end'}"
