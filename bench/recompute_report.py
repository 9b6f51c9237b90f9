"""A week's buy and rent-open totals recomputed from the ledger, and held against a report, to the cent.

SQL and decimal arithmetic alone: nothing of submeter is imported, so that no mistake is shared with what is checked.
What is read is the SQLite ledger, the report's JSON, the price snapshot and, for rents, ``alternatives.yaml``.

    python bench/recompute_report.py ledger.sqlite3 report.json [--config alternatives.yaml] [--prices snapshot.json]

Exit code 1 where a total differs, or the report has one that cannot be had from these files. Hosts whose prices change
within the week are an error, and those of ``prices:`` in submeter.yaml are not read.
"""

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import yaml

SNAPSHOT = Path(__file__).parent.parent / "proxy/submeter/prices/snapshot.json"
CLASSES = (
    *("input_uncached", "cached_read", "cache_write", "cache_write_5m", "cache_write_30m", "cache_write_1h"),
    *("cache_write_12h", "input_audio", "input_image", "output_text", "reasoning", "output_audio", "cached_audio"),
    "output_image",
)
OUTPUTS = {"output_text", "reasoning", "output_audio", "output_image"}
EVERYDAY = {"input": "input_uncached", "cached_input": "cached_read", "output": "output_text"}
STANDARD = {None, "auto", "default", "on_demand", "standard"}
"""Names of the standard tier."""
CENT = Decimal("0.01")

ROWS = """
    SELECT CASE WHEN v.call_id IS NULL THEN c.cost_nano_usd ELSE v.cost_nano_usd END AS cost,
           coalesce(c.model_served, c.model_requested) AS model, c.*
    FROM calls c
    LEFT JOIN versioned_costs v ON v.call_id = c.call_id AND v.attempt = c.attempt
         AND v.version = (SELECT version FROM cost_versions WHERE selected)
    WHERE c.started_at_ns >= :since AND c.started_at_ns < :until AND c.cache IN ('miss', 'bypass')
"""


def main() -> int:
    arguments = _arguments()
    report = json.loads(arguments.report.read_text(), parse_float=Decimal)
    choices = yaml.safe_load(arguments.config.read_text())["workloads"] if arguments.config else []
    prices = json.loads(arguments.prices.read_text(), parse_float=Decimal)["entries"]
    with closing(sqlite3.connect(f"file:{arguments.ledger}?mode=ro", uri=True)) as ledger:
        wrong = list(_differences(Calls(ledger, report, choices), report, prices))
    for line in [*wrong, f"{report['week']}: {len(report['workloads'])} workloads, {len(wrong)} differences"]:
        print(line)  # noqa: T201
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--prices", type=Path, default=SNAPSHOT)
    return parser.parse_args()


class Calls:
    """The week's calls that went upstream, told apart into the report's workloads by SQL."""

    def __init__(self, ledger: sqlite3.Connection, report: dict[str, Any], choices: list[dict[str, Any]]) -> None:
        self._ledger = ledger
        self.choices = choices
        names = [workload["name"] for workload in report["workloads"]]
        self._asked = {**_week(report["week"]), "names": json.dumps(names)}
        self._workload = self._expression()

    def _expression(self) -> str:
        """The first choice that matches, else app / prompt / model, else the rest."""
        cases = ""
        for place, choice in enumerate(self.choices):
            globs = {key: str(glob) for key, glob in choice.get("match", {}).items()}
            self._asked |= {f"glob_{place}_{key}": glob for key, glob in globs.items()} | {f"n_{place}": choice["name"]}
            fits = " AND ".join(f"coalesce({key}, '') GLOB :glob_{place}_{key}" for key in globs) or "1"
            cases += f" WHEN {fits} THEN :n_{place}"
        known = " || ' / ' || ".join(f"coalesce({key}, '(no {key})')" for key in ("app", "prompt", "model"))
        cases += f" WHEN {known} IN (SELECT value FROM json_each(:names)) THEN {known}"  # noqa: S608
        return f"(CASE {cases} ELSE 'everything else' END)"

    def nano_usd(self) -> dict[str, int]:
        """The recorded cost of each workload."""
        sql = f"SELECT {self._workload}, coalesce(sum(cost), 0) FROM ({ROWS}) GROUP BY 1"  # noqa: S608 - of constants
        return dict(self._ledger.execute(sql, self._asked))

    def alike(self, workload: str) -> Iterator[tuple[Any, ...]]:
        """(calls, tier, searches, tokens of each class …) of calls whose tokens are known."""
        columns = ", ".join(
            ["service_tier", "coalesce(web_searches, 0)", *(f"coalesce(part_{each}_tokens, 0)" for each in CLASSES)]
        )
        known = f"input_tokens IS NOT NULL AND output_tokens IS NOT NULL AND {self._workload} = :workload"
        sql = f"SELECT count(*), {columns} FROM ({ROWS}) WHERE {known} GROUP BY {columns}"  # noqa: S608 - of constants
        return self._ledger.execute(sql, {**self._asked, "workload": workload})


