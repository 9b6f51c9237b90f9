"""Queueing under load like in a continuous-batching server, on a clock that the caller owns.

One device, one iteration after the other, by the simulator's core of the weekly report (``report.engine``): a planted
device can be measured, and simulated, and the two compared. Every iteration brings a token to each sequence that
decodes, and computes the prompts of those that wait, first come first served, while slots, ``chunk_tokens`` and
``kv_tokens`` last; the last of a prompt brings the first token. It takes ``step_ms``, ``step_ms_per_running`` for each
decode, and ``1 / prefill_tokens_per_s`` for each uncached token of a prompt. A sequence holds its slot until its last
token. So the time to the first token grows with the queue, the time per token with the sequences that run and the
prompts that come between, and the rate of requests ends at ``saturation_rate``.
"""

from typing import Annotated, NamedTuple

import msgspec

from submeter.report.engine import NEVER, Limits, Replica, StepTime
from submeter.scripted.script import Millis, Positive, ScriptError

_MS_PER_S = 1000
_NS_PER_S = 1_000_000_000
_NO_LIMIT = 2**62

StepMillis = Annotated[float, msgspec.Meta(gt=0, le=3_600_000)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device that every call to one provider shares."""

    slots: Positive
    """The most sequences that run at once; the others wait."""
    step_ms: StepMillis
    """An iteration, whatever is in it."""
    step_ms_per_running: Millis = 0
    """What each sequence that decodes adds to it."""
    prefill_tokens_per_s: Rate | None = None
    """Uncached input tokens per second; ``None``: prompts add nothing to an iteration."""
    chunk_tokens: Positive | None = None
    """Tokens of an iteration, one for each decode and the rest for prompts; ``None``: prompts are never cut."""
    kv_tokens: Positive | None = None
    """Uncached input and output tokens of the sequences that run; ``None``: all that the slots can hold."""

    def step_time(self) -> StepTime:
        fixed_s, decode_s = self.step_ms / _MS_PER_S, self.step_ms_per_running / _MS_PER_S
        prompt_s = 0 if self.prefill_tokens_per_s is None else 1 / self.prefill_tokens_per_s
        return StepTime(lambda decodes, prompt=0: fixed_s + decode_s * decodes + prompt_s * prompt)

    def limits(self) -> Limits:
        return Limits(self.slots, self.kv_tokens or _NO_LIMIT, self.chunk_tokens or _NO_LIMIT)


def read(keys: object) -> Batching:
    """The member ``batching`` of a ``--config``. Raises ``ScriptError`` for what is none."""
    try:
        return msgspec.convert(keys, Batching)
    except msgspec.ValidationError as error:
        raise ScriptError(f"batching: {error}; its keys are {', '.join(Batching.__struct_fields__)}") from None


def saturation_rate(batching: Batching, input_tokens: int, output_tokens: int) -> float:
    """The planted knee: requests per second, all of these lengths, that the device can just bear.

    ``input_tokens`` are uncached. At saturation every iteration completes as many requests as the scarcest of slots,
    cache and token budget allows: a request holds its slot for the iterations of its prompt and one for each further
    token, and takes all its tokens but the first from the budget. 0 for a request that never fits in the cache.
    """
    slots, kv_tokens, chunk_tokens = batching.limits()
    inputs, decodes = max(input_tokens, 1), max(output_tokens, 1) - 1
    at_once = min(slots, kv_tokens // (inputs + decodes + 1))
    if at_once == 0:
        return 0.0
    completed = min(at_once / (decodes + max(1, inputs / chunk_tokens)), chunk_tokens / (inputs + decodes))
    base = batching.step_time().base
    # An iteration's own time is shared by what it completes; the rest grows with decodes and prompt tokens.
    return 1 / (base(0) / completed + (base(decodes, inputs) - base(0)))


class Token(NamedTuple):
    """One token of one sequence, and when it was there."""

    sequence: int
    at_ns: int


class Batch:
    """The device at work. Times are nanoseconds of any clock, and never go back.

    Call ``advance`` up to now before a sequence joins or leaves; however late, the times of the tokens are exact.
    """

    def __init__(self, batching: Batching) -> None:
        self._replica = Replica(batching.step_time(), batching.limits(), jump=False)
        self._origin_ns = 0
        """What the replica's clock counts from, anew after each pause: its seconds stay exact to the nanosecond."""
        self._there: set[int] = set()
        """The sequences that wait or run."""

    @property
    def due_ns(self) -> int | None:
        """When the iteration under way ends; ``None``: the device is idle."""
        due_s = self._replica.due_s
        return None if due_s == NEVER else self._origin_ns + round(due_s * _NS_PER_S)

    def join(self, sequence: int, at_ns: int, *, input_tokens: int, output_tokens: int) -> None:
        """A request has arrived. One that wants no output has one token all the same: the sign of its prefill.

        Raises ``NeverFits`` for one larger than ``kv_tokens``.
        """
        due_ns = self.due_ns
        assert due_ns is None or at_ns <= due_ns, "advance first"
        if due_ns is None:
            self._origin_ns = at_ns
        self._replica.join(sequence, (at_ns - self._origin_ns) / _NS_PER_S, input_tokens, output_tokens)
        self._there.add(sequence)

    def leave(self, sequence: int) -> None:
        """Nobody wants its other tokens. An iteration under way takes its time all the same."""
        if sequence in self._there:
            self._there.remove(sequence)
            self._replica.leave(sequence)

    def advance(self, now_ns: int) -> list[Token]:
        """The tokens that have come up to and at ``now_ns`` since the last call, in order."""
        tokens: list[Token] = []
        while (due_ns := self.due_ns) is not None and due_ns <= now_ns:
            decoding = self._replica.decoding()
            firsts, lasts = self._replica.turn()
            tokens += (Token(sequence, due_ns) for sequence in (*decoding, *firsts) if sequence in self._there)
            self._there.difference_update(lasts)
        return tokens
