"""How the meter itself is doing."""

import msgspec


class Health(msgspec.Struct, frozen=True):
    """``reason`` is fixed text for people. ``lag_s`` and ``lag_bytes``: what the ledger has yet to read."""

    ready: bool
    degraded: bool
    reason: str | None
    in_flight: int
    lag_s: float
    lag_bytes: int
