"""Request bodies → facts (FAULTS 15 to 17), and the one change that a body may see."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core.errors import Refusal
from submeter.core.facts import Facts, read_facts, with_usage
from submeter.core.jsonbody import JsonBody

ENDPOINTS = ["chat/completions", "completions", "embeddings", "responses", "messages"]


def facts(endpoint: str = "chat/completions", **members: Any) -> Facts:
    return read_facts(endpoint, JsonBody(json.dumps({"model": "m", **members}).encode()))


def refusal(body: bytes, endpoint: str = "chat/completions") -> tuple[str, str | None]:
    with pytest.raises(Refusal) as caught:
        read_facts(endpoint, JsonBody(body))
    return caught.value.fault.code, caught.value.param


# -- the model (FAULTS 15) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "missing_required_parameter"),
        (b'{"model":null}', "missing_required_parameter"),
        (b'{"model":""}', "invalid_value"),
        (b'{"model":7}', "invalid_value"),
        (b'{"model":["m"]}', "invalid_value"),
        (b'{"model":"' + b"m" * 257 + b'"}', "invalid_value"),
        (b'{"model":"m\\u0000"}', "invalid_value"),
        (b'{"model":"m\\ud800"}', "invalid_value"),
    ],
)
def test_a_model_that_is_none(body: bytes, code: str) -> None:
    assert refusal(body) == (code, "model")


@pytest.mark.parametrize(("body", "model"), [(b"{}", "d"), (b'{"model":null}', "d"), (b'{"model":"m"}', "m")])
def test_where_the_body_names_no_model_the_deployment_is_one(body: bytes, model: str) -> None:
    assert read_facts("chat/completions", JsonBody(body), "d").model == model


def test_an_odd_model_is_refused_although_there_is_a_deployment() -> None:
    with pytest.raises(Refusal):
        read_facts("chat/completions", JsonBody(b'{"model":7}'), "d")


def test_only_responses_have_a_background() -> None:
    assert facts("responses", background=True).background
    assert not facts("responses", background="true").background
    assert not facts("chat/completions", background=True).background


def test_a_model_of_256_characters_is_one() -> None:
    assert facts(model="é" * 256).model == "é" * 256


# -- what is stored (FAULTS 16) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["\\u0000", "\\ud800"])
@pytest.mark.parametrize(
    ("members", "param"),
    [
        ('"user":"a%s"', "user"),
        ('"service_tier":"a%s"', "service_tier"),
        ('"metadata":{"team":"a%s"}', "metadata"),
        ('"metadata":{"anything":"a%s"}', "metadata"),
        ('"prompt":{"id":"a%s"}', "prompt"),
        ('"prompt":{"version":"a%s"}', "prompt"),
    ],
)
def test_nul_and_lone_surrogates_in_what_is_stored(members: str, param: str, odd: str) -> None:
    body = f'{{"model":"m",{members % odd}}}'.encode()
    assert refusal(body, "responses") == ("invalid_value", param)


def test_nul_and_lone_surrogates_in_what_is_not_stored() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"\\u0000 \\ud800"}],"metadata":{"x":["\\u0000"]}}'
    assert read_facts("chat/completions", JsonBody(body)).model == "m"


def test_who_the_body_says_is_asking() -> None:
    metadata = {"user_id": "u2", "session_id": "s", "team": "t", "app": "a", "prompt": "p", "prompt_version": "7"}
    found = facts(metadata={**metadata, "n": 5, "empty": "", "deep": {"team": "no"}})
    assert (found.user, found.session, found.team, found.app) == ("u2", "s", "t", "a")
    assert (found.prompt_id, found.prompt_version) == ("p", "7")
    assert facts(user="u1", metadata=metadata).user == "u1"
    assert facts(metadata={"session": "s2"}).session == "s2"
    assert facts(metadata={"team": "x" * 300}).team == "x" * 256
    assert facts(metadata="text").team is None


@pytest.mark.parametrize(
    ("members", "tier"),
    [
        ({}, None),
        ({"service_tier": "flex"}, "flex"),
        ({"speed": "standard", "service_tier": "auto"}, "auto"),
        ({"speed": "fast", "service_tier": "auto"}, "fast"),
        ({"speed": 7}, None),
    ],
)
def test_the_tier_that_is_asked_for(members: dict[str, object], tier: str | None) -> None:
    assert facts("messages", **members).service_tier == tier


def test_the_named_prompt_of_responses() -> None:
    found = facts("responses", prompt={"id": "pmpt_1", "version": "3", "variables": {}}, metadata={"prompt": "other"})
    assert (found.prompt_id, found.prompt_version, found.refers_elsewhere) == ("pmpt_1", "3", True)
    assert facts("completions", prompt="text").prompt_id is None


# -- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n", "max_tokens", "temperature"])
def test_integers_that_no_reader_agrees_on(name: str) -> None:
    assert refusal(b'{"model":"m","%s":9223372036854775808}' % name.encode()) == ("invalid_json", name)


@pytest.mark.parametrize("odd", ["0", True, [], {}, "x"])
def test_wrong_types_are_absent_here(odd: object) -> None:
    found = facts(temperature=odd, n=odd, max_tokens=odd, stream=odd if odd is not True else "yes")
    assert (found.temperature, found.n, found.max_output_tokens, found.stream) == (None, 1, None, False)


@pytest.mark.parametrize(
    ("endpoint", "members", "limit"),
    [
        ("chat/completions", {"max_tokens": 5}, 5),
        ("chat/completions", {"max_completion_tokens": 9, "max_tokens": 5}, 9),
        ("chat/completions", {"max_output_tokens": 5}, None),
        ("completions", {"max_tokens": 16, "max_completion_tokens": 5}, 16),
        ("messages", {"max_tokens": 1024, "max_completion_tokens": 5}, 1024),
        ("responses", {"max_output_tokens": 64, "max_tokens": 5}, 64),
        ("chat/completions", {"max_tokens": None}, None),
        ("chat/completions", {"max_tokens": -1}, None),
        ("chat/completions", {"max_tokens": 0}, 0),
    ],
)
def test_the_output_limit_is_the_largest_that_the_endpoint_knows(
    endpoint: str, members: dict[str, object], limit: int | None
) -> None:
    assert facts(endpoint, **members).max_output_tokens == limit


@pytest.mark.parametrize(
    ("endpoint", "members", "choices"),
    [
        ("chat/completions", {}, 1),
        ("chat/completions", {"n": 3}, 3),
        ("chat/completions", {"n": 0}, 1),
        ("chat/completions", {"n": None}, 1),
        ("chat/completions", {"n": 2, "best_of": 5}, 2),
        ("completions", {"prompt": "x", "n": 2, "best_of": 5}, 5),
        ("completions", {"prompt": ["a", "b", "c"], "n": 2}, 3 * 2),
        ("completions", {"prompt": [[1, 2], [3]]}, 2),
        ("completions", {"prompt": [1, 2, 3]}, 1),
        ("completions", {"prompt": []}, 1),
        ("completions", {"prompt": ["a", "b"], "n": 2**62}, 2**31 - 1),
    ],
)
def test_how_many_choices_are_generated(endpoint: str, members: dict[str, object], choices: int) -> None:
    assert facts(endpoint, **members).n == choices


@pytest.mark.parametrize(
    ("written", "value"), [("0", 0.0), ("0.0", 0.0), ("-0", 0.0), ("0e5", 0.0), ("1", 1.0), ("1e400", None)]
)
def test_temperature(written: str, value: float | None) -> None:
    found = read_facts("chat/completions", JsonBody(f'{{"model":"m","temperature":{written}}}'.encode()))
    assert found.temperature == value


# -- what bounds the cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "members", "elsewhere"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": 'the "image_url" word'}]}, False),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": '"file"'}]}]}, False),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            True,
        ),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}, True),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, True),
        ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, True),
        ("responses", {"input": [{"type": "computer_call_output", "output": {"image_url": "x"}}]}, True),
        ("responses", {"input": [{"type": "function_call_output", "output": 'an "image_url"'}]}, False),
        ("responses", {"input": "text", "previous_response_id": "resp_1"}, True),
        ("responses", {"input": "text", "previous_response_id": None}, False),
        ("responses", {"input": "text", "conversation": "conv_1"}, True),
        ("messages", {"messages": [], "mcp_servers": [{"url": "x"}]}, True),
        ("messages", {"messages": [], "container": "c"}, True),
        ("embeddings", {"input": ["a", "b"]}, False),
    ],
)
def test_content_that_is_not_in_the_body(endpoint: str, members: dict[str, object], elsewhere: bool) -> None:
    assert facts(endpoint, **members).refers_elsewhere is elsewhere


@pytest.mark.parametrize(
    ("members", "unbounded"),
    [
        ({"model": "openai/gpt-5:online"}, True),
        ({"plugins": [{"id": "web"}]}, True),
        ({"context_management": {"edits": []}}, True),
        ({}, False),
        ({"tools": None}, False),
        ({"tools": []}, False),
        (
            {"tools": [{"type": "function", "function": {}}, {"name": "f", "input_schema": {}}, {"type": "custom"}]},
            False,
        ),
        ({"tools": [{"type": "web_search"}]}, True),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, True),
        ({"tools": [{"type": 5}]}, True),
        ({"tools": "odd"}, True),
        ({"web_search_options": {}}, True),
        ({"mcp_servers": [{}]}, True),
    ],
)
def test_tools_that_the_provider_runs(members: dict[str, object], unbounded: bool) -> None:
    assert facts(**members).unbounded is unbounded


# -- the system text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "members", "text"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "x"}]}, None),
        ("chat/completions", {"messages": [{"role": "system", "content": "A"}, {"role": "user", "content": "x"}]}, "A"),
        (
            "chat/completions",
            {
                "messages": [
                    {"role": "developer", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
                    {"role": "system", "content": "C"},
                    {"role": "user", "content": "x"},
                    {"role": "system", "content": "later ones are part of the conversation"},
                ]
            },
            "A\nB\nC",
        ),
        ("messages", {"system": "A", "messages": []}, "A"),
        (
            "messages",
            {"system": [{"type": "text", "text": "A", "cache_control": {}}, {"type": "text", "text": "B"}]},
            "A\nB",
        ),
        ("responses", {"instructions": "A", "input": [{"role": "developer", "content": "B"}]}, "A\nB"),
        ("responses", {"instructions": None, "input": "x"}, None),
        ("chat/completions", {"system": "no member of this endpoint"}, None),
        ("chat/completions", {"messages": "odd"}, None),
        ("chat/completions", {"messages": [5]}, None),
    ],
)
def test_the_operators_part_of_the_prompt(endpoint: str, members: dict[str, object], text: str | None) -> None:
    assert facts(endpoint, **members).system_text == text


# -- include_usage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": False}, False),
        ({"include_usage": None}, False),
        ({"include_usage": True}, True),
        ({"include_usage": "yes"}, True),  # for the upstream to judge
        ("odd", True),
        ([], True),
    ],
)
def test_who_asked_for_the_usage_chunk(options: object, asked: bool) -> None:
    assert facts(stream=True, stream_options=options).include_usage is asked
    assert facts(stream=True).include_usage is False


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"m"}', b'{"model":"m","stream_options":{"include_usage":true}}'),
        (b'{"stream_options":null,"model":"m"}\n', b'{"stream_options":{"include_usage":true},"model":"m"}\n'),
        (
            b'{"stream_options": {"include_obfuscation":false, "x":1e400, "y": 1.0} , "model":"m"}',
            b'{"stream_options": {"include_obfuscation":false,"x":1e400,"y":1.0,"include_usage":true} , "model":"m"}',
        ),
        (
            b'{"stream_options":{"include_usage":false,"z":18446744073709551616999}}',
            b'{"stream_options":{"include_usage":true,"z":18446744073709551616999}}',
        ),
    ],
)
def test_the_option_is_added_and_all_else_stays(body: bytes, sent: bytes) -> None:
    assert with_usage(JsonBody(body)) == sent


# -- any body ----------------------------------------------------------------------------------------------------

NAMES = [
    *(
        "stream",
        "temperature",
        "n",
        "max_tokens",
        "tools",
        "metadata",
        "prompt",
        "messages",
        "input",
        "system",
        "store",
    ),
    *("instructions", "stream_options", "service_tier", "user", "best_of", "functions", "container", "mcp_servers"),
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**63 - 1)
    | st.text("a\u00e9", max_size=3)
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "id", "include_usage"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.sampled_from(ENDPOINTS), st.dictionaries(st.sampled_from(NAMES), values, max_size=8))
def test_any_valid_body_reads_or_is_refused(endpoint: str, members: dict[str, Any]) -> None:
    text = json.dumps({"model": "m", **members}).replace("Infinity", "1e999")
    body = JsonBody(text.encode())
    found = read_facts(endpoint, body)
    assert found.n >= 1
    sent = json.loads(with_usage(body))
    assert sent["stream_options"]["include_usage"] is True
    assert {name: value for name, value in sent.items() if name != "stream_options"} == {
        name: value for name, value in json.loads(text).items() if name != "stream_options"
    }


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_numbers_that_a_decoder_refuses_are_not_decoded(endpoint: str) -> None:
    body = b'{"model":"m","metadata":{"x":1e999,"y":%s},"stream_options":{"x":1e999},"prompt":{"v":1e999}}' % (
        b"9" * 5000
    )
    assert read_facts(endpoint, JsonBody(body)).model == "m"
