"""How the report writes figures and sentences. Missing is a dash, never 0."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from math import floor, log10
from urllib.parse import urlsplit, urlunsplit

from submeter.core.figures import MISSING as MISSING
from submeter.core.figures import count as count
from submeter.core.figures import duration as duration
from submeter.core.figures import figure as figure
from submeter.core.figures import plural as plural
from submeter.core.figures import share as share
from submeter.core.figures import visible as visible
from submeter.loadtest.fit import Coefficient
from submeter.loadtest.report_result import Latency


def ms(value: float | None) -> str:
    """A cell of a column in ms: whole ones, tenths below a hundred, hundredths below ten."""
    if value is None:
        return MISSING
    return f"{value:,.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def between(interval: Coefficient) -> str:
    """With as many decimal places as the ends of the interval need to differ."""
    return f"{_to_width(interval.low, interval)} to {_to_width(interval.high, interval)}"


def central(interval: Coefficient) -> str:
    return _to_width(interval.value, interval)


def _to_width(value: float, interval: Coefficient) -> str:
    """Two digits of the interval's width are all that the value is known to."""
    width = interval.high - interval.low
    if width <= 0:
        return figure(value)
    text = f"{value:,.{min(9, max(0, 1 - floor(log10(width))))}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def holds_zero(interval: Coefficient) -> bool:
    return interval.low <= 0 <= interval.high


def terms(fit: Latency) -> list[str]:
    """The model of latency: ``350 ms``, ``0.020 ms per input token``, ``11.3 ms per output token``, to be added up."""
    return [
        f"{central(fit.a_ms)} ms",
        f"{central(fit.b_ms_per_input_token)} ms per input token",
        f"{central(fit.c_ms_per_output_token)} ms per output token",
    ]


def reading(fit: Latency) -> str:
    """What the coefficients mean for who decides about prompts and answers."""
    text = f"A thousand output tokens take {duration(1000 * fit.c_ms_per_output_token.value)}"
    if holds_zero(fit.b_ms_per_input_token):
        return f"{text}. No effect of the input's length was found: its interval contains 0."
    return f"{text}, a thousand input tokens {duration(1000 * fit.b_ms_per_input_token.value)}."


def usd(amount: str | None) -> str:
    """Cents from a dollar on, three significant digits below. The text is a decimal number; no float touches it."""
    if amount is None:
        return MISSING
    value = Decimal(amount)
    places = 2 if value >= 1 or value <= 0 else min(9, max(2, 2 - value.adjusted()))
    return f"${value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN):,f}"


def rate(per_s: float) -> str:
    return f"{figure(per_s)}/s"


def moment(rfc3339: str) -> str:
    """``2026-11-24 09:00 UTC``; what is no moment stays as it is."""
    try:
        at = datetime.fromisoformat(rfc3339)
    except ValueError:
        return rfc3339
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else rfc3339


def without_credentials(url: str) -> str:
    """Scheme, host, port and path: user names, passwords, queries and fragments may carry keys.

    Text that is no URL is not shown at all.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = parts.port
    except ValueError:
        return MISSING
    if not host or parts.scheme not in ("http", "https"):
        return MISSING
    name = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, name if port is None else f"{name}:{port}", parts.path, "", ""))
