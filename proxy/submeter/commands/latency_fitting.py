"""``submeter latency --fit``, from its options to what it prints."""

import time
from collections.abc import Set
from pathlib import Path

from submeter.commands import reading
from submeter.core.week import Week
from submeter.errors import UsageError

OF_FIT = ("week", "model")
OF_PERCENTILES = ("by", "since", "until")


def check_options(*, fit: bool, given: Set[str]) -> None:
    """No option is passed over in silence. Raises ``UsageError``."""
    for name in OF_PERCENTILES if fit else OF_FIT:
        if name in given:
            raise UsageError(f"--{name} is {'not ' if fit else ''}an option of --fit: {_instead(fit=fit)}")


def _instead(*, fit: bool) -> str:
    return "it takes --week and --model" if fit else "add --fit, or use --by, --since and --until"


def run(week: str | None, model: str | None, data_dir: Path | None, ledger: str | None, *, as_json: bool) -> bool:
    """Print the week; whether something has regressed in it. Raises ``UsageError``."""
    # Imported here: numpy takes a moment to load, and only --fit needs it.
    from submeter.commands import latency_fit_output
    from submeter.loadtest import production

    try:
        asked = None if week is None else Week.parse(week)
    except ValueError as error:
        raise UsageError(f"--week: {error}") from None
    with reading.open_ledger(data_dir, ledger) as opened:
        report = production.analyse(opened, time.time_ns(), asked, model)
    if as_json:
        latency_fit_output.write_json(report)
    else:
        latency_fit_output.print_tables(report)
    return report.regressed
