"""``completions``: a choice is one text."""

from collections.abc import Iterator

from submeter.core.conversion.members import Object, add_lists, add_text, as_text, say_once


class TextChoices:
    whole_object = chunk_object = "text_completion"

    def empty(self, index: int) -> Object:
        return {"text": "", "index": index, "finish_reason": None}

    def add(self, choice: Object, piece: Object) -> None:
        for name, value in piece.items():
            if name == "text":
                add_text(choice, name, value)
            elif name == "logprobs":
                add_lists(choice, name, value)
            else:
                say_once(choice, name, value)

    def pieces(self, choice: Object) -> Iterator[Object]:
        as_text(choice.get("text"))
        yield choice
        yield {"text": "", "logprobs": None} if "logprobs" in choice else {"text": ""}
