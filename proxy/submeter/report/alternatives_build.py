"""Values of a YAML file → frozen structs, or one line that says where, what is wrong, and the line that mends it.

Amounts stay exact: a ``Decimal`` is read from the text or the integer that was written, never from a float.
"""

import datetime as dt
import types
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from submeter.config.build import mismatch, what_is
from submeter.config.nearest import known_or_nearest
from submeter.errors import UsageError
from submeter.prices.amounts import read_amount, read_prices

S = TypeVar("S", bound=msgspec.Struct)


class Builder:
    """Knows the file's name, and in which line keys stand where the reader could tell."""

    def __init__(self, file: str, places: Mapping[str, str]) -> None:
        self._file = file
        self._places = places

    def build(self, cls: type[S], tree: object, path: str = "") -> S:
        """``cls`` out of a mapping; a mapping whose lines are all commented out is empty. Raises ``UsageError``."""
        if tree is None:
            tree = {}
        if not isinstance(tree, dict):
            raise self._wrong(path, f"expected settings below it, got {what_is(tree)}")
        fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
        for key in tree:
            known_or_nearest(str(key), fields, str(self._wrong(_below(path, str(key)), "unknown key")))
        missing = next((name for name, field in fields.items() if field.required and name not in tree), None)
        if missing is not None:
            raise self._wrong(path, f"add the line `{missing}: {_example(fields[missing].type)}`")
        values = {fields[key].name: self._value(fields[key].type, tree[key], _below(path, key)) for key in tree}
        try:
            return cls(**values)
        except ValueError as error:  # of __post_init__: keys that do not go together
            raise self._wrong(path, str(error)) from None

    def _wrong(self, path: str, problem: str) -> UsageError:
        place = self._places.get(path, f"{self._file}: {path}" if path else self._file)
        return UsageError(f"{place if place.isprintable() else ascii(place)}: {problem}")

    def _value(self, kind: Any, value: object, path: str) -> object:
        optional, kind = _without_none(kind)
        if optional and value is None:
            return None
        bare, meta = _without_meta(kind)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self.build(bare, value, path)
        if get_origin(bare) is tuple:
            return self._list(get_args(bare)[0], value, path)
        if get_origin(bare) is dict:
            return self._prices(value, path) if "prices" in _extra(meta) else self._names(bare, value, path)
        if bare is Decimal:
            return self._amount(meta, value, path)
        return self._leaf(kind, value, path)

    def _list(self, kind: Any, value: object, path: str) -> tuple[object, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._wrong(path, f"expected a list, each entry after a dash, got {what_is(value)}")
        return tuple(self._value(kind, item, f"{path}[{number}]") for number, item in enumerate(value))

    def _names(self, kind: Any, value: object, path: str) -> dict[str, object]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(path, f"expected names, and below each its settings, got {what_is(value)}")
        below = get_args(kind)[1]
        return {str(name): self._value(below, part, _below(path, str(name))) for name, part in value.items()}

    def _prices(self, value: object, path: str) -> dict[str, Decimal]:
        return read_prices(value, self._place(path), key="")

    def _amount(self, meta: Meta | None, value: object, path: str) -> Decimal:
        extra = _extra(meta)
        amount = read_amount(value, self._place(path), extra["most"], _example_of(meta))
        if "above" in extra and amount <= extra["above"]:
            raise self._wrong(path, f"must be above {extra['above']}, such as {_example_of(meta)}")
        return amount

    def _place(self, path: str) -> str:
        return str(self._wrong(path, "")).removesuffix(": ")

    def _leaf(self, kind: Any, value: object, path: str) -> object:
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            bare, meta = _without_meta(kind)
            if bare is dt.date:
                raise self._wrong(path, f"expected a day such as {_example_of(meta)}") from None
            problem = f"expected a number, got {what_is(value)}" if bare in (int, float) and meta is None else None
            raise self._wrong(path, mismatch(kind, value) if problem is None else problem) from None


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _without_none(kind: Any) -> tuple[bool, Any]:
    """(it may be missing, what it is otherwise)"""
    if get_origin(kind) in (Union, types.UnionType):
        return True, next(part for part in get_args(kind) if part is not type(None))
    return False, kind


def _without_meta(kind: Any) -> tuple[Any, Meta | None]:
    if get_origin(kind) is not Annotated:
        return kind, None
    bare, *rest = get_args(kind)
    return bare, next((meta for meta in rest if isinstance(meta, Meta)), None)


def _extra(meta: Meta | None) -> dict[str, Any]:
    return {} if meta is None or meta.extra is None else meta.extra


def _example_of(meta: Meta | None) -> str:
    return "…" if meta is None or not meta.examples else str(meta.examples[0])


def _example(kind: Any) -> str:
    return _example_of(_without_meta(_without_none(kind)[1])[1])
