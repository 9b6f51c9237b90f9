"""The provider's own log: when each call came and its tokens went, one line of JSON per answer.

It is there to be held against what a client or a proxy measured of the same call, found by its request id: by the
monotonic clock, which processes of one machine share, to the microsecond.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec


class Instant(msgspec.Struct, frozen=True):
    """One moment by both clocks."""

    wall_ns: int
    """Since the epoch."""
    monotonic_ns: int
    """By ``time.monotonic_ns``."""

    @classmethod
    def now(cls) -> Self:
        return cls(time.time_ns(), time.monotonic_ns())


class Timing(msgspec.Struct, kw_only=True):
    """One line of the log. ``None``: no token was sent."""

    request_id: str
    received: Instant
    """The request was read to its end."""
    first_token: Instant | None = None
    """Bytes with the first token were about to be handed to the connection: the whole body, if not streamed."""
    last_token: Instant | None = None
    """The same for the last token; what ends a stream follows it."""

    def token(self) -> None:
        """Bytes with tokens go out now."""
        self.last_token = Instant.now()
        if self.first_token is None:
            self.first_token = self.last_token


class Log:
    """An append-only file of lines, each handed to the operating system at once."""

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def append(self, timing: Timing) -> None:
        os.write(self._fd, msgspec.json.encode(timing) + b"\n")


@contextmanager
def timed(log: Log | None, request_id: str, received: Instant) -> Iterator[Timing]:
    """The timing of one answer, to be filled; its line is written when the answer has ended, however it did."""
    timing = Timing(request_id=request_id, received=received)
    try:
        yield timing
    finally:
        if log is not None:
            log.append(timing)


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The lines, in the order in which the answers ended."""
    return [msgspec.json.decode(line) for line in Path(path).read_bytes().splitlines()]
