"""JSON members, and how those of a stream's events become those of the whole.

Numbers keep their digits: what has a fraction is read as a ``Decimal``.
"""

from decimal import Decimal, InvalidOperation

import msgspec

Object = dict[str, object]
NOTHING: tuple[object, ...] = (None, "", [], {})

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


class Unfaithful(Exception):
    """The other form has no place for something in this answer."""


def read(data: bytes | str) -> Object:
    try:
        return as_object(_decoder.decode(data))
    except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidOperation) as why:
        raise Unfaithful from why


def write(value: object) -> bytes:
    return _encoder.encode(value)


def as_object(value: object) -> Object:
    if not isinstance(value, dict):
        raise Unfaithful
    return value


def as_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Unfaithful
    return value


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise Unfaithful
    return value


def as_index(value: object) -> int:
    if type(value) is not int or value < 0:
        raise Unfaithful
    return value


def without(source: Object, *names: str) -> Object:
    return {name: value for name, value in source.items() if name not in names}


def say_once(into: Object, name: str, value: object) -> None:
    """A member that has one value, however often it is said; an empty value says nothing. Two values that differ may
    be pieces, or corrections, of something that is not known here."""
    said = into.get(name)
    if name not in into or (said in NOTHING and value is not None):
        into[name] = value
    elif value not in NOTHING and value != said:
        raise Unfaithful


def add_text(into: Object, name: str, piece: object) -> None:
    """A string that comes in pieces; null is none of them."""
    said = into.get(name)
    if piece is None:
        into.setdefault(name, None)
    else:
        into[name] = ("" if said is None else as_text(said)) + as_text(piece)


def add_lists(into: Object, name: str, pieces: object) -> None:
    """An object of lists that come in pieces, as log probabilities do; null is none of them."""
    if pieces is None:
        into.setdefault(name, None)
        return
    said = into.get(name)
    lists: Object = {} if said is None else as_object(said)
    for key, more in as_object(pieces).items():
        before = lists.get(key)
        if more is None:
            lists.setdefault(key, None)
        else:
            lists[key] = ([] if before is None else as_list(before)) + as_list(more)
    into[name] = lists
