"""What a test of peers has brought, as ``peers.json`` and ``peers.csv`` have it."""

import csv
from collections.abc import Iterator, Sequence
from decimal import Decimal
from io import StringIO
from typing import Any

import msgspec

from submeter.core.when import rfc3339
from submeter.loadtest.peers import LEAST_ROUNDS, MEASURES, Added, added
from submeter.loadtest.peers_run import Answers, Asked

EDGES = ("value", "low", "high")
FIELDS = ("target", "setting", "measure", "rounds", *EDGES)


def result(
    asked: Asked, answers: Sequence[Answers], each: Sequence[dict[str, Any]], started_at_ns: int
) -> dict[str, Any]:
    """``each``: the targets' own ``result.json``. Durations in ms; ``None`` is "not known"."""
    base, *others = zip(asked.targets, answers, strict=True)
    settings = [setting.name for setting in asked.scenario.settings]
    costs = [document["cost_usd"] for document in each]
    return {
        "scenario": each[0]["scenario"],
        "description": asked.scenario.description,
        "model": asked.model,
        "base": base[0].name,
        "started_at": rfc3339(started_at_ns),
        "seed": asked.seed,
        "rounds": len(base[1].rounds),
        "failure": _failure(asked, each),
        "targets": [
            {"target": target.name, "url": target.base_url, **_counts(document)}
            for target, document in zip(asked.targets, each, strict=True)
        ],
        "added": [
            {"target": target.name, **_split(added(base[1].rounds, found.rounds, settings, seed=asked.seed))}
            for target, found in others
        ],
        "cost_usd": None if None in costs else format(sum(map(Decimal, costs)), "f"),
        "stopped": next(
            (stopped for stopped in (document["stopped"] for document in each) if stopped != "done"), "done"
        ),
        "warnings": list(_warnings(asked, answers, each)),
    }


def _counts(document: dict[str, Any]) -> dict[str, Any]:
    errors = sum(line["errors"] for line in document["settings"])
    return {"n": document["calls"], "errors": errors, "cost_usd": document["cost_usd"]}


def _failure(asked: Asked, each: Sequence[dict[str, Any]]) -> str | None:
    """Of the first target that was asked, or was to be, and has answered nothing."""
    for target, document in zip(asked.targets, each, strict=True):
        if document["failure"] is not None and (document["calls"] or document["stopped"] != "done"):
            return f"{target.name}: {document['failure']}"
    return None


def _split(lines: Sequence[Added]) -> dict[str, Any]:
    overall, *settings = (msgspec.to_builtins(line) for line in lines)
    del overall["setting"]
    return {**overall, "settings": settings}


def _warnings(asked: Asked, answers: Sequence[Answers], each: Sequence[dict[str, Any]]) -> Iterator[str]:
    complete = len(answers[0].rounds)
    if complete < asked.rounds:
        yield f"{complete} of {asked.rounds} rounds are whole; calls of others are in no difference"
    if complete < LEAST_ROUNDS:
        yield f"no differences: {LEAST_ROUNDS} whole rounds are needed"
    for target, document in zip(asked.targets, each, strict=True):
        yield from (f"{target.name}: {warning}" for warning in document["warnings"])


def as_csv(document: dict[str, Any]) -> str:
    """A line per target, setting (empty: all) and measure; missing is empty."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(FIELDS)
    for target in document["added"]:
        for line in ({**target, "setting": None}, *target["settings"]):
            for measure in MEASURES:
                edges = [None] * len(EDGES) if line[measure] is None else [line[measure][edge] for edge in EDGES]
                writer.writerow([target["target"], line["setting"], measure, line["rounds"], *edges])
    return text.getvalue()
