"""A tree of values as written → the frozen settings, or one line that says what is wrong, where, and what is right."""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import NODEFAULT, inspect

from submeter.config.help import description, entries, section, settable
from submeter.config.nearest import known_or_nearest
from submeter.config.settings import Upstream, decode
from submeter.errors import UsageError

S = TypeVar("S", bound=msgspec.Struct)

_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"-?[\d.]{1,15}")


class Builder:
    """Knows what the reader would call each spot: a line of the file, a variable, a flag."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def wrong(self, path: str, problem: str) -> UsageError:
        place = self._places.get(path, path)
        return UsageError(f"{place if place.isprintable() else ascii(place)}: {problem}")

    def build(self, cls: type[S], tree: object, path: str = "", **internal: object) -> S:
        """``cls`` from what the operator wrote; ``internal`` are the fields that are not the operator's."""
        if tree is None:  # `cache:` with every line below it commented out
            tree = {}
        if not isinstance(tree, dict):
            raise self.wrong(path, f"expected settings below it, got {what_is(tree)}")
        fields, prefix = settable(cls), f"{path}." if path else ""
        for key in tree:
            known_or_nearest(str(key), fields, str(self.wrong(f"{prefix}{key}", "unknown setting")))
        for name, field in fields.items():
            if field.default is NODEFAULT and field.default_factory is NODEFAULT and name not in tree:
                raise self.wrong(path, f"{name} is missing. {description(field.type)}")
        values = {key: self._value(fields[key].type, value, f"{prefix}{key}") for key, value in tree.items()}
        return cls(**values, **internal)

    def _value(self, kind: object, value: object, path: str) -> object:
        below, named = section(kind), entries(kind)
        if below is not None:
            return self.build(below, value, path)
        if named is Upstream:
            return self._upstreams(value, path)
        if named is not None:
            return {str(name): self.build(named, part, f"{path}.{name}") for name, part in self._names(value, path)}
        try:
            return msgspec.convert(value, type=kind, strict=False, dec_hook=decode)
        except msgspec.ValidationError:
            raise self.wrong(path, mismatch(kind, value)) from None

    def _upstreams(self, tree: object, path: str) -> dict[str, Upstream]:
        named = self._names(tree, path)
        for name, _ in named:
            if not isinstance(name, str) or _UPSTREAM_NAME.fullmatch(name) is None:
                raise self.wrong(
                    f"{path}.{name}", "an upstream's name has letters, digits, - and _, at most 64 of them"
                )
        return {str(name): self.build(Upstream, below, f"{path}.{name}", name=name) for name, below in named}

    def _names(self, tree: object, path: str) -> list[tuple[object, object]]:
        if tree is None:
            return []
        if not isinstance(tree, dict):
            raise self.wrong(path, f"expected names, and below each its settings, got {what_is(tree)}")
        return list(tree.items())


def mismatch(kind: object, value: object) -> str:
    """What was expected and what was found. Of the value only a number is shown: it may be a misplaced credential."""
    words = _expected(inspect.type_info(kind))
    if "number" in words and _NUMBER.fullmatch(str(value)) is not None:
        return f"expected {words}, got {value}"
    unquoted = any(isinstance(item, bool | int) for item in (value if isinstance(value, list) else [value]))
    return f"expected {words}, got {what_is(value)}{'; use quotes' if unquoted and 'text' in words else ''}"


def what_is(value: object) -> str:
    match value:
        case None | "":
            return "nothing"
        case bool():
            return "true or false"
        case int():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "settings below it"


def _expected(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _expected(kind.type)
        case inspect.UnionType():
            return _expected(next(t for t in kind.types if not isinstance(t, inspect.NoneType)))
        case inspect.IntType():
            return f"a whole number from {kind.ge} to {kind.le}"
        case inspect.FloatType():
            return f"a number {f'above {kind.gt}' if kind.ge is None else f'from {kind.ge}'}, at most {kind.le}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return f"one of {', '.join(str(value) for value in kind.values)}"
        case inspect.VarTupleType() if isinstance(kind.item_type, inspect.StrType):
            return "a list of texts"
        case inspect.VarTupleType():
            return "a list of entries, each with settings below it"
        case inspect.DictType():
            return "names, and for each another name as text"
        case _:
            return "text"
