"""How a reconciliation is printed: totals and a table of differences, or one JSON document with everything."""

from rich.table import Table

from submeter.commands import reading, tables
from submeter.commands.reconciling import Settled
from submeter.commands.tables import count, plain, plural, usd_exact
from submeter.core import when
from submeter.reconcile.explain import Finding, Report
from submeter.reconcile.lines import USAGE_FIELDS

WORDS = {
    "missing_here": "missing here",
    "missing_there": "missing there",
    "token_drift": "token drift",
    "price_drift": "price drift",
    "amount_drift": "amount drift",
    "within_bounds": "within bounds",
}


def write(report: Report, settled: Settled | None, *, as_json: bool) -> None:
    if as_json:
        reading.write_json(_document(report, settled))
    else:
        _print(report, settled)


def _document(report: Report, settled: Settled | None) -> dict[str, object]:
    matched, lines = report.lines
    return {
        "source": report.invoice.source,
        "provider": report.invoice.provider,
        "since": when.day(report.scope.since_day),
        "until": when.day(report.scope.until_day),
        "total": {**_total(report), "lines": lines, "matched_lines": matched},
        "settled": settled,
        "notes": report.notes,
        "differences": [_flat(finding) for finding in report.differences],
        "matched": [_flat(finding) for finding in report.findings if finding.group.kind == "matched"],
    }


def _total(report: Report) -> dict[str, int | None]:
    total, amount = report.total, report.amount_nano_usd
    return {
        "invoice_nano_usd": amount,
        "confirmed_nano_usd": total.confirmed_nano_usd,
        "estimated_nano_usd": total.estimated_nano_usd,
        "estimated_low_nano_usd": total.estimated_low_nano_usd,
        "estimated_high_nano_usd": total.estimated_high_nano_usd,
        "indeterminate_low_nano_usd": total.indeterminate_low_nano_usd,
        "indeterminate_high_nano_usd": total.indeterminate_high_nano_usd,
        "difference_nano_usd": None if amount is None else amount - total.cost_nano_usd,
    }


def _flat(finding: Finding) -> dict[str, object]:
    group, cause = finding.group, finding.cause
    return {
        "day": when.day(group.place.day),
        "model": group.place.name,
        "key": group.place.key,
        "kind": group.kind,
        "cause": None if cause is None else cause.code,
        "text": None if cause is None else cause.text,
        "rows": [line.row for line in group.lines],
        "invoice_nano_usd": group.amount_nano_usd,
        "ledger_nano_usd": group.side.cost_nano_usd,
        "ledger_low_nano_usd": group.side.low_nano_usd,
        "ledger_high_nano_usd": group.side.high_nano_usd,
        "difference_nano_usd": group.difference_nano_usd,
        "invoice_requests": group.requests,
        "ledger_calls": group.side.metered_calls,
        "invoice_tokens": {name: getattr(group.usage, name) for name in USAGE_FIELDS},
        "ledger_tokens": {name: getattr(group.side, name) for name in USAGE_FIELDS},
        "token_difference": {name: getattr(group.usage_difference, name) for name in USAGE_FIELDS},
    }


def _print(report: Report, settled: Settled | None) -> None:
    console = tables.make_console()
    console.print(plain(f"{report.invoice.source}, {_period(report)}"))
    console.print(_totals(report))
    for note in report.notes:
        console.print(plain(f"note: {note}"))
    if settled is not None:
        what = plural(settled.calls, "call")
        console.print(plain(f"{what} settled in version {settled.version}; undo: submeter reprice --select original"))
    if report.differences:
        console.print(_differences(report.differences))


def _period(report: Report) -> str:
    return f"{when.day(report.scope.since_day)} to {when.day(report.scope.until_day - 1)} (UTC)"


def _totals(report: Report) -> Table:
    total, figures = report.total, _total(report)
    amount, difference = figures["invoice_nano_usd"], figures["difference_nano_usd"]
    matched, lines = report.lines
    grid = Table.grid(padding=(0, 2))
    grid.add_row("invoice", "no amounts" if amount is None else usd_exact(amount))
    grid.add_row("ledger", f"{usd_exact(total.confirmed_nano_usd)} confirmed, {plural(total.metered_calls, 'call')}")
    if total.estimated_calls:
        low, high = usd_exact(total.estimated_low_nano_usd), usd_exact(total.estimated_high_nano_usd)
        grid.add_row("", f"{usd_exact(total.estimated_nano_usd)} estimated, between {low} and {high}")
    if total.indeterminate_calls:
        low, high = usd_exact(total.indeterminate_low_nano_usd), usd_exact(total.indeterminate_high_nano_usd)
        grid.add_row("", f"indeterminate between {low} and {high}, {plural(total.indeterminate_calls, 'call')}")
    grid.add_row("difference", tables.MISSING if difference is None else _signed(difference))
    grid.add_row("matched", f"{_percent(matched, lines)} of {plural(lines, 'line')} of the invoice")
    return grid


def _percent(matched: int, lines: int) -> str:
    """100 % only where it is all of them."""
    return f"{1000 * matched // lines / 10:g} %" if lines else "nothing"


def _differences(findings: list[Finding]) -> Table:
    table = tables.make_table(
        plural(len(findings), "difference"),
        ["day", "model", "what"],
        ["invoice", "ledger", "difference"],
        ["day", "what"],
    )
    table.add_column("likely cause", overflow="fold")
    for finding in findings:
        group, cause = finding.group, finding.cause
        name = group.place.name
        if group.place.key is not None:
            name = f"{tables.MISSING if name is None else name}, key {group.place.key}"
        table.add_row(
            when.day(group.place.day),
            plain(name),
            WORDS[group.kind],
            tables.MISSING if group.amount_nano_usd is None else usd_exact(group.amount_nano_usd),
            usd_exact(group.side.cost_nano_usd),
            _difference(finding),
            plain("" if cause is None else cause.text),
        )
    return table


def _difference(finding: Finding) -> str:
    group = finding.group
    if group.difference_nano_usd is not None:
        return _signed(group.difference_nano_usd)
    drift = group.usage_difference
    return f"{count(drift.input_tokens)} in, {count(drift.output_tokens)} out"


def _signed(nano_usd: int) -> str:
    sign = "-" if nano_usd < 0 else "+" if nano_usd else ""
    return f"{sign}{usd_exact(abs(nano_usd))}"
