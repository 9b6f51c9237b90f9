"""deploy/compose.yaml as Compose would read it: variables interpolated, the schema, and the values of .env.example."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
SCHEMA = jsonschema.Draft202012Validator(json.loads((Path(__file__).parent / "compose-spec.json").read_text()))

OPTIONAL = {"SUBMETER_UPSTREAM", "SUBMETER_OPS_NOTE"}
"""Empty in the example, and no secrets."""

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})")
ASSIGNMENT = re.compile(r"^([A-Z_]+)=(.*)$", re.MULTILINE)


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """``$$``, ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?why}``, which is all that the file uses."""

    def value(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        found = values.get(match["name"], "")
        if match["how"] == ":?" and not found:
            raise KeyError(f"{match['name']}: {match['rest']}")
        return found or (match["rest"] if match["how"] == ":-" else "")

    return VARIABLE.sub(value, text)


def variables() -> dict[str, set[str]]:
    """Every name that the file asks for → in which ways (``:?`` is "without it nothing starts")."""
    found: dict[str, set[str]] = {}
    for match in VARIABLE.finditer(TEXT):
        if match["name"] is not None:
            found.setdefault(match["name"], set()).add(match["how"] or "")
    return found


def assignments(text: str) -> dict[str, str]:
    return dict(ASSIGNMENT.findall(text))


def example() -> dict[str, str]:
    return assignments((DEPLOY / ".env.example").read_text())


def filled() -> dict[str, str]:
    """.env.example with its secrets filled, each with one of its own."""
    return {
        name: value if value or name in OPTIONAL else name.lower().replace("_", "") + "0" * 40
        for name, value in example().items()
    }


def composed(values: Mapping[str, str] | None = None, text: str = TEXT) -> dict[str, Any]:
    """The document, with merge keys resolved, and variables in each scalar, which stays text."""
    return dict(_filled_in(yaml.safe_load(text), filled() if values is None else values))


def _filled_in(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled_in(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled_in(value, values) for value in node]
    return interpolated(node, values) if isinstance(node, str) else node
