"""Reads ``submeter.yaml``: values, and the line that each stands in."""

from pathlib import Path

import yaml

from submeter.errors import UsageError


class _Loader(yaml.SafeLoader):
    """Decimal numbers and dates stay the text that was written: a price must not pass through a float."""


def _as_written(loader: _Loader, node: yaml.Node) -> str:
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_yaml_str(node)


for _tag in ("float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _as_written)


def read(path: Path) -> tuple[dict[str, object], dict[str, str]]:
    """(values, dotted key → "submeter.yaml line 3: key"). Raises ``UsageError``; never quotes the file's text."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}: give the right one with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}") from None
    except yaml.YAMLError:
        raise UsageError(f"{path} holds control characters, which YAML does not allow: save it as plain text") from None
    return _parsed(loader, path)


def _parsed(loader: _Loader, path: Path) -> tuple[dict[str, object], dict[str, str]]:
    try:
        node = loader.get_single_node()
        lines = _lines(node, "", path.name) if node is not None else {}
        values = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise UsageError(f"{path.name}{line}: not valid YAML; look there for a missing colon, space or quote") from None
    except (RecursionError, ValueError):
        raise UsageError(f"{path.name}: not valid YAML; it nests too deep or holds an impossible value") from None
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise UsageError(f"{path.name}: expected settings such as `port: 4100`, one to a line")
    return values, lines


def _lines(node: yaml.Node, prefix: str, file: str) -> dict[str, str]:
    """Every key's place. Refuses a key given twice, of which YAML itself would silently drop the first."""
    places: dict[str, str] = {}
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            places |= _lines(item, f"{prefix.removesuffix('.')}[{number}].", file)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = f"{prefix}{key.value}" if isinstance(key, yaml.ScalarNode) else f"{prefix}?"
        place = f"{file} line {key.start_mark.line + 1}: {name}"
        if name in places:
            raise UsageError(f"{place} is given twice; keep one of the two")
        places |= {name: place} | _lines(value, f"{name}.", file)
    return places
