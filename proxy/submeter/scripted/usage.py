"""The usage block as the script wants it told: true, absent, or false in a way that a client must survive."""

from collections.abc import Callable

import msgspec

from submeter.scripted.answer import Answer, Json
from submeter.scripted.prices import Tokens
from submeter.scripted.script import UsageMode

HONEST: frozenset[UsageMode] = frozenset({"normal", "zero", "finish_chunk", "repeated", "cumulative", "decreasing"})
"""The modes whose last block is what the provider bills. ``zero`` is one: what it reports as zero is free."""

Block = Callable[[Tokens], Json]
"""A dialect's usage block for some token counts."""

_LIES: dict[UsageMode, Callable[[int], object]] = {
    "zero": lambda count: 0,
    "negative": lambda count: -count - 1,
    "nan": lambda count: msgspec.Raw(b"NaN"),
    "float": lambda count: count + 0.5,
    "string": str,
    "huge": lambda count: 2**60 + count,
}
_MORE = 100


def last(answer: Answer, block: Block) -> Json:
    """The member ``usage`` that ends an answer: ``{}`` when the script leaves it out."""
    mode = answer.script.usage
    if mode == "none":
        return {}
    if mode == "null":
        return {"usage": None}
    told = block(answer.tokens)
    if mode == "inconsistent":
        return {"usage": _each_detail(told)}
    return {"usage": _each(told, _LIES[mode]) if mode in _LIES else told}


def so_far(answer: Answer, block: Block, generated: Tokens) -> Json | None:
    """The block that an unfinished answer carries, for the scripts that want one."""
    match answer.script.usage:
        case "cumulative":
            return block(generated)
        case "decreasing":
            return _each(block(answer.tokens), lambda count: count + _MORE)
        case _:
            return None


def _each(block: Json, change: Callable[[int], object]) -> Json:
    """``block`` with every count changed, those of its details too."""
    changed: Json = {}
    for name, value in block.items():
        if isinstance(value, dict):
            changed[name] = _each(value, change)
        else:
            changed[name] = change(value) if isinstance(value, int) else value
    return changed


def _each_detail(block: Json) -> Json:
    """``block`` with parts that exceed their whole."""
    return {
        name: _each(value, lambda count: count + 1_000_000) if isinstance(value, dict) else value
        for name, value in block.items()
    }
