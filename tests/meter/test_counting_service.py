"""The service on its socket: frames, bounds, and what comes in that is no question."""

import asyncio
import logging
import stat
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core import counting
from submeter.core.counting import BadFrame, Frames, Question, frame, read_question, read_reply
from submeter.core.record import Counted
from submeter.meter.counting import service as module
from submeter.meter.counting.service import CountingService

QUESTION = Question("embeddings", "gpt-4o", b'{"input":"the meter"}', None, None, plain=True)
ANSWER = Counted("o200k_base", True, 2, None)


@pytest.fixture
def short_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")


def served(directory: Path, use: Callable[[CountingService], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        service = CountingService(directory, **options)
        await service.start()
        try:
            await use(service)
        finally:
            await service.stop()

    asyncio.run(run())


async def ask(directory: Path, *questions: Question, before: bytes = b"") -> dict[int, Counted | None]:
    reader, writer = await asyncio.open_unix_connection(directory / counting.SOCKET_NAME)
    writer.write(before + b"".join(frame(number, question) for number, question in enumerate(questions)))
    replies: dict[int, Counted | None] = {}
    frames = Frames()
    while len(replies) < len(questions) and (data := await asyncio.wait_for(reader.read(4096), 10)):
        replies |= {number: read_reply(payload) for number, payload in frames.feed(data)}
    writer.close()
    return replies


async def loaded(directory: Path) -> None:
    """The first question only loads the tokenizer: that takes longer than anybody waits."""
    for _ in range(20):
        if (await ask(directory, QUESTION))[0] == ANSWER:
            return
    raise AssertionError("no counts")


def test_questions_are_answered_by_number(short_dir: Path) -> None:
    async def use(_: CountingService) -> None:
        socket = (short_dir / counting.SOCKET_NAME).stat()
        assert stat.S_ISSOCK(socket.st_mode)
        assert stat.S_IMODE(socket.st_mode) == 0o600
        await loaded(short_dir)
        assert await ask(short_dir, *[QUESTION] * 5) == dict.fromkeys(range(5), ANSWER)

    served(short_dir, use)
    assert not (short_dir / counting.SOCKET_NAME).exists()


def test_a_socket_that_a_killed_meter_left_is_taken_over(short_dir: Path) -> None:
    async def leave() -> None:
        server = await asyncio.start_unix_server(lambda *_: None, short_dir / counting.SOCKET_NAME)
        server.close()

    asyncio.run(leave())
    assert (short_dir / counting.SOCKET_NAME).exists()
    served(short_dir, lambda _: loaded(short_dir))


@pytest.mark.parametrize("junk", [b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", frame(1, None), frame(1, ANSWER)])
def test_what_is_no_question_ends_its_connection_only(short_dir: Path, junk: bytes) -> None:
    async def use(_: CountingService) -> None:
        await loaded(short_dir)
        reader, writer = await asyncio.open_unix_connection(short_dir / counting.SOCKET_NAME)
        writer.write(junk)
        try:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        except ConnectionResetError:
            pass
        writer.close()
        assert await ask(short_dir, QUESTION) == {0: ANSWER}

    served(short_dir, use)


def test_more_than_may_wait_get_no_counts(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 0)
    served(short_dir, lambda _: expect_none(short_dir))


async def expect_none(directory: Path) -> None:
    assert await ask(directory, QUESTION, QUESTION) == {0: None, 1: None}


def test_a_fault_of_the_tokenizer_costs_one_count(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Panic(BaseException):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise Panic("prompt text")

    monkeypatch.setattr(module, "count", fail)
    served(short_dir, lambda _: expect_none(short_dir))
    assert "a count failed" in caplog.text
    assert "prompt text" not in caplog.text


def test_damaged_rank_files_are_said_once_and_calls_go_on(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    (short_dir / "o200k_base.tiktoken.xz").write_bytes(b"damaged")
    served(short_dir, lambda _: expect_none(short_dir), ranks=short_dir)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("o200k_base.tiktoken.xz cannot be read: install submeter again;")


def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()

    async def use(_: CountingService) -> None: ...

    served(directory, use)
    assert "choose a shorter --data-dir" in caplog.text


# -- frames ------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=200)
def test_garbage_never_raises_anything_else(data: bytes, cuts: list[int]) -> None:
    """Neither as a stream nor as a payload."""
    frames, edges = Frames(), [0, *sorted(cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            frames.feed(data[start:end])
    except BadFrame:
        pass
    for read in (read_question, read_reply):
        try:
            read(data)
        except BadFrame:
            pass


def test_frames_fed_byte_by_byte() -> None:
    frames = Frames()
    stream = frame(7, QUESTION) + frame(8, None)
    found = [item for at in range(len(stream)) for item in frames.feed(stream[at : at + 1])]
    assert [number for number, _ in found] == [7, 8]
    assert read_question(found[0][1]) == QUESTION
    assert read_reply(found[1][1]) is None


def test_a_frame_over_the_limit_is_not_waited_for() -> None:
    size = counting.MAX_FRAME_BYTES
    assert Frames().feed(size.to_bytes(4, "big") + bytes(4)) == []
    with pytest.raises(BadFrame):
        Frames().feed((size + 1).to_bytes(4, "big") + bytes(4))
