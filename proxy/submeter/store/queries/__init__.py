"""What is read from the ledger, for the commands, the page and the API: typed lines out, SQL that any engine runs.

calls    one call or many, in the shape of ``submeter calls --json``
costs    tokens and money by any grouping, with the coverage of each sum
latency  exact percentiles by any grouping
series   cost and latency over time, for charts
timed    single calls in order of time, for an analysis of latency
priced   whose money all of these show: the selected version's

Sums of tokens and money are integers, made in SQL, and count what went upstream (cache ``miss`` and ``bypass``).
Every function takes an open ``Ledger`` and may raise its ``LedgerUnavailable``.
"""

from submeter.store.queries.calls import CALL_KEYS, call, calls
from submeter.store.queries.costs import CostLine, cost_by, summary
from submeter.store.queries.grouping import GROUP_KEYS, UnknownKeyError
from submeter.store.queries.latency import LatencyLine, latency_by
from submeter.store.queries.priced import ORIGINAL
from submeter.store.queries.series import SeriesPoint, series
from submeter.store.queries.timed import newest_call_ns, timed_calls

__all__ = [
    "CALL_KEYS",
    "GROUP_KEYS",
    "ORIGINAL",
    "CostLine",
    "LatencyLine",
    "SeriesPoint",
    "UnknownKeyError",
    "call",
    "calls",
    "cost_by",
    "latency_by",
    "newest_call_ns",
    "series",
    "summary",
    "timed_calls",
]
