"""deploy/Dockerfile and .dockerignore, read for what tests look at."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def instructions(text: str) -> list[tuple[str, str]]:
    """(``COPY``, the rest of its line) of every instruction, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def last(word: str, text: str) -> str:
    return [rest for name, rest in instructions(text) if name == word][-1]


def copied() -> set[str]:
    """What the builder takes from the directory it is sent."""
    sources = [rest.split()[:-1] for word, rest in instructions(DOCKERFILE.read_text()) if word == "COPY"]
    return {source for words in sources if not words[0].startswith("--from=") for source in words}


def health_check() -> list[str]:
    """The command that the image checks itself with."""
    return list(json.loads(last("HEALTHCHECK", DOCKERFILE.read_text()).partition("CMD ")[2]))


def sent(files: list[str]) -> list[str]:
    """Of these paths, those that .dockerignore lets through: the last pattern that matches decides."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    return [path for path in files if _is_sent(path, patterns)]


def _is_sent(path: str, patterns: list[str]) -> bool:
    kept = True
    for pattern in patterns:
        if _pattern(pattern.removeprefix("!")).fullmatch(path):
            kept = pattern.startswith("!")
    return kept


def _pattern(pattern: str) -> re.Pattern[str]:
    """Of a path or anything below it: ``**/`` is any directories, ``*`` any text within one name."""
    parts = re.split(r"(\*\*/|\*)", pattern)
    shapes = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(shapes[part] if part in shapes else _literal(part) for part in parts) + "(?:/.*)?")


def _literal(text: str) -> str:
    """Character classes stay what they are."""
    return re.sub(r"[.+]", lambda match: f"\\{match[0]}", text)
