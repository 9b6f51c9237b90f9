"""One replica of a continuous-batching server, computed from event to event instead of from step to step.

The server works in iterations (Yu et al., "Orca", OSDI 2022, section 3). Each decodes one token of every sequence that
runs, and spends what is left of its token budget on the prompts that wait, first come first served, in chunks where a
prompt is longer than the rest of the budget (Agrawal et al., "Sarathi-Serve", OSDI 2024, section 4). A sequence is
let in once a slot is free and the key-value cache has room for all its input and output, so none is ever thrown out
again. The iteration that computes the last of a prompt brings the first token.

While nobody comes or goes and no prompt is computed, the same B sequences decode and only their contexts grow, by B
tokens a step. So the end of the k-th step is a quadratic in k, and a thousand steps cost as much as one. The caller
owns the clock: ``join`` and ``leave`` while time passes, ``turn`` when ``due_s`` has come.

All times are seconds of one clock, whichever. Left out: preemption, speculative decoding, disaggregated prefill.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heappop, heappush
from typing import NamedTuple

NEVER = math.inf


class NeverFits(ValueError):
    """A sequence larger than the whole key-value cache: no waiting would help it."""

    def __init__(self, tokens: int, kv_tokens: int) -> None:
        super().__init__(f"{tokens} tokens of input and output, but the key-value cache holds {kv_tokens}")


@dataclass(frozen=True, slots=True)
class StepTime:
    """The seconds of one iteration: B decodes whose contexts sum to C, and P prompt tokens after c0 earlier ones.

    ``base(B, P) + kv_s_per_token·(C + c0) + attention_s·P·(c0 + P/2)``, c0 and the last term summed over the prompts.
    """

    base: Callable[..., float]
    """``base(decodes, prompt_tokens=0)``: all that does not depend on contexts; above 0."""
    kv_s_per_token: float = 0.0
    """To read one token's keys and values."""
    attention_s: float = 0.0
    """Of one prompt token to one earlier token."""


class Limits(NamedTuple):
    """What a replica holds, and what it computes at once."""

    slots: int
    """Sequences that run."""
    kv_tokens: int
    """Tokens of input and output reserved by the sequences that run."""
    chunk_tokens: int
    """The token budget of an iteration: one for each decode, the rest for prompts."""

    def reserve(self, input_tokens: int, output_tokens: int) -> int:
        """The tokens that a sequence takes of the cache while it runs. Raises ``NeverFits``."""
        tokens = max(input_tokens, 1) + max(output_tokens, 1)
        if tokens > self.kv_tokens:
            raise NeverFits(tokens, self.kv_tokens)
        return tokens


_Call = tuple[int, int, int]
"""number, input tokens, output tokens"""


