"""What a call would have cost with other tokens or another model: the arithmetic behind ``submeter whatif``.

Every assumption is a number that the asker gives; nothing is inferred. Ratios are exact decimals, and a scaled count
is rounded half-even to whole tokens once per class.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec

from submeter.core.record import INPUT_CLASSES, OUTPUT_CLASSES, TOKEN_CLASSES, TokenClasses

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_ONE = Decimal(1)
_SHORTENED = ("input_uncached", "cached_read")
"""What a shorter prompt has less of, in this order: text is dropped where it is paid in full first."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls would have been different."""

    tokenizer_ratio: Decimal = _ONE
    """Tokens of the other model's tokenizer per recorded token, of the same text; for input and output."""
    length_ratio: Decimal = _ONE
    """Length of the other model's answers per recorded one."""
    cached_share: Decimal | None = None
    """0 to 1: the part of the input that the provider's prompt cache would serve; None: as recorded."""
    fewer_input_tokens: int = 0
    """Taken off each call, before the ratios; a call that has fewer keeps none."""


def changed(tokens: TokenClasses, change: Change) -> TokenClasses:
    """The tokens of the same call after the change."""
    shorter = _shortened(tokens, change.fewer_input_tokens)
    counts = {name: _times(getattr(shorter, name), _ratio(name, change)) for name in TOKEN_CLASSES}
    scaled = TokenClasses(**counts)
    return scaled if change.cached_share is None else _cached(scaled, change.cached_share)


def _ratio(name: str, change: Change) -> Decimal:
    if name in OUTPUT_CLASSES:
        return _CONTEXT.multiply(change.tokenizer_ratio, change.length_ratio)
    return change.tokenizer_ratio


def _shortened(tokens: TokenClasses, fewer: int) -> TokenClasses:
    left: dict[str, int] = {}
    for name in _SHORTENED:
        count = getattr(tokens, name)
        taken = min(count, fewer)
        left[name], fewer = count - taken, fewer - taken
    return msgspec.structs.replace(tokens, **left)


def _cached(tokens: TokenClasses, share: Decimal) -> TokenClasses:
    """Text input split anew: so much of it read from the cache, none written to it."""
    kept = ("input_audio", "input_image", "cached_audio")
    text = sum(getattr(tokens, name) for name in INPUT_CLASSES if name not in kept)
    cached = _times(text, share)
    others = {name: getattr(tokens, name) for name in (*kept, *OUTPUT_CLASSES)}
    return TokenClasses(input_uncached=text - cached, cached_read=cached, **others)


def _times(count: int, ratio: Decimal) -> int:
    return int(_CONTEXT.to_integral_value(_CONTEXT.multiply(Decimal(count), ratio)))
