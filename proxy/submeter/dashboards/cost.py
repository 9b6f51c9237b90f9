"""The board *Cost*: what is spent, by whom, on what; what a call costs beside prices that people know; how sure it is.

Spend is of calls whose price is known. What is not in it (unpriced, indeterminate, unmetered) stands beside it, in red.
"""

from typing import NamedTuple

from grafana_foundation_sdk.models.dashboard import Dashboard

from submeter.dashboards.boards import Row, assemble, label_variable, link_to
from submeter.dashboards.marks import model_changes, new_versions
from submeter.dashboards.panels import NONE_IS_FINE, Column, bars, ledger_table, stat, table, trend
from submeter.dashboards.targets import count, events, gain, or_zero, prom, rate, ratio, share

MODEL = 'model=~"$model"'
PAYERS = 'model=~"$model", team=~"$team", app=~"$app"'
METERED = f'{MODEL}, endpoint!="unmetered"'
CACHEABLE = f'{METERED}, cache=~"hit|miss|coalesced"'
SPARED = f'{METERED}, cache=~"hit|coalesced"'

SPENT = "submeter_cost_usd_total"
SAVED = "submeter_saved_usd_total"
CALLS = "submeter_calls_total"
PROMPTS = "submeter_prompt_cost_usd_total"
INPUT = "gen_ai_client_inference_usage_input_tokens_total"
OUTPUT = "gen_ai_client_inference_usage_output_tokens_total"

ALL_CALLS = gain(CALLS, METERED)
PER_CALL = ratio(gain(SPENT, MODEL), ALL_CALLS)

BIG_DAY_CALLS = "1e10"
"""Predictions that DoorDash made on a day of 2021: the yardstick of Huyen (2023)."""

NOT_IN_THE_SUM = (("Unpriced", "unpriced"), ("Unknown end", "indeterminate"), ("Not metered", "unmetered"))


class Known(NamedTuple):
    name: str
    usd_per_1000: str


KNOWN_PRICES = (
    Known("GPT-4 in 2023, 10,000 tokens in, 200 out", "1000 * (10000 * 60 + 200 * 120) / 1e6"),
    Known("gpt-3.5-turbo in 2023, 4,000 tokens in, 4,000 out", "1000 * (4000 * 2 + 4000 * 2) / 1e6"),
)
"""Huyen, Building LLM applications for production (2023-04-11), computed from the prices per token in it: $0.624 and
$0.016 a call. The article prints $0.004 for the second, which is a slip: 8,000 tokens at $0.002 per 1,000."""


class ListPrice(NamedTuple):
    """USD per million tokens."""

    model: str
    input: str
    output: str


LIST_PRICES = (
    ListPrice("gpt-4o-mini", "0.15", "0.60"),
    ListPrice("gpt-4o", "2.50", "10.00"),
    ListPrice("claude-sonnet-4-5", "3.00", "15.00"),
)
"""As in the price snapshot that Submeter ships; a test holds the two together."""


def board() -> Dashboard:
    return assemble(
        "submeter-cost",
        "What LLM calls cost: now, over time, by model, team, app and prompt; a call beside prices that people know; "
        "and what is in no sum.",
        [_spend(), _certainty(), _trends(), _per_call(), _tables(), _to_the_cent()],
        since="now-7d",
        variables=[
            label_variable("model", "Model", CALLS, "The price-book entry that priced the call, else other."),
            label_variable("team", "Team", SPENT, "Chooses among spend; counts of calls have no team."),
            label_variable("app", "App", SPENT, "Chooses among spend; counts of calls have no app."),
        ],
        annotations=[model_changes(), new_versions()],
    )


def _spend() -> Row:
    return Row(
        "Spend",
        [
            stat(
                "Spend per hour, now",
                "US dollars an hour at the pace of the last minutes, and its course over the board's range.",
                prom(f"3600 * {rate(SPENT, PAYERS)}", "USD per hour"),
                unit="currencyUSD",
                width=4,
            ),
            stat(
                "Last 24 hours",
                "What the calls of the last 24 hours cost, and those of the 24 hours before. The board's time range "
                "does not change it.",
                prom(gain(SPENT, PAYERS, over="1d"), "24 hours", instant=True),
                prom(gain(SPENT, PAYERS, over="1d", ago="1d"), "24 hours before", instant=True),
                unit="currencyUSD",
                width=5,
            ),
            stat(
                "Last 7 days",
                "What the calls of the last seven days cost, and those of the week before. The board's time range "
                "does not change it.",
                prom(gain(SPENT, PAYERS, over="7d"), "7 days", instant=True),
                prom(gain(SPENT, PAYERS, over="7d", ago="7d"), "7 days before", instant=True),
                unit="currencyUSD",
                width=5,
            ),
            stat(
                "30 days at this pace",
                "The last seven days' spend times 30/7: what a month costs if nothing changes. Too low with less "
                "than a week behind it.",
                prom(f"30 / 7 * {gain(SPENT, PAYERS, over='7d')}", "30 days", instant=True),
                unit="currencyUSD",
                width=4,
            ),
            stat(
                "Cost per 1,000 calls",
                "Spend over all calls of the range, answers from the cache among them: what an answer costs you.",
                prom(f"1000 * ({PER_CALL})", "per 1,000 calls", instant=True),
                unit="currencyUSD",
                width=3,
            ),
            stat(
                "At 10 billion calls a day",
                "What a day would cost at DoorDash's scale of 2021, the yardstick of Huyen's article of 2023 ($40 "
                "million a day at $0.004 a call).",
                prom(f"{BIG_DAY_CALLS} * ({PER_CALL})", "a day", instant=True),
                unit="currencyUSD",
                width=3,
            ),
        ],
    )


