"""From options and environment to a push."""

import json
import os
from collections.abc import Iterator
from typing import NamedTuple

from submeter.commands.dashboards_files import Products
from submeter.dashboards import push as pushing
from submeter.dashboards.grafana import Json, Target
from submeter.dashboards.sources import Source, postgres_source, prometheus_source


class Asked(NamedTuple):
    """The command line."""

    url: str
    folder: str | None
    prometheus_url: str | None
    postgres_url: str | None
    dry_run: bool
    force: bool


def push(asked: Asked, products: Products) -> list[pushing.Change]:
    sources = list(_sources(asked))
    return pushing.push(
        Target(asked.url.rstrip("/"), _secret("GRAFANA_TOKEN")),
        _boards(products),
        folder=asked.folder,
        sources=sources,
        dry_run=asked.dry_run,
        force=asked.force,
    )


def _boards(products: Products) -> list[Json]:
    return [json.loads(text) for path, text in products.items() if path.startswith("grafana/")]


def _sources(asked: Asked) -> Iterator[Source]:
    if asked.prometheus_url is not None:
        yield prometheus_source(asked.prometheus_url)
    if asked.postgres_url is not None:
        yield postgres_source(asked.postgres_url, _secret("GRAFANA_POSTGRES_PASSWORD"))


def _secret(name: str) -> str:
    """From the environment alone: what stands on a command line, others read in the list of processes."""
    return os.environ.get(name, "").strip()  # for one run, so no setting
