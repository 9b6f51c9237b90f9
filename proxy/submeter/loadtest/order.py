"""What `submeter loadtest` and its Locust process say to each other, in files of one directory.

order.json        the command's: what is to be asked
calls.jsonl       Locust's: a line per ended call, as it ends
settled.jsonl     the command's: a line per call whose cost is known
generator.json    Locust's, at the end: how the generator itself fared
"""

from pathlib import Path
from typing import Literal

import msgspec

from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import Call, Scenario

ORDER = "order.json"
CALLS = "calls.jsonl"
SETTLED = "settled.jsonl"
GENERATOR = "generator.json"

Stopped = Literal["done", "budget", "time"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    scenario: Scenario
    calls: list[Call]
    seed: int
    base_url: str
    """As an SDK takes it: ``http://127.0.0.1:4100/v1``."""
    model: str
    limit_nano_usd: int | None
    """``None``: no budget."""
    worst_nano_usd: list[int]
    """The most that a call can cost, by setting; empty without a budget."""
    parent_pid: int
    """When this process is gone, Locust ends too."""
    web: bool

    @property
    def models(self) -> frozenset[str]:
        """All that are asked."""
        return self.scenario.models(self.model)

    def model_of(self, call: Call) -> str:
        """The one that a call asks."""
        own = self.scenario.settings[call.setting].model
        return self.model if own is None else own


class Ended(msgspec.Struct, frozen=True):
    """A call has ended, well or not."""

    call: Call
    sample: Sample
    begun_at_ns: int
    """Unix."""
    sent: bool = True
    """``False``: surely not a byte of it has reached the server."""


class Settled(msgspec.Struct, frozen=True):
    """What a call has cost, or may have cost at most where nobody can say more."""

    number: int
    nano_usd: int


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """How Locust's process fared."""

    cpu_warning: bool
    """Locust has seen its process use more than 90 % of a core."""
    cpu_most: float | None = None
    """The share of a core that it used in its busiest two seconds of measuring; ``None``: it took less than two."""
    lag_ms_p99: float
    """How late a sleeping greenlet was woken."""
    schedule_lag_ms_p99: float | None
    """Open loop: how late calls began, other than by waiting for a free user or for money."""
    all_users_busy: int
    """Open loop: calls that began late because as many as allowed were in flight."""
    stopped: Stopped
    """Why no more calls began."""
    begun: int
    """Calls."""


class Tail:
    """Reads the whole lines that were appended to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def lines(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.splitlines()


def request_body(order: Order, call: Call) -> bytes:
    """What the call sends: plain chat, as every OpenAI-shaped server takes it."""
    scenario, setting = order.scenario, order.scenario.settings[call.setting]
    body: dict[str, object] = {
        "model": order.model_of(call),
        "messages": [{"role": "user", "content": scenario.prompt(call, order.seed)}],
        scenario.output_limit_key: setting.output_tokens,
        "temperature": setting.temperature,
        "stream": setting.stream,
    }
    if setting.stream:
        body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body | scenario.body)


def from_schedule_ns(sample: Sample) -> int | None:
    """End to end from the time when the call should have begun; ``None`` in a closed loop."""
    if sample.scheduled_ns is None or sample.e2e_ns is None:
        return None
    return sample.started_ns + sample.e2e_ns - sample.scheduled_ns
