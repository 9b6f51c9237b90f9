"""A kept stream is given at the pace at which it came, whatever its caller does. No clock but the test's own runs."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from submeter.config.settings import Cache, CacheRule
from submeter.core.exchange import Exchange
from submeter.core.kept import SCHEMA, KeptAnswer
from submeter.core.record import Finish, Progress, Start, TokenClasses
from submeter.relay import replay
from submeter.relay.answers import chunk
from submeter.relay.forward import End
from submeter.relay.pacing import PacedAnswer, Recording

FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
SECOND = b'data: {"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"
KEPT = KeptAnswer(
    schema=SCHEMA,
    form="stream",
    content_type=b"text/event-stream",
    body=FIRST + SECOND + DONE,
    call_id="c1",
    stored_at_ns=1,
    model_served="m",
    system_fingerprint=None,
    service_tier=None,
    finish_reason="stop",
    usage=TokenClasses(input_uncached=3, output_text=2),
    web_searches=None,
    ttft_ns=None,
    e2e_ns=None,
    pace=((0, 2_000_000_000), (len(FIRST), 1_000_000_000), (len(FIRST + SECOND), 4_000_000_000)),
)
START = Start("c2", 1, "c2", "chat/completions", "openai", 1, True, stream=True, cache="hit")


class Loop(asyncio.SelectorEventLoop):
    """Waits for nothing: where it would, its clock is moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def skip(timeout_s: float | None) -> Any:
            assert timeout_s is not None, "it would wait for ever"
            self.now_s += timeout_s
            return select(0)

        selector.select = skip

    def time(self) -> float:
        return self.now_s


class Client:
    """A caller's connection; notes what is written, and when. Of what is journalled it notes that too."""

    closing = False

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.log: list[tuple[float, Any]] = []
        self.after_write: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.log.append((round(self._loop.now_s, 6), data.rpartition(b"\r\n\r\n")[2] if b"HTTP/1.1" in data else data))
        self.after_write()

    def first(self, progress: Progress) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def finish(self, finish: Finish) -> None:
        self.log.append((round(self._loop.now_s, 6), finish))

    @property
    def finishes(self) -> list[Finish]:
        return [what for _, what in self.log if isinstance(what, Finish)]

    @property
    def writes(self) -> list[tuple[float, bytes]]:
        return [(at_s, what) for at_s, what in self.log if isinstance(what, bytes)]


class Scene:
    def __init__(self, loop: Loop, kept: KeptAnswer, *, chunked: bool) -> None:
        self.loop = loop
        self.client: Any = Client(loop)
        self.recording = Recording(kept, 0.0)
        self.exchange = Exchange(START, 0)
        self.answer = PacedAnswer(
            self.client,
            self.recording,
            self.exchange,
            self.client,
            our_headers=[],
            chunked=chunked,
            close=not chunked,
        )
        self.recording.play(self.answer)


def scene(act: Callable[[Scene], Awaitable[None]], kept: KeptAnswer = KEPT, *, chunked: bool = False) -> None:
    loop = Loop()

    async def run() -> None:
        await act(Scene(loop, kept, chunked=chunked))

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def test_each_piece_comes_at_its_time_and_the_record_before_the_last() -> None:
    async def act(on: Scene) -> None:
        assert await on.answer.ended is End.WHOLE
        assert on.client.writes == [(2.0, FIRST), (3.0, SECOND), (7.0, DONE)]
        (finish,) = on.client.finishes
        assert [what for _, what in on.client.log[-2:]] == [finish, DONE]
        assert (finish.outcome, finish.status, finish.cache, finish.usage) == ("ok", 200, "hit", KEPT.usage)
        assert finish.bytes_out == len(KEPT.body)
        assert None not in (finish.ttfb_ns, finish.ttft_ns, finish.e2e_ns)
        assert (finish.model_served, finish.finish_reason) == (None, "stop")

    scene(act)


def test_events_stay_whole_in_http_chunks() -> None:
    async def act(on: Scene) -> None:
        await on.answer.ended
        assert b"".join(what for _, what in on.client.writes) == b"".join(
            [chunk(FIRST), chunk(SECOND), chunk(DONE), b"0\r\n\r\n"]
        )

    cut = (len(FIRST) + 5, 1_000_000_000)
    scene(act, msgspec.structs.replace(KEPT, pace=(KEPT.pace[0], cut, KEPT.pace[2])), chunked=True)


