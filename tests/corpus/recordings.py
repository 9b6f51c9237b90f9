"""The recorded answers, and what must be read of them (README.md)."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from submeter.core.record import TokenClasses

FOLDER = Path(__file__).parent
TYPES = {".sse": b"text/event-stream; charset=utf-8", ".json": b"application/json"}

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z")


class Recording(NamedTuple):
    name: str
    body: bytes
    content_type: bytes
    stripped: bytes
    expected: dict[str, Any]

    @property
    def streamed(self) -> bool:
        return self.content_type.startswith(b"text/event-stream")

    @property
    def events(self) -> list[bytes]:
        return split_events(self.body)

    @property
    def usage(self) -> TokenClasses | None:
        return _tokens(self.expected["usage"])

    @property
    def cost_nano_usd(self) -> int | None:
        """The invoice line, as the arithmetic in ``cost`` has it; None where nobody can know one."""
        return None if self.expected["cost"] is None else _worked_out(self.expected["cost"])

    @property
    def seen(self) -> TokenClasses | None:
        return _tokens(self.expected["seen"])


def split_events(stream: bytes) -> list[bytes]:
    """A stream cut behind every blank line, line by line: slow, obvious, and not how the product does it."""
    events = [b""]
    for line in _LINE.findall(stream):
        blank = line.strip(b"\r\n") == b""
        ends = blank and events[-1].strip(b"\r\n") != b""
        events[-1] += line
        if ends:
            events.append(b"")
    return events if events[-1] else events[:-1]


def load(name: str) -> Recording:
    path = next(path for path in (FOLDER / f"{name}{suffix}" for suffix in TYPES) if path.exists())
    body = path.read_bytes()
    stripped = FOLDER / f"{name}.stripped"
    return Recording(
        name=name,
        body=body,
        content_type=TYPES[path.suffix],
        stripped=stripped.read_bytes() if stripped.exists() else body,
        expected=json.loads((FOLDER / f"{name}.expected.json").read_text()),
    )


def _worked_out(cost: str) -> int:
    """``12 * 1000 + 3 * 4000 = 24000``: the sum, which must be what is written."""
    terms, _, total = cost.partition(" = ")
    products = [term.split(" * ") for term in terms.split(" + ")]
    assert sum(int(count) * int(price) for count, price in products) == int(total), cost
    return int(total)


def _tokens(classes: dict[str, int] | None) -> TokenClasses | None:
    return None if classes is None else TokenClasses(**classes)


RECORDINGS = [load(path.name.removesuffix(".expected.json")) for path in sorted(FOLDER.glob("*.expected.json"))]
