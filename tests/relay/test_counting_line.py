"""The relay's line to the counting service: counts in time, or none in time, whatever the other side does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from submeter.core import counting
from submeter.core.counting import Frames, frame
from submeter.core.exchange import Exchange
from submeter.core.record import Counted, Start
from submeter.relay import counting as module
from submeter.relay.counting import Counting

BODY = b'{"model":"gpt-4o","messages":[]}'
COUNTED = Counted("o200k_base", True, 3, None)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c") / counting.SOCKET_NAME


def ended() -> Exchange:
    exchange = Exchange(Start("c", 1, "o", "chat/completions", "u", 0, model_requested="gpt-4o"), 0, countable=True)
    exchange.client_gone()
    return exchange


async def ask(line: Counting) -> Counted | None:
    counts = line.ask(ended(), BODY)
    return None if counts is None else await asyncio.wait_for(counts, 10)


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    frames = Frames()
    while data := await reader.read(4096):
        for number, payload in frames.feed(data):
            assert counting.read_question(payload).body == BODY
            writer.write(frame(number, COUNTED))
    writer.close()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"\xff" * 100)
    await reader.read()
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.close()


async def with_server(path: Path, serve: Serve, use: Callable[[], Awaitable[None]]) -> None:
    server = await asyncio.start_unix_server(serve, path)
    try:
        await use()
    finally:
        server.close()
        await asyncio.sleep(0.01)  # its connections' ends


def test_counts_come_and_the_connection_stays(socket_path: Path) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer_all(reader, writer)

    async def use() -> None:
        line = Counting(socket_path)
        assert await asyncio.gather(*[ask(line) for _ in range(5)]) == [COUNTED] * 5
        assert await ask(line) == COUNTED
        line.close()

    asyncio.run(with_server(socket_path, serve, use))
    assert connections == 1


def test_a_call_that_needs_no_counts_asks_nobody(socket_path: Path) -> None:
    async def run() -> None:
        exchange = Exchange(Start("c", 1, "o", "chat/completions", "u", 0), 0, countable=True)
        assert Counting(socket_path).ask(exchange, BODY) is None

    asyncio.run(run())


@pytest.mark.parametrize("serve", [say_nothing, talk_nonsense, hang_up])
def test_without_counts_the_call_goes_on(socket_path: Path, serve: Serve) -> None:
    async def use() -> None:
        line = Counting(socket_path)
        assert await ask(line) is None
        line.close()

    asyncio.run(with_server(socket_path, serve, use))


def test_who_does_not_keep_up_is_left_alone_for_a_while(socket_path: Path) -> None:
    async def use() -> None:
        line = Counting(socket_path)
        assert await ask(line) is None
        assert line.ask(ended(), BODY) is None, "nobody waits a second time"
        line.close()

    asyncio.run(with_server(socket_path, say_nothing, use))


def test_a_late_reply_ends_the_rest(socket_path: Path) -> None:
    """The first question makes the service load its tokenizer, and its answer comes too late to be used."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (found,) = Frames().feed(await reader.read(4096))
        await asyncio.sleep(3 * counting.DEADLINE_S)
        writer.write(frame(found[0], None))
        await answer_all(reader, writer)

    async def use() -> None:
        line = Counting(socket_path)
        assert await ask(line) is None
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if (counts := line.ask(ended(), BODY)) is not None:
                assert await counts == COUNTED
                break
        else:
            raise AssertionError("never asked again")
        line.close()

    asyncio.run(with_server(socket_path, serve, use))


def test_no_service_and_then_one(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.0)

    async def run() -> None:
        line = Counting(socket_path)
        assert await ask(line) is None
        await with_server(socket_path, hang_up, lambda: expect(line, None))
        await with_server(socket_path, answer_all, lambda: expect(line, COUNTED))
        line.close()

    async def expect(line: Counting, counted: Counted | None) -> None:
        assert await ask(line) == counted
        if counted is not None:
            line.close()

    asyncio.run(run())


def test_a_path_that_no_socket_can_have_is_no_service(tmp_path: Path) -> None:
    async def run() -> None:
        assert await ask(Counting(tmp_path / ("x" * 120))) is None

    asyncio.run(run())


def test_more_than_may_wait_are_not_asked(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        line = Counting(socket_path)
        monkeypatch.setattr(module, "MAX_WAITING", 2)
        asked = [line.ask(ended(), BODY) for _ in range(3)]
        assert [counts is None for counts in asked] == [False, False, True]
        monkeypatch.setattr(module, "MAX_WAITING", 64)
        monkeypatch.setattr(module, "MAX_UNSENT_BYTES", 0)
        assert line.ask(ended(), BODY) is None
        assert await asyncio.gather(*[counts for counts in asked if counts is not None]) == [COUNTED] * 2
        line.close()

    asyncio.run(with_server(socket_path, answer_all, use))
