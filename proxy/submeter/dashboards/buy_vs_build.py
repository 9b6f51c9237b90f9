"""The board *Buy vs build*: what the weekly report says of the costliest workloads, and how that changes over weeks.

Its gauges are those of the newest report in a meter's data directory, where ``submeter report`` stores it, so that a
point of a graph is the report as it stood then. Of several units one makes the reports; if more have it: ``max``.
"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from submeter.core.verdicts import VERDICTS
from submeter.dashboards.boards import Row, assemble, label_variable
from submeter.dashboards.panels import Column, States, stat, table, timeline, trend
from submeter.dashboards.targets import gain, prom

VERDICT = "submeter_report_verdict"
OPTION = "submeter_report_option_usd"
P_BUILD = "submeter_report_build_cheaper_probability"
BREAK_EVEN = "submeter_report_break_even_volume_ratio"
WEEK = "max(submeter_report_week_timestamp_seconds)"

NO_REPORT = "no weekly report, or nothing of this in it"
COLORS = {
    "NOT COMPARABLE": "text",
    "TOO CLOSE": "yellow",
    "BUY": "blue",
    "RENT-OPEN": "purple",
    "BUILD IF QUALITY HOLDS": "light-green",
    "BUILD": "green",
}
STATES: States = {number: (name, COLORS[name]) for number, name in enumerate(VERDICTS)}
MOVES = VERDICTS.index("RENT-OPEN")
"""From here on a verdict says that the workload should not stay where it is."""
CERTAIN = 0.9
"""The probability that BUILD needs (``report.verdict``)."""
DAY_S = 86_400


def board() -> Dashboard:
    return assemble(
        "submeter-buy-vs-build",
        "Keep buying, rent an open model per token, or build: the weekly report's verdict on the costliest workloads, "
        "what each option costs, and how near the other verdicts are.",
        [_newest(), _verdicts(), _weeks()],
        since="now-90d",
        variables=[
            label_variable("workload", "Workload", VERDICT, "One of the costliest workloads of the weekly report.")
        ],
    )


def _of(metric: str, *more: str, by: str = "workload") -> str:
    chosen = ", ".join(('workload=~"$workload"', *more))
    return f"max by ({by}) ({metric}{{{chosen}}})"


def _option(name: str) -> str:
    return _of(OPTION, f'option="{name}"')


def _newest() -> Row:
    return Row(
        "The newest report",
        [
            stat(
                "Week of the report",
                "When the reported week began: Monday, 00:00 UTC. The report is made by submeter report.",
                prom(f"1000 * {WEEK}", "Monday", instant=True),
                unit="dateTimeAsIso",
                width=5,
                no_data=NO_REPORT,
            ),
            stat(
                "Time since that week",
                "How long the reported week is over. Orange: a newer week is complete and has no report, as when its "
                "timer or CronJob has failed.",
                prom(f"time() - {WEEK} - {7 * DAY_S}", "since its end", instant=True),
                unit="s",
                width=4,
                no_data=NO_REPORT,
                steps={8 * DAY_S: "orange", 15 * DAY_S: "red"},
                decimals=0,
            ),
            stat(
                "Recorded cost of that week",
                "What all calls of the reported week cost, as the ledger has it; no estimate, not extrapolated.",
                prom("max(submeter_report_recorded_usd)", "recorded", instant=True),
                unit="currencyUSD",
                width=5,
                no_data=NO_REPORT,
            ),
            stat(
                "The costliest workloads together",
                "A week of the workloads below at the cheapest API, and each by its cheapest option, whatever the "
                "verdict says of quality, risk and payback: what there is to gain at most.",
                prom(f"sum({_option('buy')})", "at the API", instant=True),
                prom(f"sum(min by (workload) ({_of(OPTION, by='workload, option')}))", "cheapest", instant=True),
                unit="currencyUSD",
                width=6,
                no_data=NO_REPORT,
            ),
            stat(
                "Workloads to move",
                "How many of the costliest workloads have a verdict that stands other than to stay: rent or build.",
                prom(f"sum({_of(VERDICT)} >= bool {MOVES})", "to move", instant=True),
                unit="short",
                width=4,
                no_data=NO_REPORT,
                decimals=0,
            ),
        ],
    )


def _verdicts() -> Row:
    return Row(
        "Verdicts",
        [
            table(
                "Options and verdict, by workload",
                "A week of each workload by option, in US dollars; the verdict that stands (a changed one waits for a "
                "second week that agrees); the probability that building costs less; and the volume, in multiples of "
                "that week's, at which building and the cheapest other option cost the same.",
                {"workload": "Workload"},
                [
                    Column("At the API", "currencyUSD", _option("buy")),
                    Column("Rented per token", "currencyUSD", _option("rent")),
                    Column("Built", "currencyUSD", _option("build")),
                    Column("Verdict", "none", _of(VERDICT)),
                    Column("Build is cheaper", "percentunit", _of(P_BUILD)),
                    Column("Break-even volume", "short", _of(BREAK_EVEN)),
                ],
                width=24,
                height=6,
                no_data=NO_REPORT,
                states={"Verdict": STATES},
            ),
            timeline(
                "Verdict, week by week",
                "The verdict that stood at each time, by workload. A changed one is shown when a second week agrees.",
                prom(_of(VERDICT), "{{workload}}"),
                states=STATES,
                no_data=NO_REPORT,
            ),
        ],
    )


def _weeks() -> Row:
    return Row(
        "Over weeks",
        [
            trend(
                "Cost of a week, by option",
                "What a week of each workload costs at the cheapest API, rented per token, and built. An option that "
                "is not configured, or cannot meet the objective, has no line.",
                prom(_of(OPTION, by="workload, option"), "{{workload}}: {{option}}"),
                unit="currencyUSD",
                no_data=NO_REPORT,
            ),
            trend(
                "Recorded cost of a week",
                "The newest report's week as it was recorded, and the seven days until each point, which run ahead of "
                "it: where they part, the next report will differ.",
                prom("max(submeter_report_recorded_usd)", "reported week"),
                prom(gain("submeter_cost_usd_total", over="7d"), "last seven days"),
                unit="currencyUSD",
                no_data=NO_REPORT,
            ),
            trend(
                "Probability that building is cheaper",
                "Over days, the model's error and the range of prices together. The line is what the verdict BUILD "
                "needs, besides a payback within 26 weeks, a proof of latency and evidence of quality.",
                prom(_of(P_BUILD), "{{workload}}"),
                unit="percentunit",
                no_data=NO_REPORT,
                limit=CERTAIN,
            ),
            trend(
                "Break-even volume",
                "Multiples of the reported week's volume at which building and the cheapest other option cost the "
                "same; of several, the nearest to 1, which is the line. No line of a workload: none from 0.1 to 100.",
                prom(_of(BREAK_EVEN), "{{workload}}"),
                unit="short",
                no_data=NO_REPORT,
                limit=1.0,
            ),
        ],
    )
