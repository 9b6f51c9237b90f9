"""The board *Operations*: is every call metered, is the ledger up to date, and how near the limits are.

The journal stands between relays and ledger: a slow database shows here as lag, never as a slow call.
"""

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from submeter.dashboards.boards import Row, assemble, label_variable
from submeter.dashboards.marks import missing_relays, new_versions
from submeter.dashboards.panels import CACHE_COLORS, NONE_IS_FINE, OUTCOME_COLORS, Column, stat, table, trend
from submeter.dashboards.targets import gain, or_zero, prom, rate

HERE = 'instance=~"$instance"'
CALLS = "submeter_calls_total"
CACHE = "submeter_cache_events_total"
DOWN = "the meter is not scraped"


def board() -> Dashboard:
    return assemble(
        "submeter-operations",
        "Whether Submeter itself is well: relays, journal, ledger, cache, and how near its metrics are to limits.",
        [_now(), _never(), _traffic(), _journal(), _limits()],
        since="now-6h",
        variables=[label_variable("instance", "Unit", "submeter_build_info", "A meter: one for each host or pod.")],
        annotations=[missing_relays(), new_versions()],
    )


def _now() -> Row:
    return Row(
        "Now",
        [
            stat(
                "Relays",
                "Relays whose journal is being written, and how many are configured. Fewer means one was killed or is "
                "starting; callers of the others notice nothing.",
                prom(f"sum(submeter_relays{{{HERE}}})", "running", instant=True),
                prom(f"sum(submeter_workers{{{HERE}}})", "configured", instant=True),
                unit="short",
                width=4,
                no_data=DOWN,
                decimals=0,
            ),
            stat(
                "Database",
                "Whether every meter can write its ledger. While one cannot, calls are served and metered, and wait in "
                "the journal.",
                prom(f"min(submeter_database_up{{{HERE}}})", "up", instant=True),
                unit="bool_on_off",
                width=4,
                no_data=DOWN,
                steps={1: "green"},
                below="red",
            ),
            stat(
                "Journal lag",
                "Age of the oldest record that is not in the ledger, of the unit that is furthest behind. Red from a "
                "minute.",
                prom(f"max(submeter_journal_lag_seconds{{{HERE}}})", "lag"),
                unit="s",
                width=4,
                no_data=DOWN,
                steps={10: "orange", 60: "red"},
            ),
            stat(
                "Calls in flight",
                "Calls that have begun and not ended, of all units: what a scaler of relays goes by.",
                prom(f"sum(submeter_calls_in_flight{{{HERE}}})", "in flight"),
                unit="short",
                width=4,
                no_data=DOWN,
                decimals=0,
            ),
            stat(
                "Series of the limit",
                "Sample lines of a meter's last scrape over its limit of 2,000, of the fullest one. At the limit new "
                "label values count as other.",
                prom(f"max(submeter_series{{{HERE}}} / submeter_series_limit{{{HERE}}})", "used", instant=True),
                unit="percentunit",
                width=4,
                no_data=DOWN,
                steps={0.8: "orange", 1: "red"},
            ),
            stat(
                "Age of the prices",
                "Since the price snapshot was imported; red from 30 days. Refresh: submeter prices import, then "
                "submeter reprice.",
                prom(f"max(submeter_price_snapshot_age_seconds{{{HERE}}})", "age", instant=True),
                unit="s",
                width=4,
                no_data="no price snapshot, or the meter is not scraped",
                steps={14 * 86400: "orange", 30 * 86400: "red"},
            ),
        ],
    )


def _never() -> Row:
    return Row(
        "Should be zero in this range",
        [
            _zero(
                "Rows in quarantine",
                "Rows that the database refused: kept aside, whole, and in no sum until they are shipped again.",
                "submeter_quarantined_rows_total",
            ),
            _zero(
                "Journal damage",
                "Damaged stretches found in a journal: a disk that lies, or a file that somebody else wrote to.",
                "submeter_journal_damage_total",
            ),
            _zero(
                "Failed batches",
                "Batches that the database could not take. They are tried until it can: the ledger is late, nothing is "
                "lost.",
                "submeter_ledger_failures_total",
            ),
            _zero(
                "Calls not journalled",
                "Served while the journal could not be written, as on a full disk: nobody will know what they cost.",
                "submeter_unmetered_calls_total",
                'reason="journal"',
            ),
            _zero(
                "Forged answers",
                "Kept answers that were forged, cut or sealed by another key. None was used. Who else writes to this "
                "Redis?",
                CACHE,
                'event="rejected"',
            ),
            _zero(
                "Cache failures",
                "Questions to the cache without an answer in time, or not asked as it kept failing: those calls were "
                "paid for.",
                CACHE,
                'event=~"errors|breaker_open"',
            ),
        ],
    )


