"""The board *Prompts*: the versions of a prompt side by side, and what changed with each.

There are more prompts and versions than metric labels may have, so that all of it is read from the ledger; only the
first panel shows Prometheus' bounded view, which is there with SQLite too.
"""

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from submeter.dashboards.boards import Row, assemble, ledger_variable, link_to
from submeter.dashboards.marks import model_changes, new_versions
from submeter.dashboards.panels import NO_LEDGER, Column, Steps, ledger_table, stat, trend
from submeter.dashboards.targets import STEP, SqlQuery, count, mean, percentile_s, prom, rate, select

READS_LEDGER = (
    "Reads the ledger, which must be Postgres: prompts are more than labels may be. With SQLite nothing shows: use "
    "submeter cost --by prompt,prompt_version, or the page."
)

CHOSEN = "prompt IN (${prompt:sqlstring})"
VERSION = "COALESCE(prompt_version, '(none)')"
BEGAN = "min(started_at_ns)"
MOST_VERSIONS = 10

CALLS = "count(*)"
FAILED = f"{count('upstream AND failed')}::float8 / NULLIF({count('upstream')}, 0)"
FROM_CACHE = f"{count('from_cache')}::float8 / count(*)"
PER_1000 = f"1000 * {mean('cost_usd')}"
TOKENS_IN = mean("input_tokens")
TOKENS_OUT = mean("output_tokens")
TTFT_P50 = percentile_s(50, "ttft_ns")
TTFT_P95 = percentile_s(95, "ttft_ns")
E2E_P95 = percentile_s(95, "e2e_ns")

MORE_IS_WORSE: Steps = {0.1: "orange", 0.25: "red"}
FAILED_SHARE: Steps = {0.01: "orange", 0.05: "red"}


def board() -> Dashboard:
    return assemble(
        "submeter-prompts",
        "What each version of a prompt costs, how long it is, how soon its answers begin and how often they fail: side "
        "by side, and each against the one before.",
        [_all(), _chosen(), _side_by_side(), _over_time()],
        since="now-7d",
        variables=[
            ledger_variable(
                "prompt",
                "Prompt",
                select(
                    {"prompt": "prompt"},
                    where=["prompt IS NOT NULL"],
                    group_by=(1,),
                    order_by="count(*) DESC, 1",
                    limit=500,
                ),
                "A prompt by its name, or by its fingerprint where it has none; the busiest first.",
            )
        ],
        annotations=[model_changes(), new_versions()],
    )


def _all() -> Row:
    return Row(
        "All prompts",
        [
            trend(
                "Spend per hour, by prompt",
                "Which prompts the money goes to. From Prometheus, so it is there with a SQLite ledger too; past 50 "
                "names the rest is other.",
                prom(f"3600 * {rate('submeter_prompt_cost_usd_total', by='prompt')}", "{{prompt}}"),
                unit="currencyUSD",
                stacked=True,
            ),
            ledger_table(
                "Prompts, the dearest first",
                f"Every prompt of the range; choose one to see its versions. {READS_LEDGER}",
                {"Prompt": "COALESCE(prompt, '(none)')"},
                [
                    Column("Spend", "currencyUSD", "sum(cost_usd)"),
                    Column("Calls", "short", CALLS),
                    Column("Versions", "short", "count(DISTINCT prompt_version)"),
                    Column("Per 1,000 calls", "currencyUSD", PER_1000),
                    Column("Failed", "percentunit", FAILED),
                ],
                order_by="2 DESC NULLS LAST",
                width=12,
                height=8,
                links={"Prompt": link_to("submeter-prompts", "Its versions", "prompt")},
                steps={"Failed": FAILED_SHARE},
            ),
        ],
    )


def _chosen() -> Row:
    return Row(
        "The chosen prompt, all versions",
        [
            _figure("Spend", "What its calls cost, where the price is known.", "sum(cost_usd)", "currencyUSD"),
            _figure("Cost per 1,000 calls", "Of calls that went upstream, the mean.", PER_1000, "currencyUSD"),
            _figure("TTFT p95", "One streamed answer in twenty began later than this.", TTFT_P95, "s"),
            _figure("Failed", "Share of calls upstream without a whole answer.", FAILED, "percentunit"),
        ],
    )


