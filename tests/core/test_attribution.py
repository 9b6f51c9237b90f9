"""Who is calling: header over URL over body; fingerprints that tell prompts apart and say nothing of them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core.attribution import Who, attribute, keyed
from submeter.core.errors import Refusal
from submeter.core.facts import read_facts
from submeter.core.jsonbody import JsonBody
from submeter.core.routes import Route

KEY = b"k" * 32
PLAIN = Route("chat/completions", "")


def who(
    route: Route = PLAIN,
    headers: dict[str, str] | None = None,
    credential: bytes | None = None,
    key: bytes = KEY,
    **members: Any,
) -> Who:
    body = JsonBody(json.dumps({"model": "m", **members}).encode())
    sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    tools = bytes(body.members.get("tools", b""))
    return attribute(route, sent, read_facts("chat/completions", body), tools, credential, key)


def system(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": text}, {"role": "user", "content": "question"}]


BODY = {"team": "body", "app": "body", "session_id": "body", "prompt": "body", "prompt_version": "body"}
URL = Route("chat/completions", "", "url", "url")
HEADERS = {
    "X-Submeter-Team": "header",
    "x-submeter-app": "header",
    "x-submeter-user": "header",
    "x-submeter-session": "header",
    "x-submeter-prompt": "header",
    "x-submeter-prompt-version": "header",
    "x-submeter-class": "batch",
}


def test_a_header_wins_over_the_url_and_the_url_over_the_body() -> None:
    everything = who(URL, HEADERS, metadata=BODY, user="body")
    named = (everything.team, everything.app, everything.user, everything.session, everything.prompt)
    assert named == ("header",) * 5
    assert (everything.prompt_version, everything.klass) == ("header", "batch")
    by_url = who(URL, metadata=BODY, user="body")
    assert (by_url.team, by_url.app, by_url.user, by_url.session) == ("url", "url", "body", "body")
    by_body = who(metadata=BODY, user="body")
    assert (by_body.team, by_body.app, by_body.prompt, by_body.prompt_version) == ("body",) * 4
    assert who() == Who()


def test_of_two_headers_the_first_counts_and_an_empty_one_says_nothing() -> None:
    sent = [(b"x-submeter-team", b""), (b"x-submeter-team", b"one"), (b"x-submeter-team", b"two")]
    assert attribute(PLAIN, sent, None, b"", None, KEY).team == "one"
    assert attribute(PLAIN, [(b"x-submeter-team", b"x" * 300)], None, b"", None, KEY).team == "x" * 256


def test_a_path_that_is_not_read_has_attribution_all_the_same() -> None:
    found = attribute(URL, [(b"x-submeter-user", b"u")], None, b"", b"sk-1", KEY)
    assert (found.team, found.user, found.prompt, found.prompt_version) == ("url", "u", None, None)
    assert found.key_id == keyed(KEY, "credential", b"sk-1")[:16]


def test_a_class_is_one_of_two() -> None:
    assert who(headers={"x-submeter-class": "interactive"}).klass == "interactive"
    with pytest.raises(Refusal) as caught:
        who(headers={"x-submeter-class": "Batch"})
    assert (caught.value.fault.code, caught.value.param) == ("invalid_value", "x-submeter-class")


def test_a_changed_system_prompt_is_a_new_version_of_the_same_prompt() -> None:
    one = who(messages=system("You are a clerk.\nBe brief."))
    two = who(messages=system("You are a clerk.\nBe very brief."))
    three = who(messages=system("You are a judge.\nBe brief."))
    assert one.prompt == two.prompt != three.prompt
    assert len({one.prompt_version, two.prompt_version, three.prompt_version}) == 3
    assert who(messages=system("You are a clerk.\nBe brief.")) == one


def test_changed_tools_are_a_new_version_and_a_changed_question_is_not() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    plain = who(messages=system("A"))
    tooled = who(messages=system("A"), tools=tools)
    assert plain.prompt == tooled.prompt
    assert plain.prompt_version != tooled.prompt_version
    other = [{"role": "system", "content": "A"}, {"role": "user", "content": "another question"}]
    assert who(messages=other) == plain
    assert who(tools=tools).prompt is None
    assert who(tools=tools).prompt_version is not None


def test_fingerprints_need_the_key() -> None:
    one, other = who(messages=system("A")), who(messages=system("A"), key=b"x" * 32)
    assert one.prompt != other.prompt
    assert one.prompt is not None
    assert one.prompt.startswith("p-")
    assert len(one.prompt) == len("p-") + 12


def test_purposes_are_apart() -> None:
    assert len({keyed(KEY, purpose, b"x") for purpose in ("credential", "operation", "prompt", "version")}) == 4


def test_idempotency_keys_name_an_operation() -> None:
    one = who(headers={"Idempotency-Key": "a"}).operation_id
    assert one == who(headers={"idempotency-key": "a"}).operation_id
    assert one != who(headers={"idempotency-key": "b"}).operation_id
    assert who(headers={"idempotency-key": ""}).operation_id is None


@pytest.mark.parametrize(
    ("parent", "trace_id"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        (" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00 ", "0af7651916cd43dd8448eb211c80319c"),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None),
        ("junk", None),
        ("", None),
    ],
)
def test_traceparent_by_w3cs_grammar(parent: str, trace_id: str | None) -> None:
    assert who(headers={"traceparent": parent}).trace_id == trace_id


@settings(max_examples=50)
@given(st.text("abcdefgh \n", min_size=12, max_size=60), st.text("ijklmnop", min_size=12, max_size=30))
def test_no_text_of_a_prompt_and_no_credential_comes_out(prompt: str, secret: str) -> None:
    tools = [{"type": "function", "function": {"name": secret}}]
    sent = {"Idempotency-Key": secret}
    found = who(headers=sent, credential=secret.encode(), messages=system(prompt), tools=tools)
    out = " ".join(str(value) for value in msgspec.structs.astuple(found))
    assert secret not in out
    assert not any(word in out for word in prompt.split() if len(word) >= 5)
