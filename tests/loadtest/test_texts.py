"""Prompts: as long as they claim to be, by both tokenizers and as a provider would count the request."""

import msgspec
import pytest

from submeter.loadtest import texts
from submeter.loadtest.order import Order, request_body
from submeter.loadtest.scenario import Call, Scenario, Setting
from submeter.meter.counting.prompt import read_prompt
from submeter.meter.counting.tokenizer import Tokenizer, load


@pytest.fixture(scope="module", params=["o200k_base", "cl100k_base"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return load(request.param)


def order(setting: Setting, **more: object) -> Order:
    scenario = Scenario(description="", settings=(setting,), **more)
    return Order(
        scenario=scenario,
        calls=[],
        seed=1,
        base_url="",
        model="m",
        limit_nano_usd=None,
        worst_nano_usd=[],
        parent_pid=1,
        web=False,
    )


def counted(tokenizer: Tokenizer, body: bytes) -> int:
    prompt = read_prompt("chat/completions", body)
    assert prompt is not None
    return prompt.more_tokens + sum(tokenizer.count(text)[0] for text in prompt.texts)


def test_every_word_is_one_token(tokenizer: Tokenizer) -> None:
    words = {*texts._WORDS, *texts.INSTRUCTION.split()}
    assert len(texts._WORDS) == len(set(texts._WORDS)) == 1024
    assert {word for word in words if tokenizer.count(f" {word}") != (1, True)} == set()
    assert {word for word in texts._WORDS if tokenizer.count(word) != (1, True)} == set()


@pytest.mark.parametrize("input_tokens", [22, 23, 51, 228, 232, 1000, 4321])
@pytest.mark.parametrize("shared", [0, 7, 10_000])
def test_a_request_has_the_tokens_that_were_asked_for(tokenizer: Tokenizer, input_tokens: int, shared: int) -> None:
    asked = order(Setting(input_tokens=input_tokens, output_tokens=9, shared_prefix_tokens=shared))
    for number in range(5):
        assert counted(tokenizer, request_body(asked, Call(number, 0, None, False))) == input_tokens


def test_no_two_prompts_begin_alike() -> None:
    setting = Setting(input_tokens=60, output_tokens=1)
    scenario = order(setting).scenario
    prompts = [scenario.prompt(Call(number, 0, None, False), seed) for number in range(200) for seed in range(5)]
    assert len({" ".join(prompt.split()[:4]) for prompt in prompts}) == len(prompts) == 1000


def test_a_shared_prefix_is_shared_in_one_run_only() -> None:
    scenario = order(Setting(input_tokens=200, output_tokens=1, shared_prefix_tokens=100)).scenario
    words = [scenario.prompt(Call(number, 0, None, False), 1).split() for number in range(3)]
    assert words[0][:100] == words[1][:100] == words[2][:100]
    assert len({tuple(each[100:110]) for each in words}) == 3
    assert scenario.prompt(Call(0, 0, None, False), 2).split()[:100] != words[0][:100]


def test_distinct_prompts_come_again() -> None:
    scenario = order(Setting(input_tokens=50, output_tokens=1, distinct_prompts=3)).scenario
    prompts = [scenario.prompt(Call(number, 0, None, False), 1) for number in range(9)]
    assert prompts == prompts[:3] * 3
    assert len(set(prompts)) == 3


def test_no_prompt_is_longer_than_most_bytes() -> None:
    assert all(len(texts.prompt(300, str(key))) <= texts.most_bytes(300) for key in range(50))


def test_what_is_sent() -> None:
    setting = Setting(input_tokens=30, output_tokens=7, temperature=0)
    body = msgspec.json.decode(request_body(order(setting, body={"ignore_eos": True}), Call(0, 0, None, False)))
    assert body.pop("messages")[0]["role"] == "user"
    assert body == {
        "model": "m",
        "max_tokens": 7,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    whole = msgspec.structs.replace(setting, stream=False)
    body = msgspec.json.decode(
        request_body(order(whole, output_limit_key="max_completion_tokens"), Call(0, 0, None, False))
    )
    assert (body["stream"], body["max_completion_tokens"]) == (False, 7)
    assert "stream_options" not in body
    assert "max_tokens" not in body