def _zero(title: str, description: str, metric: str, where: str = "") -> Panel:
    chosen = f"{HERE}, {where}" if where else HERE
    return stat(
        title,
        description,
        prom(or_zero(gain(metric, chosen)), title, instant=True),
        unit="short",
        width=4,
        steps=NONE_IS_FINE,
        decimals=0,
    )


def _traffic() -> Row:
    return Row(
        "Traffic",
        [
            trend(
                "Calls a second, by outcome",
                "All settled calls, answers from the cache among them. Errors here are the upstream's; refusals stand "
                "beside.",
                prom(rate(CALLS, HERE, by="outcome"), "{{outcome}}"),
                unit="reqps",
                width=6,
                stacked=True,
                colors=OUTCOME_COLORS,
            ),
            trend(
                "Refusals a second, by code",
                "Requests that a relay answered itself with an error: what each code means is in docs/guide/faults.md.",
                prom(rate("submeter_refused_calls_total", HERE, by="code"), "{{code}}"),
                unit="reqps",
                width=6,
                no_data="no request was refused",
            ),
            trend(
                "Not metered, a second",
                "Requests that passed through without a row (path), and calls that were served without being metered "
                "(reason).",
                prom(rate("submeter_passed_requests_total", HERE, by="path"), "passed: {{path}}"),
                prom(rate("submeter_unmetered_calls_total", HERE, by="reason"), "unmetered: {{reason}}"),
                unit="reqps",
                width=6,
                no_data="all requests were metered",
            ),
            trend(
                "What became of questions to the cache",
                "Questions a second by what came of them. Rejected ones were forged or cut; errors and breaker_open "
                "went around the cache.",
                prom(rate(CACHE, HERE, by="event"), "{{event}}"),
                unit="reqps",
                width=6,
                stacked=True,
                no_data="the cache was not asked",
                colors=CACHE_COLORS,
            ),
        ],
    )


def _journal() -> Row:
    return Row(
        "Journal and ledger",
        [
            trend(
                "Journal lag, by unit",
                "Age of the oldest record that is not in the ledger, by unit. It grows while a database is down, and "
                "falls when it is back.",
                prom(f"max by (instance) (submeter_journal_lag_seconds{{{HERE}}})", "{{instance}}"),
                unit="s",
                width=8,
                no_data=DOWN,
                limit=60,
            ),
            trend(
                "Journal not read yet",
                "Bytes of journal that a meter has not read, by unit: what the disk must hold until it has.",
                prom(f"sum by (instance) (submeter_journal_lag_bytes{{{HERE}}})", "{{instance}}"),
                unit="bytes",
                width=8,
                no_data=DOWN,
            ),
            trend(
                "Rows shipped a second",
                "Rows written to the ledger, and batches that it could not take.",
                prom(rate("submeter_ledger_rows_total", HERE), "rows"),
                prom(rate("submeter_ledger_failures_total", HERE), "failed batches"),
                unit="cps",
                width=8,
                no_data=DOWN,
                colors={"rows": "blue", "failed batches": "red"},
            ),
        ],
    )


def _limits() -> Row:
    return Row(
        "Metrics near their limits",
        [
            trend(
                "Series",
                "Sample lines of each scrape, by unit, and the limit, whatever clients send.",
                prom(f"max by (instance) (submeter_series{{{HERE}}})", "{{instance}}"),
                prom(f"max(submeter_series_limit{{{HERE}}})", "limit"),
                unit="short",
                no_data=DOWN,
                colors={"limit": "red"},
            ),
            trend(
                "Shown as other",
                "Values of a label, and samples of a metric, that count under other as their set is full. The ledger "
                "has the values themselves; name those that matter under labels: in the configuration.",
                prom(gain("submeter_other_values_total", HERE, by="label", over="$__rate_interval"), "label {{label}}"),
                prom(gain("submeter_other_series_total", HERE, by="metric", over="$__rate_interval"), "{{metric}}"),
                unit="short",
                no_data="nothing was shown as other",
            ),
            table(
                "Units",
                "Every meter that is scraped: its version, its relays, how far it is behind, and its series.",
                {"instance": "Unit", "version": "Version"},
                [
                    Column("In flight", "short", _each("submeter_calls_in_flight")),
                    Column("Relays", "short", _each("submeter_relays")),
                    Column("Journal lag", "s", _each("submeter_journal_lag_seconds")),
                    Column("Database", "bool_on_off", _each("submeter_database_up")),
                    Column("Labels capped", "short", _each("submeter_labels_capped")),
                    Column("Series", "short", _each("submeter_series")),
                ],
                width=24,
                height=7,
                no_data=DOWN,
            ),
        ],
    )


def _each(gauge: str) -> str:
    """A gauge of every unit, with its version."""
    with_version = f"max by (instance, version) (submeter_build_info{{{HERE}}})"
    return f"sum by (instance) ({gauge}{{{HERE}}}) * on (instance) group_right {with_version}"
