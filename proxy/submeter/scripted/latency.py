"""How long an answer takes that shares nothing with others: scripted times, or a linear model of its lengths.

Pure: an answer in, milliseconds out, the same for equal requests, so that what an analysis finds can be held
against what was planted. ``batching`` is the model in which answers do share.
"""

import random
from collections.abc import Iterator

from submeter.scripted import text
from submeter.scripted.answer import Answer


def waits_ms(answer: Answer) -> Iterator[float]:
    """Milliseconds before each chunk with tokens: the time to the first, then the gaps.

    An answer without tokens (embeddings) has one wait too. The noise of each wait is drawn for itself, lognormal
    with mean 1, so that neither a mean nor a sum of many waits is biased by it.
    """
    noise = _noise(answer)
    yield first_token_ms(answer) * next(noise)
    script = answer.script
    for piece in answer.pieces[1:]:
        yield (script.gap_ms + script.output_ms_per_token * piece.tokens) * next(noise)


def first_token_ms(answer: Answer) -> float:
    """Milliseconds to the first token but for the noise. Tokens written to a cache were computed: not cached."""
    script, tokens = answer.script, answer.tokens
    linear = (
        script.base_ms
        + script.input_ms_per_token * (tokens.input - tokens.cached_read)
        + script.cached_ms_per_token * tokens.cached_read
    )
    return script.ttft_ms + linear  # a script has one of the two


def _noise(answer: Answer) -> Iterator[float]:
    script = answer.script
    if script.noise == 0:
        while True:
            yield 1.0
    drawn = random.Random(text.digest("latency", script.seed, answer.model, answer.tokens, answer.order.prompt))
    while True:
        yield drawn.lognormvariate(-(script.noise**2) / 2, script.noise)
