"""One question's counts."""

import msgspec

from submeter.core.counting import Question
from submeter.core.record import Counted
from submeter.meter.counting.prompt import read_prompt
from submeter.meter.counting.tokenizer import Tokenizer


def count(question: Question, tokenizer: Tokenizer, *, own: bool, deadline_s: float) -> Counted:
    """``own``: the tokenizer is the model's. The counts are only called that where all of them are there and nothing
    was guessed: each text cut where it may be, and an output that is one text. Raises ``TooSlow``."""
    texts = _Texts(tokenizer, deadline_s)
    inputs, output = _count_input(question, texts), _count_output(question, texts)
    whole = inputs is not None and (output is not None or question.endpoint == "embeddings")
    return Counted(tokenizer.name, own and whole and question.plain and texts.exact, inputs, output)


class _Texts:
    """Counts texts, and remembers whether all of it was exact."""

    def __init__(self, tokenizer: Tokenizer, deadline_s: float) -> None:
        self.exact = True
        self._tokenizer = tokenizer
        self._deadline_s = deadline_s

    def count(self, text: str) -> int:
        tokens, exact = self._tokenizer.count(text, self._deadline_s)
        self.exact = self.exact and exact
        return tokens


def _count_output(question: Question, texts: _Texts) -> int | None:
    if question.content is None or question.other is None:
        return None
    try:
        said = [msgspec.json.decode(b'"%b"' % inside, type=str) for inside in (question.content, question.other)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return sum(map(texts.count, said))


def _count_input(question: Question, texts: _Texts) -> int | None:
    prompt = None if question.body is None else read_prompt(question.endpoint, question.body)
    return None if prompt is None else prompt.more_tokens + sum(map(texts.count, prompt.texts))
