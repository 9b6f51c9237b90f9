"""``submeter latency``: how soon the first token came, how fast the rest, how long it all took."""

from typing import Annotated

import typer

from submeter.commands.options import DataDir, Json, LedgerUrl, Since, Until


def latency(
    by: Annotated[
        str,
        typer.Option(
            metavar="KEYS",
            help="Group by these, comma-separated: model, team, app, prompt, prompt_version, endpoint, upstream, "
            "stream, day, hour, class, …",
        ),
    ] = "model",
    since: Since = "7d",
    until: Until = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Also a plain least-squares fit of end to end on token counts.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
) -> None:
    """Exact percentiles (p50, p95, p99) of the calls that went upstream and ended well; cache hits are left out.

    TTFT: request complete to the first token. TPOT: (end to end - TTFT) / (output tokens - 1), streamed calls.
    Overhead: what submeter itself added.
    """
    # Imported here, as in every command: see the package's docstring.
    from submeter.commands import latency_output, reading
    from submeter.store import queries

    asked = reading.parse_question(by, since, until)
    with reading.open_ledger(data_dir, ledger) as opened:
        lines = queries.latency_by(opened, asked.keys, asked.since_ns, asked.until_ns, with_fit=fit)
        if as_json:
            latency_output.write_json(asked, lines, with_fit=fit)
        else:
            latency_output.print_tables(asked, lines, with_fit=fit)
