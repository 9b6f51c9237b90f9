"""``submeter dashboards``: Grafana's boards and Prometheus' rules as files, checked against these, into a Grafana."""

from pathlib import Path
from typing import Annotated

import typer

from submeter.commands.options import Json

app = typer.Typer(help="Grafana boards and Prometheus rules: write, check, push them.", no_args_is_help=True)


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Made if it is not there.")] = Path("dashboards"),
) -> None:
    """Write boards and rules as files: grafana/*.json and prometheus/*.yml, the same bytes each time.

    Only files that change are written, and named.
    """
    from submeter.commands import dashboards_files

    changed = dashboards_files.write(out, dashboards_files.products())
    from submeter.commands import dashboards_output

    dashboards_output.say_written(out, changed)


@app.command()
def check(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="What was built before.")] = Path(
        "dashboards"
    ),
) -> int:
    """Compare the files with what would be built now, and let promtool check the rules if it is installed.

    Exit code 1 if anything differs or promtool finds something.
    """
    from submeter.commands import dashboards_files

    products = dashboards_files.products()
    findings = dashboards_files.compare(directory, products)
    checked = dashboards_files.check_rules(directory, products)
    from submeter.commands import dashboards_output

    return dashboards_output.say_checked(directory, findings, checked, len(products))


@app.command()
def push(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Grafana's address, with its sub-path if any.")],
    folder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The folder's title: Submeter, or the one it has.", show_default=False),
    ] = None,
    prometheus_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Make a data source of it; as Grafana reaches it.", show_default=False),
    ] = None,
    postgres_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Make a data source of the ledger: postgresql://USER@HOST/DATABASE?sslmode=require, as Grafana "
            "reaches it; the password from GRAFANA_POSTGRES_PASSWORD.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and write nothing; exit code 1 if anything.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take over boards of our uids that others made; send passwords again.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Give a Grafana the boards, in a folder of their own, and data sources if asked to. Writes only what differs.

    The token of a service account comes from GRAFANA_TOKEN: role Editor, with data sources Admin.
    """
    from submeter.commands import dashboards_files

    products = dashboards_files.products()
    # Below here Grafana's packages, an extra, are known to be installed.
    from submeter.commands import dashboards_output, dashboards_pushing

    asked = dashboards_pushing.Asked(url, folder, prometheus_url, postgres_url, dry_run, force)
    changes = dashboards_pushing.push(asked, products)
    return dashboards_output.say_pushed(asked, changes, as_json=as_json)
