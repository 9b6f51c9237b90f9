"""One stack for all tests here: real Redis, Postgres and Prometheus, and traffic that has come to rest."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from harness.stack import Stack
from harness.stack.boards import Shown

TRAFFIC_S = 40.0
"""`make stack` lets it run for two minutes."""


class Driven(NamedTuple):
    stack: Stack
    shown: Shown


@pytest.fixture(scope="package")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        begin_s = int(time.time())
        stack.drive(TRAFFIC_S)
        stack.settle()
        yield Driven(stack, Shown(begin_s, int(time.time()), interval_s=15))
