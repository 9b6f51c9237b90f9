"""The invoice: what this provider says it billed, one line of JSON per request, computed from its own price table.

The line is handed to the operating system at once, so it outlives the process; ``Invoice.sync`` then waits for
the disk. The wait happens in a thread, and one ``fsync`` serves every line written before it began, so that
hundreds of streams may end at once without delaying each other's tokens.
"""

import asyncio
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from submeter.scripted.prices import Price, Tokens, cost_nano_usd, price_of


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request. ``status`` is null when no head was sent; ``model`` when the request named none."""

    request_id: str
    endpoint: str
    model: str | None
    service_tier: str | None
    status: int | None
    stream: bool
    tokens: Tokens
    input_tokens: int
    output_tokens: int
    reported: bool
    """The client was sent a usage block that is complete and true."""
    complete: bool
    """The answer was written whole; the bytes that end it follow this line."""
    closed_by_client: bool
    started_at: str
    closed_at: str
    price: Price
    price_known: bool
    cost_nano_usd: int


class Invoice:
    """An append-only file of lines. Several servers may append to one file."""

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._disk = asyncio.Lock()
        self._written = 0
        self._on_disk = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, line: Line) -> None:
        """Hand one line to the operating system. Raises ``OSError`` (a full disk is the caller's to see)."""
        os.write(self._fd, msgspec.json.encode(line) + b"\n")
        self._written += 1

    async def sync(self) -> None:
        """Return when every line appended so far is on the disk."""
        wanted = self._written
        async with self._disk:
            if self._on_disk < wanted:
                covered = self._written
                await asyncio.to_thread(os.fsync, self._fd)
                self._on_disk = covered

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)


class Bill:
    """One request's account, from its arrival to its line."""

    def __init__(self, invoice: Invoice, request_id: str, endpoint: str) -> None:
        self._invoice = invoice
        self._started_ns = time.time_ns()
        self._settled = False
        self.request_id = request_id
        self.endpoint = endpoint
        self.model: str | None = None
        self.service_tier: str | None = None
        self.status: int | None = None
        self.stream = False
        self.tokens = Tokens()
        self.reported = False
        self.outlives_client = False
        """A job's: it goes on, and is settled, whether or not anybody listens."""

    def describe(self, model: str, service_tier: str, *, stream: bool) -> None:
        """The request could be read: this is what is served."""
        self.model, self.service_tier, self.stream = model, service_tier, stream

    async def settle(self, *, complete: bool, closed_by_client: bool = False) -> None:
        """Write the line, once, and wait for the disk. Later calls do nothing."""
        if self._settled:
            return
        self._settled = True
        self._invoice.append(self._line(complete, closed_by_client))
        await self._invoice.sync()

    def _line(self, complete: bool, closed_by_client: bool) -> Line:
        price, known = price_of(self.model or "", self.service_tier or "default")
        return Line(
            request_id=self.request_id,
            endpoint=self.endpoint,
            model=self.model,
            service_tier=self.service_tier,
            status=self.status,
            stream=self.stream,
            tokens=self.tokens,
            input_tokens=self.tokens.input,
            output_tokens=self.tokens.output,
            reported=self.reported,
            complete=complete,
            closed_by_client=closed_by_client,
            started_at=_rfc3339(self._started_ns),
            closed_at=_rfc3339(time.time_ns()),
            price=price,
            price_known=known,
            cost_nano_usd=cost_nano_usd(self.tokens, price),
        )


def read_invoice(path: str | Path) -> list[dict[str, Any]]:
    """The lines, oldest first, as the file has them."""
    return [msgspec.json.decode(line) for line in Path(path).read_bytes().splitlines()]


def total_nano_usd(lines: Iterable[dict[str, Any]]) -> int:
    return sum(line["cost_nano_usd"] for line in lines)


def _rfc3339(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