def _certainty() -> Row:
    return Row(
        "Saved, and not in the sum",
        [
            stat(
                "Saved by the cache",
                "What answers from the cache, and those shared with an identical call in flight, would have cost in "
                "this range.",
                prom(or_zero(gain(SAVED, MODEL)), "saved", instant=True),
                unit="currencyUSD",
                width=4,
            ),
            stat(
                "Cache hit rate",
                "Share of calls answered without the provider: of those that may be cached (temperature 0, "
                "embeddings), and of all.",
                prom(share(gain(CALLS, SPARED), gain(CALLS, CACHEABLE)), "of cacheable", instant=True),
                prom(share(gain(CALLS, SPARED), ALL_CALLS), "of all", instant=True),
                unit="percentunit",
                width=6,
            ),
            stat(
                "Cost known exactly",
                "Share of the spend that the provider's own usage gives at a known price; the rest is estimated, with "
                "bounds in the ledger.",
                prom(ratio(gain(SPENT, f'{PAYERS}, state="exact"'), gain(SPENT, PAYERS)), "exact", instant=True),
                unit="percentunit",
                width=3,
            ),
            stat(
                "Calls without a price",
                "Calls of models or tiers that the price book does not know: they are in no sum. Add a price, then "
                "submeter reprice.",
                prom(events("submeter_unpriced_calls_total"), "unpriced", instant=True),
                unit="short",
                width=3,
                steps=NONE_IS_FINE,
                decimals=0,
            ),
            stat(
                "Money of unknown end",
                "Upper bound of what calls may have cost whose end nobody saw, as when a relay was killed. In no sum.",
                prom(or_zero(gain("submeter_indeterminate_usd_total", 'bound="high"')), "at most", instant=True),
                unit="currencyUSD",
                width=4,
                steps=NONE_IS_FINE,
            ),
            stat(
                "Calls not metered",
                "Served without being metered: on a path whose usage is not read, or (red on Operations) while the "
                "journal could not be written. In no sum.",
                prom(or_zero(gain("submeter_unmetered_calls_total")), "unmetered", instant=True),
                unit="short",
                width=4,
                steps={1e-6: "orange"},
                decimals=0,
            ),
        ],
    )


def _trends() -> Row:
    return Row(
        "Where it goes",
        [
            trend(
                "Spend per hour, by model",
                "Which models the money goes to. Marks: another model answered under a name, a Submeter version began.",
                prom(f"3600 * {rate(SPENT, PAYERS, by='model')}", "{{model}}"),
                unit="currencyUSD",
                stacked=True,
            ),
            trend(
                "Spend per hour, by team",
                "Which teams the money is spent by. A call that names none is in the series without a name.",
                prom(f"3600 * {rate(SPENT, PAYERS, by='team')}", "{{team}}"),
                unit="currencyUSD",
                stacked=True,
            ),
            trend(
                "This week on last week",
                "Spend per hour, the same hour a week ago, and what is usual at this hour of the week, which the alert "
                "SpendAboveProfile goes by (of all models and apps; from the recording rules, if they are loaded).",
                prom(f"3600 * {rate(SPENT, PAYERS)}", "now"),
                prom(f"3600 * {rate(SPENT, PAYERS, ago='7d')}", "a week ago"),
                prom('3600 * sum(submeter:cost_usd:profile1h{team=~"$team"})', "usual"),
                unit="currencyUSD",
                colors={"now": "blue", "a week ago": "text", "usual": "green"},
            ),
            trend(
                "Spent and saved per hour",
                "What is paid, and what the cache spared: together what the same calls would cost without it.",
                prom(f"3600 * {rate(SPENT, MODEL)}", "spent"),
                prom(f"3600 * ({or_zero(rate(SAVED, MODEL))})", "saved"),
                unit="currencyUSD",
                stacked=True,
                colors={"spent": "blue", "saved": "green"},
            ),
        ],
    )


