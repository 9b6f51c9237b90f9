"""Which calls the cache may answer, which answers it may keep, and what a caller says about it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core.cacheable import LONGEST_S, Rules, Wishes, may_ask, may_keep, read_wishes, ttl_s
from submeter.core.facts import read_facts
from submeter.core.jsonbody import JsonBody
from submeter.core.record import Finish, TokenClasses

PLAIN = Rules(enabled=True, ttl_s=600.0, tools=False)
TOOLS = Rules(enabled=True, ttl_s=600.0, tools=True)
FUNCTION = {"type": "function", "function": {"name": "f"}}
FUNCTION_OF_MESSAGES = {"name": "f", "input_schema": {"type": "object"}}


def asks(endpoint: str = "chat/completions", rules: Rules = PLAIN, **members: Any) -> bool:
    body = JsonBody(json.dumps({"model": "m", **members}).encode())
    return may_ask(endpoint, body, read_facts(endpoint, body), rules)


# -- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "members"),
    [
        ("chat/completions", {"temperature": 0}),
        ("chat/completions", {"temperature": 0.0, "n": 1, "stream": True, "max_tokens": 9}),
        ("chat/completions", {"temperature": 0, "n": None, "tools": None, "audio": None, "store": None}),
        ("chat/completions", {"temperature": 0, "store": False, "modalities": ["text"], "logprobs": True}),
        ("chat/completions", {"temperature": 0, "stream": True, "stream_options": {"include_usage": True}}),
        ("completions", {"temperature": 0, "prompt": "Once", "best_of": 1}),
        ("responses", {"temperature": 0, "input": "Say.", "background": False}),
        ("messages", {"temperature": 0.0, "max_tokens": 5}),
        ("embeddings", {}),
        ("embeddings", {"temperature": 1, "input": ["a"]}),
    ],
)
def test_what_the_cache_may_answer(endpoint: str, members: dict[str, Any]) -> None:
    assert asks(endpoint, **members)
    assert not asks(endpoint, Rules(enabled=False, ttl_s=600.0, tools=True), **members)


@pytest.mark.parametrize(
    ("endpoint", "members"),
    [
        ("chat/completions", {"n": 2}),
        ("chat/completions", {"n": 0}),
        ("chat/completions", {"n": 1.0}),
        ("chat/completions", {"n": "1"}),
        ("chat/completions", {"store": True}),
        ("chat/completions", {"store": "yes"}),
        ("chat/completions", {"functions": [{"name": "f"}]}),
        ("chat/completions", {"tools": [FUNCTION]}),
        ("chat/completions", {"tools": []}),
        ("chat/completions", {"audio": {"voice": "x", "format": "wav"}}),
        ("chat/completions", {"modalities": ["text", "audio"]}),
        ("chat/completions", {"modalities": "audio"}),
        ("chat/completions", {"web_search_options": {}}),
        ("chat/completions", {"plugins": []}),
        ("chat/completions", {"stream": "yes"}),
        ("chat/completions", {"stream_options": 5}),
        ("chat/completions", {"max_tokens": "5"}),
        ("chat/completions", {"max_completion_tokens": 5.5}),
        ("completions", {"prompt": ["a", "b"]}),
        ("completions", {"prompt": "a", "best_of": 3}),
        ("responses", {"background": True}),
        ("responses", {"previous_response_id": "r"}),
        ("responses", {"conversation": "c"}),
        ("responses", {"prompt": {"id": "p"}}),
        ("responses", {"tools": [{"type": "web_search"}]}),
        ("messages", {"container": "c"}),
        ("messages", {"mcp_servers": []}),
        ("messages", {"context_management": {}}),
        ("messages", {"tools": [FUNCTION_OF_MESSAGES]}),
    ],
)
def test_what_may_differ_next_time_or_does_more_than_answer(endpoint: str, members: dict[str, Any]) -> None:
    assert not asks(endpoint, temperature=0, **members)


@pytest.mark.parametrize("temperature", [1e-9, 1, -1, None, "0", False, [0]])
def test_only_a_temperature_of_exactly_zero_will_do(temperature: object) -> None:
    assert not asks(temperature=temperature)
    assert not asks()


def test_functions_only_where_the_operator_says_so_and_never_what_the_provider_runs() -> None:
    assert asks(rules=TOOLS, temperature=0, tools=[FUNCTION])
    assert asks("messages", TOOLS, temperature=0, tools=[FUNCTION_OF_MESSAGES])
    assert asks(rules=TOOLS, temperature=0, functions=[{"name": "f"}])
    assert not asks("messages", TOOLS, temperature=0, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert not asks("responses", TOOLS, temperature=0, tools=[FUNCTION, {"type": "code_interpreter"}])
    assert not asks(rules=TOOLS, tools=[FUNCTION])


# -- answers ---------------------------------------------------------------------------------------------------------

WHOLE = {"outcome": "ok", "status": 200, "finish_reason": "stop", "usage": TokenClasses(input_uncached=1)}


def keeps(
    endpoint: str = "chat/completions",
    *,
    complete: bool = True,
    tool_calls: bool = False,
    rules: Rules = PLAIN,
    **changed: Any,
) -> bool:
    finish = Finish("c", 1, **{**WHOLE, **changed})
    return may_keep(endpoint, finish, complete=complete, tool_calls=tool_calls, rules=rules)


@pytest.mark.parametrize("reason", ["stop", "end_turn", "stop_sequence", "completed"])
def test_an_answer_that_came_to_its_own_end_is_kept(reason: str) -> None:
    assert keeps(finish_reason=reason)
    assert not keeps(finish_reason=reason, complete=False)


@pytest.mark.parametrize(
    "changed",
    [
        *({"status": status} for status in (None, 201, 206, 400, 500)),
        *({"outcome": outcome} for outcome in ("upstream_error", "upstream_incomplete", "client_gone", "timeout")),
        {"usage": None},
        {"deferred": True},
        {"complete": False},
    ],
    ids=str,
)
def test_an_answer_that_is_not_whole_is_not_kept(changed: dict[str, Any]) -> None:
    assert not keeps(**changed)
    assert not keeps("embeddings", **{"finish_reason": None, **changed})


@pytest.mark.parametrize(
    "reason",
    ["length", "max_tokens", "max_output_tokens", "content_filter", "refusal", "pause_turn", "incomplete", "failed",
     "model_context_window_exceeded", "anything else", "", None],
)  # fmt: skip
@pytest.mark.parametrize("rules", [PLAIN, TOOLS])
@pytest.mark.parametrize("tool_calls", [False, True])
def test_any_other_end_is_not_kept(reason: str | None, rules: Rules, tool_calls: bool) -> None:
    assert not keeps(finish_reason=reason, rules=rules, tool_calls=tool_calls)


def test_embeddings_have_no_finish_reason() -> None:
    assert keeps("embeddings", finish_reason=None)
    assert not keeps("embeddings", finish_reason="length")


@pytest.mark.parametrize("reason", ["tool_calls", "tool_use", "function_call"])
def test_calls_of_functions_are_kept_only_where_the_operator_says_so(reason: str) -> None:
    for seen in (False, True):
        assert not keeps(finish_reason=reason, tool_calls=seen)
        assert keeps(finish_reason=reason, tool_calls=seen, rules=TOOLS)
    assert not keeps(finish_reason="completed", tool_calls=True), "Responses ends every answer so"
    assert keeps(finish_reason="completed", tool_calls=True, rules=TOOLS)


# -- the caller's word -----------------------------------------------------------------------------------------------


def wishes(*controls: str, ttl: str | None = None) -> Wishes:
    headers = [(b"Cache-Control", control.encode()) for control in controls]
    headers += [] if ttl is None else [(b"X-Submeter-Cache-TTL", ttl.encode())]
    return read_wishes(headers)


@pytest.mark.parametrize(
    ("control", "wished"),
    [
        ("", Wishes()),
        ("no-store", Wishes(read=False, keep=False)),
        ("NO-STORE", Wishes(read=False, keep=False)),
        ("no-cache", Wishes(read=False)),
        ("no-cache, no-store", Wishes(read=False, keep=False)),
        ("max-age=0,no-store", Wishes(read=False, keep=False, max_age_s=0)),
        ("max-age=60", Wishes(max_age_s=60)),
        (" ,\tmax-age=60 ,", Wishes(max_age_s=60)),
        ('max-age="60"', Wishes(max_age_s=60)),
        ("max-age=60, max-age=30", Wishes(max_age_s=30)),
        ("max-age", Wishes(max_age_s=0)),
        ("max-age=soon", Wishes(max_age_s=0)),
        ("max-age=-1", Wishes(max_age_s=0)),
        ("max-age=1.5", Wishes(max_age_s=0)),
        ("max-age=" + "9" * 5000, Wishes(max_age_s=LONGEST_S)),
        ("no-storeroom, x-no-cache, max-ages=1", Wishes()),
        ('extension="no-store, no-cache"', Wishes()),
        ('extension="\\", no-store", max-age=5', Wishes(max_age_s=5)),
        ("min-fresh=5, max-stale, only-if-cached, public", Wishes()),
        ("no-store=1", Wishes(read=False, keep=False)),
        ('a="b, no-store', Wishes(read=False, keep=False)),
    ],
)
def test_cache_control(control: str, wished: Wishes) -> None:
    assert wishes(control) == wished


def test_more_than_one_header_is_one_list() -> None:
    assert wishes("max-age=9", "no-cache") == Wishes(read=False, max_age_s=9)


@pytest.mark.parametrize(
    ("text", "wished", "kept_s"),
    [
        (None, Wishes(), 600.0),
        ("60", Wishes(ttl_s=60), 60.0),
        (" 60 ", Wishes(ttl_s=60), 60.0),
        ("601", Wishes(ttl_s=601), 600.0),
        ("9" * 100, Wishes(ttl_s=LONGEST_S), 600.0),
        ("0", Wishes(keep=False, ttl_s=0), 0.0),
        ("000", Wishes(keep=False, ttl_s=0), 0.0),
        *((odd, Wishes(), 600.0) for odd in ("", "-1", "1.5", "1h", "soon", "٣", "0x10", "1_0")),
    ],
)
def test_how_long_a_caller_wants_it_kept(text: str | None, wished: Wishes, kept_s: float) -> None:
    assert wishes(ttl=text) == wished
    assert ttl_s(PLAIN, wished) == kept_s


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"no-store", b'="', b"max-age=", b",", b"\\"]), max_size=8))
def test_any_header_reads(pieces: list[bytes]) -> None:
    found = read_wishes([(b"cache-control", b"".join(pieces)), (b"x-submeter-cache-ttl", b"".join(pieces))])
    assert found.max_age_s is None or 0 <= found.max_age_s <= LONGEST_S
    assert found.ttl_s is None or 0 <= found.ttl_s <= LONGEST_S
    assert found.read <= found.keep or found.ttl_s == 0


DIRECTIVES = st.sampled_from(["no-store", "no-cache", "max-age=7", "max-stale", "public", 'x="no-store,"', "x=y"])


@given(st.lists(DIRECTIVES, max_size=5), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_what_directives_say_together(given_: list[str], comma: str) -> None:
    found = wishes(comma.join(given_))
    assert found.keep is ("no-store" not in given_)
    assert found.read is ("no-store" not in given_ and "no-cache" not in given_)
    assert found.max_age_s == (7 if "max-age=7" in given_ else None)
