"""The oracles' counts stand at the end of a test run, whether it passes or not."""

import pytest

from oracles.comparison import RESULTS, summary


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for result in config.stash.get(RESULTS, []):
        for line in summary(result):
            if not line.startswith("  ") or config.option.verbose > 0:
                terminalreporter.write_line(f"price oracle {line}")
