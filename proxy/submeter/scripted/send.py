"""One planned answer goes out: whole or streamed, at its pace, with the ending that its script asks for.

The invoice line comes before the bytes that end an answer, whichever way it ends: a client that saw the end
can rely on the line. Tokens are billed before their bytes are written: what may have been seen is billed.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiohttp import web

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Piece
from submeter.scripted.body import Body
from submeter.scripted.dialect import Dialect, encode
from submeter.scripted.invoice import Bill
from submeter.scripted.log import Timing
from submeter.scripted.pace import Pace
from submeter.scripted.prices import Tokens
from submeter.scripted.script import Ending, Script
from submeter.scripted.wire import Frame, event_bytes, frames, whole_body

_WEB_PAGE = b"<html><body>The service is being updated.</body></html>"


@dataclass(frozen=True)
class Sending:
    """What it takes to send an answer."""

    request: web.Request
    dialect: Dialect
    answer: Answer
    bill: Bill
    headers: Mapping[str, str]
    pace: Pace
    timing: Timing

    @property
    def script(self) -> Script:
        return self.answer.script

    def body(self, content_type: str) -> Body:
        encoding = {"Content-Encoding": "gzip"} if self.script.gzip else {}
        headers = {**self.headers, "Content-Type": content_type, **encoding}
        return Body(self.request, self.script, headers)

    def bill_piece(self, piece: Piece) -> None:
        self.bill.tokens = piece.added_to(self.bill.tokens)

    def tell_usage(self) -> None:
        """The usage block goes out. What it says is nothing is billed as nothing."""
        self.bill.reported = self.script.usage in usage.HONEST
        if self.script.usage == "zero":
            self.bill.tokens = Tokens()


async def send(sending: Sending) -> web.StreamResponse:
    """Generate, bill and send the answer. Its input is billed from here on."""
    sending.bill.tokens = sending.answer.tokens.prompt
    streams = sending.answer.order.stream and sending.answer.order.generates
    return await (_stream(sending) if streams else _whole(sending))


async def _whole(sending: Sending) -> web.StreamResponse:
    script, answer = sending.script, sending.answer
    for piece in answer.pieces:
        await sending.pace.next(piece)
        sending.bill_piece(piece)
    if not answer.pieces:
        await sending.pace.next(None)
    if script.not_json:
        return await _send_whole(sending, whole_body(_WEB_PAGE, script), "text/html")
    if script.malformed not in ("bad_json", "bad_utf8") and not script.whole_cut:
        sending.tell_usage()
    data = whole_body(encode(sending.dialect.whole(answer)), script)
    return await _send_whole(sending, data, "application/json")


async def _send_whole(sending: Sending, data: bytes, content_type: str) -> web.StreamResponse:
    script, body = sending.script, sending.body(content_type)
    sending.bill.status = 200
    await sending.bill.settle(complete=not script.whole_cut)
    chunked = script.chunk_bytes is not None and not script.whole_cut
    await body.open(None if chunked else len(data))
    sending.timing.token()
    if script.whole_cut:
        await body.write(data[: len(data) // 2])
        return await body.cut()
    await body.write(data)
    return await body.close()


async def _stream(sending: Sending) -> web.StreamResponse:
    script, bill = sending.script, sending.bill
    out: Iterable[Frame] = frames(sending.dialect.events(sending.answer), script)
    length = None
    if script.content_length:
        out = tuple(out)
        length = sum(len(frame.data) for frame in out)
    body, chunks = sending.body("text/event-stream; charset=utf-8"), 0
    bill.status = 200
    await body.open(length)
    for event, data in out:
        ending = script.ending(chunks)
        if ending is not None:
            return await _end_early(sending, body, ending)
        if event.piece is not None:
            await sending.pace.next(event.piece)
            sending.bill_piece(event.piece)
            chunks += 1
        if event.usage:
            sending.tell_usage()
        if event.last:
            await bill.settle(complete=True)
        if event.piece is not None and event.data:
            sending.timing.token()
        await body.write(data)
    await bill.settle(complete=True)
    await body.flush()
    await asyncio.sleep(script.slow_close_ms / 1000)
    return await body.close()


async def _end_early(sending: Sending, body: Body, ending: Ending) -> web.StreamResponse:
    if ending == "stall":
        await body.flush()
        await until_client_leaves()
    await sending.bill.settle(complete=False)
    if ending == "cut":
        return await body.cut()
    if ending == "reset":
        return body.reset()
    if ending == "error":
        error = sending.dialect.stream_error("The server had an error while processing your request.")
        await body.write(event_bytes(error, sending.script))
    return await body.close()


async def until_client_leaves() -> None:
    """Never returns: aiohttp cancels the handler when the connection is lost."""
    await asyncio.Event().wait()
