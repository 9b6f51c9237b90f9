"""Lists in a chat message that come in pieces: content that is made of parts (Mistral), details of reasoning
(OpenRouter). What a first piece has stays as it is; what later ones add goes to the entry that they belong to."""

from submeter.core.conversion.members import (
    Object,
    Unfaithful,
    add_text,
    as_index,
    as_list,
    as_object,
    as_text,
    say_once,
)

_DETAIL_TEXTS = ("text", "summary", "data")


def add_content(message: Object, piece: object) -> None:
    """Text, or parts; who sends parts may send plain text between them."""
    said = message.get("content")
    if not isinstance(said, list) and not isinstance(piece, list):
        add_text(message, "content", piece)
    elif said in (None, ""):
        message["content"] = piece
    else:
        parts = _parts(said)
        for part in _parts(piece):
            _add_part(parts, as_object(part))
        message["content"] = parts


def _parts(content: object) -> list[object]:
    if content is None or content == "":
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else as_list(content)


def _add_part(parts: list[object], part: Object) -> None:
    """Text and thinking go on; anything else is a part of its own."""
    last = as_object(parts[-1]) if parts else {}
    kind = as_text(part.get("type"))
    if last.keys() != part.keys() or last.get("type") != kind or part.keys() != {"type", kind}:
        parts.append(part)
    elif kind == "text":
        add_text(last, "text", part["text"])
    elif kind == "thinking":
        for thought in as_list(part["thinking"]):
            _add_part(as_list(last["thinking"]), as_object(thought))
    else:
        parts.append(part)


def add_details(message: Object, name: str, pieces: list[object]) -> None:
    """Pieces with one index are of one detail."""
    details = as_list(message.get(name) or [])
    if not details:
        message[name] = pieces
        return
    for piece in map(as_object, pieces):
        index = as_index(piece.get("index"))
        same = [detail for detail in map(as_object, details) if detail.get("index") == index]
        if len(same) > 1:
            raise Unfaithful
        if not same:
            details.append(piece)
        for detail in same:
            _add_detail(detail, piece)


def _add_detail(detail: Object, piece: Object) -> None:
    for name, value in piece.items():
        if name in _DETAIL_TEXTS:
            add_text(detail, name, value)
        else:
            say_once(detail, name, value)
