"""The sentences of the page: what a sum covers, how certain it is, what is wrong and what to do about it."""

from typing import Literal

import msgspec

from submeter.meter.figures import places, plural, usd, usd_exact, visible
from submeter.meter.health import Health
from submeter.meter.overview import Overview
from submeter.store.queries import CostLine

LAG_NOTICE_S = 5.0
MODELS_NAMED = 3


class Notice(msgspec.Struct, frozen=True):
    """``command`` is what to type next."""

    level: Literal["problem", "warning"]
    title: str
    advice: str
    command: str = "submeter doctor"


UNREADABLE = Notice(
    "problem",
    "The ledger cannot be read now",
    "Calls go on and wait in the journal. This page tries again by itself; if it stays so, this says what to mend:",
)


def notices(health: Health, overview: Overview | None, *, unreadable: bool) -> list[Notice]:
    """The worst first."""
    found = [UNREADABLE] if unreadable else []
    if health.degraded or not health.ready:
        found.append(_degraded(health))
    elif health.lag_s > LAG_NOTICE_S:
        found.append(_lagging(health))
    if overview is not None and overview.total.unpriced_calls:
        found.append(_unpriced(overview))
    return found


def _degraded(health: Health) -> Notice:
    return Notice(
        "problem",
        f"Degraded: {health.reason or 'the meter is starting'}",
        "No call is lost: the journal keeps them, and the figures catch up. If it stays so, this says what to mend:",
    )


def _lagging(health: Health) -> Notice:
    return Notice(
        "warning",
        f"The figures are {health.lag_s:,.0f} s behind",
        f"{health.lag_bytes:,} bytes of the journal are still to be read. If that keeps growing, look at the database "
        "and the disk:",
    )


def _unpriced(overview: Overview) -> Notice:
    names = [visible("no model named" if name is None else name) for name in overview.unpriced]
    more = f" and {len(names) - MODELS_NAMED} more" if len(names) > MODELS_NAMED else ""
    calls = overview.total.unpriced_calls
    return Notice(
        "warning",
        f"{plural(calls, 'call')} of this period {_have(calls)} no price and so {_are(calls)} in no cost figure",
        f"Models: {', '.join(names[:MODELS_NAMED])}{more}. Write their prices under prices: in submeter.yaml, "
        "or fetch the newest list prices:",
        "submeter prices import",
    )


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def coverage(line: CostLine) -> str:
    """Which of the calls the three figures count, in a sentence."""
    if line.calls == 0:
        return "No calls."
    left_out = []
    if line.unpriced_calls:
        left_out.append(f"{line.unpriced_calls:,} {_have(line.unpriced_calls)} no price")
    if line.unmetered_calls:
        left_out.append(f"{line.unmetered_calls:,} passed through unmetered")
    counted = line.calls - line.unpriced_calls - line.unmetered_calls
    covered = f"{counted:,} of {plural(line.calls, 'call')}: {', '.join(left_out)}" if left_out else _all(line.calls)
    firm = (
        f" The upper bounds of {plural(line.unbounded_calls, 'call')} may be exceeded." if line.unbounded_calls else ""
    )
    return f"Covers {covered}.{firm}"


def _all(calls: int) -> str:
    return "the one call" if calls == 1 else f"all {calls:,} calls"


def between(low_nano_usd: int, high_nano_usd: int) -> str:
    """A range, both ends to the same place."""
    to = places(high_nano_usd)
    return f"{usd(low_nano_usd, to)} to {usd(high_nano_usd, to)}"


def certainty(line: CostLine) -> str:
    """How much of the cost shown is certain."""
    if not (line.estimated_calls or line.indeterminate_calls):
        return "confirmed to the nano-dollar"
    parts = []
    if line.estimated_calls:
        parts.append(f"of it {usd(line.estimated_nano_usd)} estimated")
    if line.indeterminate_calls:
        parts.append(f"up to {usd(line.indeterminate_high_nano_usd)} more indeterminate")
    return ", ".join(parts)


def per_thousand(line: CostLine) -> int:
    """Nano-USD per 1,000 calls whose cost is known, hits included: they cost nothing, and that is the point."""
    calls = line.hits + line.exact_calls + line.estimated_calls
    return 0 if calls == 0 else (1000 * line.cost_nano_usd + calls // 2) // calls


def uncounted(line: CostLine) -> str | None:
    """Why a group has no cost at all; ``None`` where it has one."""
    if line.hits + line.exact_calls + line.estimated_calls:
        return None
    if line.indeterminate_calls:
        return between(line.indeterminate_low_nano_usd, line.indeterminate_high_nano_usd)
    return "no price" if line.unpriced_calls else "unmetered"


def in_full(line: CostLine) -> str:
    """A sum to the last nano-dollar, with all that qualifies it."""
    parts = [f"confirmed {usd_exact(line.confirmed_nano_usd)}"]
    if line.estimated_calls:
        low, high = usd_exact(line.estimated_low_nano_usd), usd_exact(line.estimated_high_nano_usd)
        parts.append(f"estimated {usd_exact(line.estimated_nano_usd)} (between {low} and {high})")
    if line.indeterminate_calls:
        low, high = usd_exact(line.indeterminate_low_nano_usd), usd_exact(line.indeterminate_high_nano_usd)
        parts.append(f"{plural(line.indeterminate_calls, 'call')} of unknown end: {low} to {high} more")
    if line.unpriced_calls:
        parts.append(f"{line.unpriced_calls:,} without a price")
    if line.unmetered_calls:
        parts.append(f"{line.unmetered_calls:,} unmetered")
    return "; ".join(parts)