def test_a_caller_that_takes_nothing_is_waited_for_and_the_rest_is_not_late() -> None:
    async def act(on: Scene) -> None:
        on.client.after_write = lambda: on.answer.client_paused(True)
        await asyncio.sleep(3.5)
        assert on.client.writes == [(2.0, FIRST)], "what was due at 3 s is held"
        on.client.after_write = lambda: None
        on.answer.client_paused(False)
        assert await on.answer.ended is End.WHOLE
        assert on.client.writes == [(2.0, FIRST), (3.5, SECOND), (7.0, DONE)]

    scene(act)


@pytest.mark.parametrize("after_s", [1.0, 2.5, 3.5])
@pytest.mark.parametrize("drain", [False, True])
def test_a_caller_that_leaves_ends_it_at_once_with_one_record(after_s: float, drain: bool) -> None:
    """Also where calls are read on for their usage."""

    async def act(on: Scene) -> None:
        await asyncio.sleep(after_s)
        seen = list(on.client.writes)
        assert not on.answer.client_gone(drain=drain)
        assert on.answer.ended.done()
        reads: list[None] = []
        on.answer.read_begins = lambda: reads.append(None)  # type: ignore[method-assign]
        await asyncio.sleep(10.0)
        assert (on.client.writes, reads) == (seen, []), "nothing is played to nobody"
        (finish,) = on.client.finishes
        assert (finish.outcome, finish.cache, finish.usage) == ("client_gone", "hit", None)
        assert (finish.ttfb_ns is None) == (after_s < 2.0)
        assert finish.bytes_out == sum(len(data) for _, data in seen)

    scene(act)


def test_a_relay_that_stops_ends_it_at_once_with_one_record() -> None:
    async def act(on: Scene) -> None:
        await asyncio.sleep(2.5)
        on.answer.abandon(at_once=True)
        on.answer.abandon(at_once=True)
        await asyncio.sleep(10.0)
        assert on.client.writes == [(2.0, FIRST)]
        assert [finish.outcome for finish in on.client.finishes] == ["client_gone"]

    scene(act)


def test_what_a_provider_said_it_cost_is_not_what_a_hit_costs() -> None:
    body = FIRST + SECOND + USAGE.replace(b"5}}", b'5,"cost":0.1}}') + DONE

    async def act(on: Scene) -> None:
        await on.answer.ended
        (finish,) = on.client.finishes
        assert (finish.provider_cost, finish.usage) == (None, KEPT.usage)

    scene(act, msgspec.structs.replace(KEPT, body=body))


# -- which are given so ------------------------------------------------------------------------------------------------


def found(cache: Cache, kept: KeptAnswer = KEPT, *, stream: bool = True, include_usage: bool = True) -> KeptAnswer:
    class Held:
        async def get(self, key: str) -> KeptAnswer:
            return kept

    relay = SimpleNamespace(cache=Held(), on_its_way={}, settings=SimpleNamespace(cache=cache))
    call: Any = SimpleNamespace(relay=relay, request=SimpleNamespace(headers=[]))
    facts = SimpleNamespace(stream=stream, include_usage=include_usage, model="m")
    route = SimpleNamespace(endpoint="chat/completions")
    plan: Any = SimpleNamespace(cache_key="k", cache="miss", route=route, facts=facts)
    answer = asyncio.run(replay.find(call, plan))
    assert answer is not None
    return answer


def test_at_once_unless_it_is_asked_for() -> None:
    assert found(Cache()).pace == ()
    assert found(Cache(pace="recorded")).pace == KEPT.pace
    assert found(Cache(models={"m*": CacheRule(pace="recorded")})).pace == KEPT.pace
    slow = {"chat/completions": CacheRule(pace="recorded")}
    assert found(Cache(routes=slow)).pace == KEPT.pace
    assert found(Cache(models={"m": CacheRule(pace="at_once")}, routes=slow)).pace == ()


def test_the_pace_follows_the_usage_chunk() -> None:
    kept = msgspec.structs.replace(
        KEPT, body=FIRST + SECOND + USAGE + DONE, pace=((0, 1), (len(FIRST + SECOND), 2), (len(FIRST + SECOND), 3))
    )
    assert found(Cache(pace="recorded"), kept) == kept
    without = found(Cache(pace="recorded"), kept, include_usage=False)
    assert (without.body, without.pace) == (KEPT.body, kept.pace)


def test_another_form_has_no_pace() -> None:
    whole = found(Cache(pace="recorded"), KEPT_WITH_USAGE, stream=False)
    assert (whole.form, whole.pace) == ("whole", ())
    back = found(Cache(pace="recorded"), whole)
    assert (back.form, back.pace) == ("stream", ())


KEPT_WITH_USAGE = msgspec.structs.replace(KEPT, body=FIRST + SECOND + USAGE + DONE)
