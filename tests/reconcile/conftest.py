"""One empty ledger per engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from submeter.store.ledger import Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    on_postgres = request.param == "postgresql"
    url = str(request.getfixturevalue("postgres_url")) if on_postgres else f"sqlite:///{tmp_path}/ledger.sqlite3"
    with Ledger.open(url) as opened:
        opened.migrate()
        yield opened
