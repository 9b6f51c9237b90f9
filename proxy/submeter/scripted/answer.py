"""The plan of one answer: what was asked, and every piece that will be generated, before a byte is sent."""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from submeter.scripted import text
from submeter.scripted.prices import Tokens
from submeter.scripted.script import Script

Json = dict[str, object]
Kind = Literal["reasoning", "text", "tool"]

_FIXED_CREATED = 1_700_000_000


@dataclass(frozen=True)
class Tool:
    """A function that the request declares; a call of it fills one argument."""

    name: str
    argument: str

    @classmethod
    def of(cls, name: object, schema: object) -> Self:
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        return cls(str(name), str(next(iter(properties), "text")) if isinstance(properties, Mapping) else "text")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a request asks for, in words common to all dialects."""

    model: str
    prompt: str
    """The canonical prompt text: with the model and the seed it decides the answer."""
    input_tokens: int
    stream: bool = False
    stream_options: bool = False
    include_usage: bool = False
    n: int = 1
    limit: int | None = None
    """The most tokens that a choice may have, reasoning included."""
    tool: Tool | None = None
    tool_required: bool = False
    service_tier: str = "default"
    background: bool = False
    """Take the job, answer when asked for it."""
    store: bool = False
    """Keep the answer, to be asked for again."""
    generates: bool = True
    """False for embeddings: there is no output and no prompt cache."""
    names_ttl: bool = False
    """The dialect reports cache writes by time to live."""


@dataclass(frozen=True)
class Piece:
    """One chunk of one choice: what is generated between two waits."""

    choice: int
    kind: Kind
    text: str
    tokens: int
    first: bool
    """The first of its kind in its choice."""

    def added_to(self, tokens: Tokens) -> Tokens:
        """``tokens`` once this piece is generated."""
        if self.kind == "reasoning":
            return tokens.plus(reasoning=self.tokens)
        return tokens.plus(output_text=self.tokens)


@dataclass(frozen=True)
class Answer:
    order: Order
    script: Script
    model: str
    """The model that the answer names, and that is billed."""
    ident: str
    """Hexadecimal digits for the ids in this answer."""
    created: int
    tool: Tool | None
    """The tool that this answer calls, if it calls one."""
    pieces: tuple[Piece, ...]
    truncated: bool
    tokens: Tokens
    """The truth: what the whole answer counts."""

    @property
    def shows_reasoning(self) -> bool:
        return self.tokens.reasoning > 0 and self.script.reasoning == "shown"

    def shows(self, piece: Piece) -> bool:
        """Whether a client sees the piece; hidden reasoning takes its time and costs its tokens all the same."""
        return piece.kind != "reasoning" or self.shows_reasoning

    def of(self, kind: Kind, choice: int = 0) -> list[Piece]:
        return [piece for piece in self.pieces if piece.kind == kind and piece.choice == choice]

    def text(self, kind: Kind, choice: int = 0) -> str:
        return "".join(piece.text for piece in self.of(kind, choice))


def plan(order: Order, script: Script) -> Answer:
    """Decide everything about the answer to ``order``."""
    model = script.model_served or order.model
    key = text.digest(script.seed, model, order.prompt)
    reasoning, output, truncated = _lengths(order, script)
    tool = order.tool if order.tool_required or script.tool_call else None
    lanes = [
        [*_thought(key, choice, reasoning, script), *_said(key, choice, output, script, tool, truncated)]
        for choice in range(order.n)
    ]
    return Answer(
        order=order,
        script=script,
        model=model,
        ident=key if script.fixed_ids else uuid.uuid4().hex,
        created=_FIXED_CREATED if script.fixed_ids else int(time.time()),
        tool=tool,
        pieces=tuple(piece for step in zip(*lanes, strict=True) for piece in step),
        truncated=truncated,
        tokens=_tokens(order, script, reasoning * order.n, output * order.n),
    )


def _lengths(order: Order, script: Script) -> tuple[int, int, bool]:
    """Reasoning and output tokens of each choice, and whether the limit cut them short."""
    if not order.generates:
        return 0, 0, False
    wanted = script.reasoning_tokens + script.output_tokens
    allowed = wanted if order.limit is None else min(wanted, max(order.limit, 0))
    reasoning = min(script.reasoning_tokens, allowed)
    return reasoning, allowed - reasoning, allowed < wanted


def _tokens(order: Order, script: Script, reasoning: int, output: int) -> Tokens:
    """The prompt, counted or scripted but never smaller than its scripted parts, and the output."""
    prompt = order.input_tokens if script.input_tokens is None else script.input_tokens
    if not order.generates:
        return Tokens(input_uncached=prompt)
    write, write_5m, write_1h = (
        script.cache_write_tokens,
        script.cache_write_5m_tokens,
        script.cache_write_1h_tokens,
    )
    if not order.names_ttl:
        write, write_5m, write_1h = write + write_5m + write_1h, 0, 0
    return Tokens(
        input_uncached=max(prompt - script.cached_tokens - write - write_5m - write_1h, 0),
        cached_read=script.cached_tokens,
        cache_write=write,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output_text=output,
        reasoning=reasoning,
    )


def _thought(key: str, choice: int, count: int, script: Script) -> list[Piece]:
    words = text.words(f"{key} thought {choice}", count, script.text)
    return _pieces(words, choice, "reasoning", script.tokens_per_chunk)


def _said(key: str, choice: int, count: int, script: Script, tool: Tool | None, truncated: bool) -> list[Piece]:
    words = text.words(f"{key} answer {choice}", count, script.text)
    if tool is None:
        return _pieces(words, choice, "text", script.tokens_per_chunk)
    if words:
        words[0] = "{" + json.dumps(tool.argument) + ':"' + words[0]
        words[-1] += "" if truncated else '"}'
    return _pieces(words, choice, "tool", script.tokens_per_chunk)


def _pieces(words: list[str], choice: int, kind: Kind, size: int) -> list[Piece]:
    starts = range(0, len(words), size)
    groups = [words[start : start + size] for start in starts]
    return [Piece(choice, kind, "".join(group), len(group), place == 0) for place, group in enumerate(groups)]
