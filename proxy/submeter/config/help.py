"""Every setting that an operator can write, in one flat table: documentation and error texts are made from it."""

from collections.abc import Iterator
from typing import Annotated, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta

from submeter.config.settings import Settings


class Setting(msgspec.Struct, frozen=True):
    description: str
    default: object
    """As Python holds it; ``None`` where there is none, or where the description tells it."""
    is_list: bool
    """Written as a list in YAML, as words between spaces in the environment."""
    environ: str | None
    """The variable that sets it; ``None``: only the file can."""


def description(hint: object) -> str | None:
    """Of an ``Annotated`` field type; ``None``: the loader fills the field in, the operator cannot."""
    texts = [meta.description for meta in get_args(hint) if isinstance(meta, Meta) and meta.description]
    return texts[0] if texts else None


def settable(cls: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The operator's own fields of a struct."""
    return {field.name: field for field in msgspec.structs.fields(cls) if description(field.type) is not None}


def section(hint: object) -> type[msgspec.Struct] | None:
    """The struct that a field's settings make up; ``None``: the field is a setting itself."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return bare if isinstance(bare, type) and issubclass(bare, msgspec.Struct) else None


def entries(hint: object) -> type[msgspec.Struct] | None:
    """The struct whose settings stand below each name that the operator chooses; ``None``: it is no such field."""
    bare = get_args(hint)[0]
    return section(get_args(bare)[1]) if get_origin(bare) is dict else None


def _leaves(cls: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for name, field in settable(cls).items():
        path, below, named = f"{prefix}{name}", section(field.type), entries(field.type)
        if below is not None:
            yield from _leaves(below, f"{path}.")
        elif named is not None:
            yield from _leaves(named, f"{path}.NAME.")
        else:
            yield path, _setting(field, path)


def _setting(field: msgspec.structs.FieldInfo, path: str) -> Setting:
    kind = get_origin(get_args(field.type)[0])
    default = field.default_factory() if field.default_factory is not NODEFAULT else field.default
    in_file_only = "NAME" in path or kind is dict or path == "prices"
    return Setting(
        description=description(field.type) or "",
        default=None if default is NODEFAULT else default,
        is_list=kind is tuple,
        environ=None if in_file_only else "SUBMETER_" + path.upper().replace(".", "_"),
    )


SETTINGS_HELP: dict[str, Setting] = dict(_leaves(Settings))
"""Dotted key → what it does, its default, the variable that sets it."""

NO_SETTING = {
    "SUBMETER_CONFIG": "The settings file, as `--config`.",
    "SUBMETER_DEBUG": "1 shows the traceback when a command fails unexpectedly.",
    "SUBMETER_UPSTREAM": "Base URLs, as `--upstream`, with spaces between them.",
}
"""Variables without a dotted key, and what they do."""

ENVIRONMENT: dict[str, str] = {
    **dict.fromkeys(NO_SETTING, ""),
    **{setting.environ: path for path, setting in SETTINGS_HELP.items() if setting.environ is not None},
}
"""Every variable that is read → its dotted key, or nothing."""