def _figure(title: str, description: str, expression: str, unit: str) -> Panel:
    query = SqlQuery(select({title: expression}, where=[CHOSEN]))
    return stat(title, f"{description} {READS_LEDGER}", query, unit=unit, width=6, no_data=NO_LEDGER)


def _side_by_side() -> Row:
    return Row(
        "Versions side by side",
        [
            ledger_table(
                "Versions, the newest first",
                "What each version costs, how long it is, how soon its answers begin, how often they fail. Cost, "
                f"tokens and times are of calls that went upstream. {READS_LEDGER}",
                {"Version": VERSION},
                [
                    Column("First seen", "dateTimeAsIso", f"to_timestamp({BEGAN} / 1e9)"),
                    Column("Last seen", "dateTimeAsIso", "to_timestamp(max(started_at_ns) / 1e9)"),
                    Column("Calls", "short", CALLS),
                    Column("Per 1,000 calls", "currencyUSD", PER_1000),
                    Column("Tokens in", "short", TOKENS_IN),
                    Column("Tokens out", "short", TOKENS_OUT),
                    Column("TTFT p50", "s", TTFT_P50),
                    Column("TTFT p95", "s", TTFT_P95),
                    Column("End to end p95", "s", E2E_P95),
                    Column("Failed", "percentunit", FAILED),
                    Column("From the cache", "percentunit", FROM_CACHE),
                ],
                where=[CHOSEN],
                order_by=f"{BEGAN} DESC",
                height=8,
                steps={"Failed": FAILED_SHARE},
            ),
            ledger_table(
                "Each version against the one before",
                "What changed with each version, in parts of what it was before: 10 % is a tenth more. Orange and red: "
                "worse by a tenth, by a quarter. Few calls say little; both may be of other hours and models. "
                f"{READS_LEDGER}",
                {"Version": VERSION},
                [
                    Column("Since", "dateTimeAsIso", f"to_timestamp({BEGAN} / 1e9)"),
                    Column("Instead of", "string", _before(VERSION)),
                    Column("Calls", "short", CALLS),
                    Column("Calls before", "short", _before(CALLS)),
                    *(Column(title, "percentunit", _change(figure)) for title, figure in COMPARED.items()),
                    Column("Failed, points", "percentunit", f"{FAILED} - {_before(FAILED)}"),
                ],
                where=[CHOSEN],
                order_by=f"{BEGAN} DESC",
                height=8,
                steps=dict.fromkeys(COMPARED, MORE_IS_WORSE) | {"Failed, points": FAILED_SHARE},
            ),
        ],
    )


COMPARED = {
    "Cost per call": PER_1000,
    "Tokens in": TOKENS_IN,
    "Tokens out": TOKENS_OUT,
    "TTFT p50": TTFT_P50,
    "TTFT p95": TTFT_P95,
}


def _before(expression: str) -> str:
    """The same figure of the version that began before this one."""
    return f"lag({expression}) OVER (ORDER BY {BEGAN})"


def _change(expression: str) -> str:
    return f"({expression}) / NULLIF({_before(expression)}, 0) - 1"


def _over_time() -> Row:
    return Row(
        "Versions over time",
        [
            _by_version("Calls, by version", "When one version took over from another.", CALLS, "short"),
            _by_version("Cost per 1,000 calls, by version", "Mean of calls upstream.", PER_1000, "currencyUSD"),
            _by_version("TTFT p50, by version", "Half of its streamed answers began sooner.", TTFT_P50, "s"),
            _by_version("Output tokens, by version", "Mean of a call: longer answers cost more.", TOKENS_OUT, "short"),
        ],
    )


def _by_version(title: str, description: str, figure: str, unit: str) -> Panel:
    newest = select(
        {"version": VERSION}, where=[CHOSEN], group_by=(1,), order_by="max(started_at_ns) DESC", limit=MOST_VERSIONS
    )
    query = select(
        {"time": STEP, "metric": VERSION, title: figure},
        where=[CHOSEN, f"{VERSION} IN (\n{newest}\n)"],
        group_by=(1, 2),
        order_by="1",
    )
    said = f"{description} Of the {MOST_VERSIONS} versions called last. {READS_LEDGER}"
    return trend(title, said, SqlQuery(query, series=True), unit=unit, no_data=NO_LEDGER)
