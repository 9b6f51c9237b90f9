"""The bar of a load test, on stderr: calls, time and dollars."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from submeter.commands import tables
from submeter.loadtest.run import Progress


@contextmanager
def bar(total: int) -> Iterator[Progress]:
    """``total``: calls."""
    columns = (
        TextColumn("calls"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[usd]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("calls", total=total, usd="")

        def show(calls: int, nano_usd: int | None) -> None:
            shown.update(task, completed=calls, usd=tables.usd(nano_usd))

        yield show
