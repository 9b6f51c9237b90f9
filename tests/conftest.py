"""Shared fixtures. Under CI nothing may skip: what a test needs is installed by the repository's own files."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harness.postgres import Postgres
from harness.processes import Provider, Unit

# No timing assertions: a loaded machine is no fault of the code. CI tries the same examples each time.
settings.register_profile(
    "submeter",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
    database=None,
)
settings.load_profile("submeter")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped under CI, where nothing may skip: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests that want one."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A database of the test's own, empty."""
    database = postgres.create()
    yield postgres.url(database)
    postgres.drop(database)


@pytest.fixture(scope="module")
def module_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unit")


@pytest.fixture(scope="module")
def provider(module_dir: Path) -> Iterator[Provider]:
    """A scripted provider whose equal requests get equal bytes."""
    provider = Provider(module_dir, {"fixed_ids": 1})
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def unit(module_dir: Path, provider: Provider) -> Iterator[Unit]:
    """One unit for a module's tests."""
    unit = Unit(module_dir, provider)
    yield unit
    unit.close()
