"""Queueing under load like in a continuous-batching server, on a clock that the caller owns.

One device, one iteration after the other. While a slot is free and a sequence waits, the next iteration is the
prefill of the one that waited longest (``input_tokens / prefill_tokens_per_s``), which brings its first token;
meanwhile the others pause, as in a server that gives prefills priority. Every other iteration is a decode step of
``step_ms + step_ms_per_running × running``, which brings a token to each of the sequences that run. A sequence
holds its slot until its last token. So the time to the first token grows with the queue, the time per token with
the sequences that run, and the rate of requests ends at ``saturation_rate``.
"""

import math
from typing import Annotated, NamedTuple

import msgspec

from submeter.scripted.script import Millis, Positive, ScriptError

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000

StepMillis = Annotated[float, msgspec.Meta(gt=0, le=3_600_000)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device that every call to one provider shares."""

    slots: Positive
    """The most sequences that run at once; the others wait."""
    step_ms: StepMillis
    """A decode step, whatever the number of sequences in it."""
    step_ms_per_running: Millis = 0
    """What each sequence adds to a step."""
    prefill_tokens_per_s: Rate | None = None
    """Uncached input tokens per second; ``None``: a prefill takes no time."""

    def prefill_ns(self, input_tokens: int) -> int:
        rate = self.prefill_tokens_per_s
        return 0 if rate is None else round(input_tokens / rate * _NS_PER_S)

    def step_ns(self, running: int) -> int:
        return round((self.step_ms + self.step_ms_per_running * running) * _NS_PER_MS)


def read(keys: object) -> Batching:
    """The member ``batching`` of a ``--config``. Raises ``ScriptError`` for what is none."""
    try:
        return msgspec.convert(keys, Batching)
    except msgspec.ValidationError as error:
        raise ScriptError(f"batching: {error}; its keys are {', '.join(Batching.__struct_fields__)}") from None


def saturation_rate(batching: Batching, input_tokens: int, output_tokens: int) -> float:
    """The planted knee: requests per second, all of these lengths, that the device can just bear.

    ``input_tokens`` are uncached. At saturation all slots run, so a request takes its prefill and its share of
    ``output_tokens - 1`` full steps (its first token comes with the prefill). ``inf`` where that is no time at all.
    """
    steps = max(output_tokens, 1) - 1
    request_ns = batching.prefill_ns(input_tokens) + steps * batching.step_ns(batching.slots) / batching.slots
    return _NS_PER_S / request_ns if request_ns > 0 else math.inf


class Token(NamedTuple):
    """One token of one sequence, and when it was there."""

    sequence: int
    at_ns: int


class Batch:
    """The device at work. Times are nanoseconds of any clock, and never go back.

    Call ``advance`` up to now before a sequence joins or leaves; however late, the times of the tokens are exact.
    """

    def __init__(self, batching: Batching) -> None:
        self._batching = batching
        self._waiting: dict[int, tuple[int, int]] = {}
        """(input, output) tokens of each sequence without a slot, oldest first."""
        self._running: dict[int, int] = {}
        """Tokens still to come to each sequence with a slot."""
        self._computed: tuple[int, ...] = ()
        """The sequences that the iteration under way brings a token."""
        self.due_ns: int | None = None
        """When the iteration under way ends; ``None``: the device is idle."""

    def join(self, sequence: int, at_ns: int, *, input_tokens: int, output_tokens: int) -> None:
        """A request has arrived. One that wants no output has one token all the same: the sign of its prefill."""
        assert self.due_ns is None or at_ns < self.due_ns, "advance first"
        self._waiting[sequence] = (input_tokens, max(output_tokens, 1))
        if self.due_ns is None:
            self._begin(at_ns)

    def leave(self, sequence: int) -> None:
        """Nobody wants its other tokens. An iteration under way takes its time all the same."""
        self._waiting.pop(sequence, None)
        self._running.pop(sequence, None)

    def advance(self, now_ns: int) -> list[Token]:
        """The tokens that have come up to and at ``now_ns`` since the last call, in order."""
        tokens: list[Token] = []
        while self.due_ns is not None and self.due_ns <= now_ns:
            ended_ns = self.due_ns
            tokens += (Token(sequence, ended_ns) for sequence in self._finished())
            self._begin(ended_ns)
        return tokens

    def _begin(self, at_ns: int) -> None:
        """Start the next iteration, if there is anything to compute."""
        if self._waiting and len(self._running) < self._batching.slots:
            sequence = next(iter(self._waiting))
            input_tokens, self._running[sequence] = self._waiting.pop(sequence)
            self._computed, taken_ns = (sequence,), self._batching.prefill_ns(input_tokens)
        elif self._running:
            self._computed, taken_ns = tuple(self._running), self._batching.step_ns(len(self._running))
        else:
            self._computed, self.due_ns = (), None
            return
        self.due_ns = at_ns + taken_ns

    def _finished(self) -> list[int]:
        """Count a token to each sequence of the iteration that ends, and free the slots of the complete ones."""
        here = [sequence for sequence in self._computed if sequence in self._running]
        for sequence in here:
            self._running[sequence] -= 1
            if self._running[sequence] == 0:
                del self._running[sequence]
        return here
