"""The linear model of latency: exact without noise, reproducible with it, and never mixed with scripted times."""

import math
import time
from itertools import accumulate
from statistics import fmean, pstdev

import pytest

from scripted.harness import BODIES, CHAT, Provider
from submeter.scripted import Script
from submeter.scripted.answer import Answer, Order, plan
from submeter.scripted.latency import first_token_ms, waits_ms
from submeter.scripted.script import ScriptError, parse, with_keys

pytestmark = pytest.mark.anyio

LINEAR = Script(base_ms=200, input_ms_per_token=0.5, cached_ms_per_token=0.05, output_ms_per_token=20)


def answer_of(script: Script, input_tokens: int = 100, prompt: str = "Hello") -> Answer:
    return plan(Order(model="gpt-4o-mini", prompt=prompt, input_tokens=input_tokens), script)


def changed(script: Script, **keys: object) -> Script:
    return with_keys(script, keys)


def test_the_first_token_waits_for_the_input_and_each_other_for_itself() -> None:
    assert list(waits_ms(answer_of(changed(LINEAR, output_tokens=4)))) == [200 + 0.5 * 100, 20, 20, 20]


def test_cached_input_costs_its_own_time_and_written_input_that_of_any_other() -> None:
    script = changed(LINEAR, cached_tokens=60, cache_write_tokens=30)
    assert first_token_ms(answer_of(script)) == 200 + 0.5 * (10 + 30) + 0.05 * 60


def test_a_chunk_waits_for_all_its_tokens() -> None:
    script = changed(LINEAR, output_tokens=7, tokens_per_chunk=3)
    assert list(waits_ms(answer_of(script))) == [250, 60, 20]


def test_hidden_reasoning_takes_its_time() -> None:
    script = changed(LINEAR, output_tokens=2, reasoning_tokens=3, reasoning="hidden")
    assert list(accumulate(waits_ms(answer_of(script))))[-1] == 250 + 4 * 20


def test_what_has_no_tokens_waits_once() -> None:
    order = Order(model="text-embedding-3-small", prompt="Hello", input_tokens=10, generates=False)
    assert list(waits_ms(plan(order, LINEAR))) == [205]


def test_scripted_times_are_as_they_were() -> None:
    assert list(waits_ms(answer_of(Script(ttft_ms=30, gap_ms=10, output_tokens=3, tokens_per_chunk=2)))) == [30, 10]


# ---- noise -------------------------------------------------------------------------------------------------

NOISY = changed(LINEAR, noise=0.1)


def test_equal_requests_take_equally_long_on_every_machine() -> None:
    waits = list(waits_ms(answer_of(NOISY)))
    assert waits == list(waits_ms(answer_of(NOISY)))
    assert waits[:3] == pytest.approx([260.12560811612406, 20.344983548603558, 20.891234544802778])


def test_another_seed_prompt_or_length_is_another_draw() -> None:
    answers = [
        answer_of(NOISY),
        answer_of(changed(NOISY, seed=1)),
        answer_of(NOISY, prompt="Hallo"),
        answer_of(NOISY, input_tokens=101),
        answer_of(changed(NOISY, output_tokens=17)),
    ]
    factors = {next(waits_ms(answer)) / first_token_ms(answer) for answer in answers}
    assert len(factors) == len(answers)


def test_the_noise_has_mean_one_and_the_sigma_that_was_asked_for() -> None:
    drawn = [wait / 20 for wait in list(waits_ms(answer_of(changed(NOISY, output_tokens=20_000))))[1:]]
    assert fmean(drawn) == pytest.approx(1, abs=0.003)
    assert pstdev(math.log(factor) for factor in drawn) == pytest.approx(0.1, rel=0.02)


# ---- two models of time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("ttft_ms=1;base_ms=2", "ttft_ms and base_ms are two models of time"),
        ("gap_ms=1;output_ms_per_token=2;noise=0.1", "gap_ms and output_ms_per_token, noise are two models"),
        ("noise=3", "noise"),
        ("base_ms=-1", "base_ms"),
        ("output_ms_per_tokn=1", "did you mean 'output_ms_per_token'?"),
    ],
)
def test_a_clash_and_a_bad_value_are_named(said: str, named: str) -> None:
    with pytest.raises(ScriptError, match=f"^x-scripted: .*{named.replace('?', '[?]')}"):
        parse(Script(), said)


def test_a_call_may_leave_the_model_of_its_defaults() -> None:
    assert parse(Script(ttft_ms=5), "ttft_ms=0;base_ms=7") == Script(base_ms=7)
    with pytest.raises(ScriptError, match="ttft_ms and base_ms"):
        parse(Script(ttft_ms=5), "base_ms=7")
    with pytest.raises(ValueError, match="ttft_ms and base_ms"):
        Script(ttft_ms=5, base_ms=7)


async def test_a_clash_in_a_header_is_refused(server: Provider) -> None:
    answer = await server.chat("ttft_ms=1;base_ms=2")
    assert answer.status == 400
    assert answer.json["error"]["message"].startswith("x-scripted: ttft_ms and base_ms are two models of time")


async def test_the_server_keeps_the_model(server: Provider) -> None:
    """Lower bounds only: a busy machine may be late, but never early."""
    script = "base_ms=20;input_ms_per_token=0.1;output_ms_per_token=10;output_tokens=3;input_tokens=100;fixed_ids"
    for answers in (server.chat_stream, server.chat):
        started = time.monotonic()
        answer = await answers(script)
        assert time.monotonic() - started >= 0.050
        assert answer.headers["openai-processing-ms"] == "30"
    started = time.monotonic()
    await server.post("/v1/embeddings", BODIES["embeddings"], "base_ms=20;input_ms_per_token=1;input_tokens=10")
    assert time.monotonic() - started >= 0.030
    assert CHAT["model"] == server.lines()[0]["model"]