def _per_call() -> Row:
    per_1000_by_model = f"1000 * {rate(SPENT, MODEL, by='model')} / ({rate(CALLS, METERED, by='model')} > 0)"
    return Row(
        "What a call costs",
        [
            trend(
                "Cost per 1,000 calls, by model",
                "Whether a call becomes dearer: longer prompts, longer answers, another model, fewer cache hits.",
                prom(per_1000_by_model, "{{model}}"),
                unit="currencyUSD",
            ),
            bars(
                "Cost per 1,000 calls, beside known prices",
                "Yours; the same tokens at list prices (all input at the full price, other tokenizers and tiers "
                f"ignored); examples of Huyen, Building LLM applications for production, 2023. {_list_prices()}",
                prom(f"1000 * ({PER_CALL})", "yours", instant=True),
                *(prom(_at_list_price(each), f"your tokens at {each.model}", instant=True) for each in LIST_PRICES),
                *(prom(f"vector({each.usd_per_1000})", each.name, instant=True) for each in KNOWN_PRICES),
                unit="currencyUSD",
            ),
        ],
    )


def _list_prices() -> str:
    each = "; ".join(f"{price.model} {price.input} in, {price.output} out" for price in LIST_PRICES)
    return f"USD per million tokens, from the price snapshot of 2026-11-24: {each}."


def _at_list_price(price: ListPrice) -> str:
    """USD per 1,000 calls, of what went upstream in the range."""
    usd = f"{price.input} * {gain(INPUT, MODEL)} + {price.output} * {gain(OUTPUT, MODEL)}"
    return f"1000 * ({usd}) / 1e6 / ({ALL_CALLS} > 0)"


def _tables() -> Row:
    spent_by_model = gain(SPENT, MODEL, by="model")
    calls_by_model = gain(CALLS, METERED, by="model")
    return Row(
        "Who and what",
        [
            table(
                "By model",
                "All models of the range: what they cost, how much of the whole that is, and what they did for it.",
                {"model": "Model"},
                [
                    Column("Spend", "currencyUSD", spent_by_model),
                    Column("Share", "percentunit", f"{spent_by_model} / scalar({gain(SPENT, MODEL)} > 0)"),
                    Column("Calls", "short", calls_by_model),
                    Column("Tokens in", "short", gain(INPUT, MODEL, by="model")),
                    Column("Tokens out", "short", gain(OUTPUT, MODEL, by="model")),
                    Column("Per 1,000 calls", "currencyUSD", f"1000 * {spent_by_model} / ({calls_by_model} > 0)"),
                    Column("Saved", "currencyUSD", gain(SAVED, MODEL, by="model")),
                ],
                width=24,
                height=8,
                links={"Model": link_to("submeter-latency", "How fast it is", "model")},
            ),
            table(
                "By team and app",
                "Who spends what. Labels are bounded: past 50 teams or apps the rest is other; the ledger has all.",
                {"team": "Team", "app": "App"},
                [
                    Column("Spend", "currencyUSD", gain(SPENT, PAYERS, by="team, app")),
                    Column(
                        "Share",
                        "percentunit",
                        f"{gain(SPENT, PAYERS, by='team, app')} / scalar({gain(SPENT, PAYERS)} > 0)",
                    ),
                ],
            ),
            table(
                "By prompt and version",
                "What each version of a prompt costs, of all models and teams. Labels are bounded: past 50 the rest is "
                "other; the board Prompts reads all from a Postgres ledger.",
                {"prompt": "Prompt", "prompt_version": "Version"},
                [
                    Column("Spend", "currencyUSD", gain(PROMPTS, by="prompt, prompt_version")),
                    Column(
                        "Share",
                        "percentunit",
                        f"{gain(PROMPTS, by='prompt, prompt_version')} / scalar({gain(PROMPTS)} > 0)",
                    ),
                ],
                links={"Prompt": link_to("submeter-prompts", "Its versions", "prompt")},
            ),
        ],
    )


def _to_the_cent() -> Row:
    return Row(
        "To the cent, from the ledger",
        [
            ledger_table(
                "The ledger's own sums, by team and app",
                "Exact sums of the rows themselves, with the selected version of the costs (submeter reprice), where "
                "Prometheus extrapolates; of all models, teams and apps. At least and at most: with the bounds of "
                "estimated and indeterminate calls. Reads the ledger, which must be Postgres; with SQLite nothing "
                "shows: use submeter cost --by team,app.",
                {"Team": "COALESCE(team, '')", "App": "COALESCE(app, '')"},
                [
                    Column("Spend", "currencyUSD", "sum(cost_usd)"),
                    Column("At least", "currencyUSD", "sum(least_usd)"),
                    Column("At most", "currencyUSD", "sum(most_usd)"),
                    Column("Calls", "short", "count(*)"),
                    Column("Per 1,000 calls", "currencyUSD", "1000 * sum(cost_usd) / count(*)"),
                    Column("Saved", "currencyUSD", "sum(saved_usd)"),
                    *(Column(title, "short", count(f"cost_state = '{state}'")) for title, state in NOT_IN_THE_SUM),
                ],
                order_by="3 DESC NULLS LAST",
                steps={title: NONE_IS_FINE for title, _ in NOT_IN_THE_SUM},
            ),
        ],
    )
