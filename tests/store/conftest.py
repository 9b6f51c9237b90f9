"""One ledger per engine: every test that takes ``ledger`` or ``ledger_url`` runs on each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from submeter.store.ledger import Ledger

ENGINES = ["sqlite", "postgresql"]

only_sqlite = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
"""For tests of what a file is and a server is not."""
only_postgres = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)


@pytest.fixture(params=ENGINES)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of the engine."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/data/ledger.sqlite3"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger.open(ledger_url) as opened:
        opened.migrate()
        yield opened
