"""A call that waits for its counts: nothing is read, nothing is handed over, and FINISH comes before the last bytes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from submeter.core.exchange import Exchange
from submeter.core.record import Counted, Finish, Start
from submeter.relay.forward import End, ForwardedAnswer
from submeter.relay.server import ClientConnection
from submeter.relay.upstream import UpstreamConnection

COUNTED = Counted("o200k_base", True, 3, 1)
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Rig:
    """One streamed answer without usage. ``log``: what happens to journal, client and upstream, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.finish_record: Finish | None = None
        self.counts: asyncio.Future[Counted | None] = asyncio.get_running_loop().create_future()
        start = Start("c", 1, "o", "chat/completions", "u", 0, model_requested="gpt-4o", stream=True)
        self.answer = ForwardedAnswer(
            cast(ClientConnection, self),
            cast(UpstreamConnection, self),
            Exchange(start, 0, countable=True),
            cast(Any, self),
            our_headers=[],
            chunked=True,
            close=False,
            head_only=False,
            configured_key=False,
            injected="",
            count=self.ask,
        )
        self.read(lambda: self.answer.head(200, b"OK", [(b"Content-Type", b"text/event-stream")]))
        self.read(lambda: self.answer.data(DELTA))
        self.log.clear()

    def ask(self) -> asyncio.Future[Counted | None] | None:
        question = self.answer.exchange.question(b"{}")
        self.log.append("ask" if question is not None else "nothing to ask")
        return None if question is None else self.counts

    def read(self, *steps: Callable[[], None]) -> None:
        self.answer.read_begins()
        for step in steps:
            step()
        self.answer.read_done()

    # the client, the upstream connection and the journal

    def write(self, data: bytes) -> None:
        self.log.append("done to client" if b"[DONE]" in data else "end to client" if data[:3] == b"0\r\n" else "bytes")

    def pause(self, paused: bool) -> None:
        self.log.append("pause" if paused else "resume")

    def close(self) -> None:
        self.log.append("close")

    def release(self) -> None:
        self.log.append("release")

    def first(self, _: Any) -> None:
        self.log.append("first")

    def finish(self, record: Finish) -> None:
        self.finish_record = record
        self.log.append("FINISH")

    @property
    def counted(self) -> Counted | None:
        assert self.finish_record is not None
        return self.finish_record.counted


def run(test: Callable[[Rig], Awaitable[None]]) -> None:
    async def with_rig() -> None:
        await test(Rig())

    asyncio.run(with_rig())


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_finish_with_its_counts_comes_before_the_end() -> None:
    async def test(rig: Rig) -> None:
        rig.read(lambda: rig.answer.data(DONE))
        assert rig.log == ["ask", "pause"]
        rig.counts.set_result(COUNTED)
        await turn()
        assert rig.log == ["ask", "pause", "FINISH", "resume", "done to client"]
        assert rig.counted == COUNTED
        rig.read(rig.answer.end)
        assert rig.log[5:] == ["end to client", "release"]
        assert await rig.answer.ended is End.WHOLE

    run(test)


def test_the_body_may_end_in_the_same_read() -> None:
    async def test(rig: Rig) -> None:
        rig.read(lambda: rig.answer.data(DONE), rig.answer.end)
        rig.counts.set_result(None)
        assert await rig.answer.ended is End.WHOLE
        assert rig.log == ["ask", "pause", "FINISH", "resume", "done to client", "release"]
        assert rig.counted is None

    run(test)


def test_an_upstream_that_is_lost_meanwhile_cuts_the_call() -> None:
    async def test(rig: Rig) -> None:
        rig.read(lambda: rig.answer.data(DONE))
        rig.answer.lost(timeout=False)
        assert rig.log == ["ask", "pause"]
        rig.counts.set_result(COUNTED)
        assert await rig.answer.ended is End.CUT
        assert rig.log[2:] == ["FINISH", "resume", "done to client", "close"]

    run(test)


def test_a_stream_that_breaks_off_is_counted_as_far_as_it_went() -> None:
    async def test(rig: Rig) -> None:
        rig.answer.lost(timeout=False)
        rig.counts.set_result(COUNTED)
        assert await rig.answer.ended is End.CUT
        assert rig.log == ["ask", "pause", "FINISH", "resume", "bytes", "close"]
        assert rig.finish_record is not None
        assert (rig.finish_record.outcome, rig.counted) == ("upstream_incomplete", COUNTED)

    run(test)


def test_a_caller_that_goes_closes_the_upstream_at_once() -> None:
    async def test(rig: Rig) -> None:
        assert rig.answer.client_gone(drain=False) is False
        assert rig.log == ["close", "ask", "pause"]
        assert not rig.answer.ended.done()
        rig.counts.set_result(COUNTED)
        assert await rig.answer.ended is End.GONE
        assert rig.log[3] == "FINISH"
        assert rig.finish_record is not None
        assert (rig.finish_record.outcome, rig.counted) == ("client_gone", COUNTED)

    run(test)


def test_a_caller_that_goes_during_the_wait_gets_nothing_and_one_finish() -> None:
    async def test(rig: Rig) -> None:
        rig.read(lambda: rig.answer.data(DONE), rig.answer.end)
        assert rig.answer.client_gone(drain=True) is False
        rig.counts.set_result(COUNTED)
        assert await rig.answer.ended is End.GONE
        assert rig.log.count("FINISH") == 1
        assert "done to client" not in rig.log
        assert rig.finish_record is not None
        assert rig.finish_record.outcome == "ok"

    run(test)


def test_shutting_down_waits_for_nothing() -> None:
    async def test(rig: Rig) -> None:
        rig.read(lambda: rig.answer.data(DONE))
        rig.answer.abandon(at_once=True)
        assert rig.answer.ended.result() is End.GONE
        assert rig.log.count("FINISH") == 1
        rig.counts.set_result(COUNTED)
        await turn()
        assert rig.log.count("FINISH") == 1
        assert rig.counted is None

    run(test)


def test_a_fault_of_ours_asks_nobody() -> None:
    async def test(rig: Rig) -> None:
        rig.answer.abandon(at_once=True)
        assert rig.log == ["FINISH", "close", "close"]

    run(test)


def test_the_upstream_stays_paused_for_a_slow_caller() -> None:
    async def test(rig: Rig) -> None:
        rig.read(lambda: rig.answer.data(DONE))
        rig.answer.client_paused(True)
        rig.answer.client_paused(False)
        assert rig.log == ["ask", "pause", "pause", "pause"], "the counts are still missing"
        rig.answer.client_paused(True)
        rig.counts.set_result(COUNTED)
        await turn()
        assert rig.log[4:] == ["pause", "FINISH", "pause", "done to client"]
        rig.answer.client_paused(False)
        assert rig.log[-1] == "resume"

    run(test)


def test_reported_usage_waits_for_nothing() -> None:
    async def test(rig: Rig) -> None:
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
        rig.read(lambda: rig.answer.data(usage + DONE), rig.answer.end)
        assert await rig.answer.ended is End.WHOLE
        assert rig.log == ["nothing to ask", "FINISH", "done to client", "release"]

    run(test)