class Replica:
    """A server at work. ``jump=False`` goes step by step, for a caller who hands out every token as it comes."""

    __slots__ = (
        "_begun",
        "_context",
        "_decode_s",
        "_firsts",
        "_gone",
        "_jump",
        "_linear_s",
        "_quadratic_s",
        "_reserved",
        "_running",
        "_start_s",
        "_step",
        "_steps",
        "_steps_done",
        "_waiting",
        "due_s",
        "limits",
    )

    def __init__(self, step: StepTime, limits: Limits, *, jump: bool = True) -> None:
        self._step, self.limits, self._jump = step, limits, jump
        self._decode_s = cache(step.base)
        self._waiting: deque[_Call] = deque()
        self._begun: tuple[_Call, int] | None = None
        """The prompt of which a part is computed, and how much of it."""
        self._firsts: Sequence[_Call] = ()
        """Whose first token the segment under way brings."""
        self._running: list[tuple[int, int, int]] = []
        """A heap of those that decode: (number of the step that brings the last token, number, tokens in the end)."""
        self._context = 0
        self._reserved = 0
        self._gone: set[int] = set()
        self._steps_done = 0
        self._start_s, self._steps, self._linear_s, self._quadratic_s = 0.0, 0, 0.0, 0.0
        self.due_s = NEVER
        """When the segment under way ends; ``NEVER``: nothing is under way."""

    @property
    def reserved_tokens(self) -> int:
        """Of the key-value cache, never more than ``limits.kv_tokens``."""
        return self._reserved

    def step_ends_s(self) -> Iterator[float]:
        """When each step of the segment under way ends, and with it a token of each that decodes is there."""
        return map(self._ends_s, range(1, self._steps + 1))

    def decoding(self) -> list[int]:
        """The sequences to which each step of the segment under way brings a token."""
        return sorted(number for _, number, _ in self._running)

    def join(self, number: int, at_s: float, input_tokens: int, output_tokens: int) -> None:
        """A request has come. Without output it gets one token all the same: the sign that its prompt is computed.

        Who comes at the very end of an iteration takes part in the next. Raises ``NeverFits``.
        """
        tokens = self.limits.reserve(input_tokens, output_tokens)
        alone = not self._waiting
        self._waiting.append((number, max(input_tokens, 1), max(output_tokens, 1)))
        if self.due_s == NEVER:
            self._start_s = self.due_s = at_s  # a segment of no steps: all who come at this instant begin together
        elif alone and self._steps > 1 and self._has_room(tokens):
            self._cut(at_s)

    def leave(self, number: int) -> None:
        """Nobody wants the other tokens of one that waits or runs: it is out when the segment under way has ended."""
        self._gone.add(number)

    def turn(self) -> tuple[Sequence[int], Sequence[int]]:
        """End the segment under way and begin the next: who got a first token at what was ``due_s``, and who a last."""
        running, context, reserved = self._running, self._context + len(self._running) * self._steps, self._reserved
        self._steps_done = now = self._steps_done + self._steps
        if self._gone:
            context, reserved = self._forget_gone(context, reserved)
        firsts: list[int] = []
        done: list[int] = []
        while running and running[0][0] == now:
            _, number, tokens = heappop(running)
            done.append(number)
            context -= tokens
            reserved -= tokens
        for number, input_tokens, output_tokens in self._firsts:
            firsts.append(number)
            if output_tokens > 1:
                heappush(running, (now + output_tokens - 1, number, input_tokens + output_tokens))
                context += input_tokens + 1
            else:
                done.append(number)
                reserved -= input_tokens + 1
        self._context, self._reserved = context, reserved
        self._begin()
        return firsts, done

    def _begin(self) -> None:
        """The next segment: an iteration with prompts, or decodes up to the next last token, or nothing."""
        step, running = self._step, len(self._running)
        self._start_s = self.due_s
        if (self._waiting or self._begun) and (iteration_s := self._prompts()):
            self._steps, self._linear_s, self._quadratic_s = 1, iteration_s, 0.0
            self.due_s += iteration_s
        elif running:
            self._firsts = ()
            self._steps = steps = self._running[0][0] - self._steps_done if self._jump else 1
            self._quadratic_s = half_growth_s = step.kv_s_per_token * running / 2
            self._linear_s = self._decode_s(running) + step.kv_s_per_token * self._context - half_growth_s
            self.due_s += steps * (self._linear_s + steps * half_growth_s)
        else:
            self._firsts = ()
            self._steps, self.due_s = 0, NEVER

    def _ends_s(self, step: int) -> float:
        """When the segment's n-th step ends: a quadratic, as each step reads what the one before has added."""
        return self._start_s + step * (self._linear_s + step * self._quadratic_s)

    def _prompts(self) -> float:
        """Fill the iteration's budget with prompts: the seconds that it takes, or 0 if there is room for none."""
        step, waiting, begun, firsts = self._step, self._waiting, self._begun, list[_Call]()
        running = len(self._running)
        slots, kv_tokens, budget = self.limits
        left = budget = budget - running
        earlier, pairs = 0, 0.0
        while left > 0:
            if begun:
                (call, computed), begun = begun, None
            elif waiting and running + len(firsts) < slots:
                call, computed = waiting[0], 0
                if self._reserved + call[1] + call[2] > kv_tokens:
                    break
                self._reserved += call[1] + call[2]
                waiting.popleft()
            else:
                break
            now = call[1] - computed
            if now > left:
                now = left
                begun = (call, computed + now)
            else:
                firsts.append(call)
            left -= now
            earlier += computed
            pairs += now * (computed + now / 2)
        self._begun, self._firsts = begun, firsts
        if left == budget:
            return 0.0
        base_s = step.base(running, budget - left)
        return base_s + step.kv_s_per_token * (self._context + earlier) + step.attention_s * pairs

    def _has_room(self, tokens: int) -> bool:
        """Whether a sequence that comes now would be let in when the step under way ends."""
        running, limits = len(self._running), self.limits
        return running < min(limits.slots, limits.chunk_tokens) and self._reserved + tokens <= limits.kv_tokens

    def _cut(self, at_s: float) -> None:
        """End the segment with the first step that ends at ``at_s`` or later: the positive root of the quadratic."""
        past_s, a, b = max(at_s - self._start_s, 0.0), self._quadratic_s, self._linear_s
        # Rounding may leave the root a step short of or past the boundary.
        step = int(2 * past_s / (b + math.sqrt(b * b + 4 * a * past_s)))
        while step > 1 and self._ends_s(step - 1) >= at_s:
            step -= 1
        while step < 1 or self._ends_s(step) < at_s:
            step += 1
        if step < self._steps:
            self._steps, self.due_s = step, self._ends_s(step)

    def _forget_gone(self, context: int, reserved: int) -> tuple[int, int]:
        """Drop who left, wherever it is; ``context`` and ``reserved`` without them."""
        gone, self._gone = self._gone, set()
        for last, number, tokens in self._running:
            if number in gone:
                context -= tokens - (last - self._steps_done)
                reserved -= tokens
        for number, input_tokens, output_tokens in (*self._firsts, *((self._begun[0],) if self._begun else ())):
            if number in gone:
                reserved -= input_tokens + output_tokens
        if self._begun and self._begun[0][0] in gone:
            self._begun = None
        self._firsts = [call for call in self._firsts if call[0] not in gone]
        self._waiting = deque(call for call in self._waiting if call[0] not in gone)
        self._running[:] = [entry for entry in self._running if entry[1] not in gone]
        heapify(self._running)
        return context, reserved