def _differences(calls: Calls, report: dict[str, Any], prices: list[dict[str, Any]]) -> Iterator[str]:
    sums = calls.nano_usd()
    yield from _held("the week: buy_usd", report["buy_usd"], _usd(sum(sums.values())))
    for workload in report["workloads"]:
        name = workload["name"]
        yield from _held(f"{name}: buy_usd", workload["buy_usd"], _usd(sums.get(name, 0)))
        equivalents = [
            each for choice in calls.choices if choice["name"] == name for each in choice.get("equivalents", [])
        ]
        rents = [_rent(calls, name, each, host, prices) for each in equivalents for host in each.get("rent", [])]
        known = [rent for rent in rents if rent is not None]
        yield from _held(f"{name}: rent_open_usd", workload.get("rent_open_usd"), min(known, default=None))


def _held(what: str, reported: Decimal | None, recomputed: Decimal | None) -> Iterator[str]:
    cents = [None if each is None else Decimal(each).quantize(CENT) for each in (reported, recomputed)]
    if cents[0] != cents[1]:
        yield f"{what}: reported {reported}, recomputed {recomputed}"


def _week(text: str) -> dict[str, object]:
    monday = date.fromisocalendar(int(text[:4]), int(text[6:]), 1)
    since_ns = (monday - date(1970, 1, 1)).days * 86_400 * 10**9
    return {"since": since_ns, "until": since_ns + 7 * 86_400 * 10**9}


def _rent(
    calls: Calls, workload: str, equivalent: dict[str, Any], host: dict[str, Any], prices: list[dict[str, Any]]
) -> Decimal | None:
    """USD of the workload's calls at a host; ``None``: something in them has no price there."""
    entry = _entry(host, prices)
    into = Decimal(str(equivalent.get("tokenizer_ratio", 1)))
    out = into * Decimal(str(equivalent.get("length_ratio", 1)))
    alike = list(calls.alike(workload))
    if not alike and workload in calls.nano_usd():
        return None
    total = 0
    for count, tier, searches, *counts in alike:
        named = zip(CLASSES, counts, strict=True)
        tokens = {each: _round(Decimal(tokens) * (out if each in OUTPUTS else into)) for each, tokens in named}
        cost = None if entry is None else _cost(entry, tier, searches, tokens)
        if cost is None:
            return None
        total += count * cost
    return _usd(total)


def _entry(host: dict[str, Any], prices: list[dict[str, Any]]) -> dict[str, Any] | None:
    if "usd_per_million" in host:
        own = {EVERYDAY.get(name, name): str(price) for name, price in host["usd_per_million"].items()}
        return {"tiers": {"standard": [[0, own]]}}
    found = [each for each in prices if each["provider"] == host["host"] and each["model"] == host["model"]]
    if any("off_peak" in each or "valid_from" in each or "valid_until" in each for each in found):
        sys.exit(f"{host['model']} at {host['host']} has prices that change: not recomputed here")
    return found[0] if found else None


def _cost(entry: dict[str, Any], tier: str | None, searches: int, tokens: dict[str, int]) -> int | None:
    """Nano-USD of one call: each class is rounded once."""
    sold = entry["tiers"]
    brackets = sold["standard" if tier in STANDARD or tier not in sold else tier]
    read = sum(count for each, count in tokens.items() if each not in OUTPUTS)
    prices = max((above, prices) for above, prices in brackets if read > above or above == 0)[1]
    fees = entry.get("fees", {})
    if searches and "web_search" not in fees:
        return None
    total = _round(Decimal(fees.get("request", 0)) * 10**9)
    total += _round(searches * Decimal(fees.get("web_search", 0)) * 10**9)
    for each, count in tokens.items():
        if not count:
            continue
        price = prices.get(each, prices.get(_instead(each)))
        if price is None:
            return None
        total += _round(count * Decimal(price) * 1000)  # USD per million tokens are 1,000 nano-USD per token
    return total


def _instead(name: str) -> str:
    """What a class that has no price of its own is billed as."""
    if name == "cached_audio":
        return "input_audio"
    if name in {"input_audio", "output_audio", "output_image"}:
        return name
    return "output_text" if name in OUTPUTS else "input_uncached"


def _round(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_HALF_EVEN))


def _usd(nano_usd: int) -> Decimal:
    return Decimal(nano_usd).scaleb(-9)


if __name__ == "__main__":
    sys.exit(main())
