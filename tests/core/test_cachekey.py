"""The key of a cached answer: by meaning and not by spelling; never shared between tenants."""

import json
import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from submeter.core.cachekey import VARY, cache_key, canonical, tenant_of


def key_of(body: bytes | dict[str, Any], **changed: Any) -> str:
    whole: dict[str, Any] = {
        "secret": b"s" * 32,
        "tenant": b"sk-1",
        "upstream": "openai",
        "model": "m",
        "path": "/chat/completions",
        "query": "",
        "headers": [],
        "body": body if isinstance(body, bytes) else json.dumps(body).encode(),
    }
    return cache_key(**{**whole, **changed})


BODY = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    "changed",
    [
        {"tenant": b"sk-2"},
        {"secret": b"t" * 32},
        {"upstream": "own"},
        {"model": "n"},
        {"path": "/completions"},
        {"query": "?api-version=2"},
        *({"headers": [(name, b"1")]} for name in VARY),
    ],
)
def test_all_that_an_answer_depends_on_is_in_the_key(changed: dict[str, Any]) -> None:
    assert key_of(BODY, **changed) != key_of(BODY)


def test_no_two_fields_run_into_each_other() -> None:
    assert key_of(BODY, tenant=b"ab", upstream="c") != key_of(BODY, tenant=b"a", upstream="bc")
    assert key_of(BODY, path="ab", query="c") != key_of(BODY, path="a", query="bc")
    assert key_of(BODY, upstream="ab", model="c") != key_of(BODY, upstream="a", model="bc")
    one = [(b"openai-organization", b"x"), (b"openai-project", b"openai-organization"), (b"openai-project", b"y")]
    two = [(b"openai-organization", b"x"), (b"openai-organization", b"openai-organization"), (b"openai-project", b"y")]
    assert key_of(BODY, headers=one) != key_of(BODY, headers=two)


def test_other_headers_and_the_case_of_names_do_not_count() -> None:
    assert key_of(BODY, headers=[(b"User-Agent", b"x"), (b"X-Stainless-Retry-Count", b"1")]) == key_of(BODY)
    assert key_of(BODY, headers=[(b"OpenAI-Beta", b"x")]) == key_of(BODY, headers=[(b"openai-beta", b"x")])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":2}', b' { "b" : 2 ,\n"a":1 } '),
        (b'{"a":{"x":1,"y":2}}', b'{"a":{"y":2,"x":1}}'),
        *((b'{"t":0}', b'{"t":%s}' % zero) for zero in (b"0.0", b"-0", b"0e5", b"-0.0", b"0E-3")),
        (b'{"t":100}', b'{"t":1e2}'),
        (b'{"t":0.5}', b'{"t":5E-1}'),
        (b'{"t":-1.50}', b'{"t":-15e-1}'),
        (b'{"t":100000000000000000000}', b'{"t":1E+20}'),
        (b'{"t":[{"a":0.0,"b":10}]}', b'{"t":[{"b":1e1,"a":0}]}'),
        (b'{"t":"\xc3\xa9"}', b'{"t":"\\u00e9"}'),
        (b'{"\\u0061":1}', b'{"a":1}'),
        (b'{"a":1,"stream":true}', b'{"a":1}'),
        (b'{"a":1,"stream":false,"stream_options":{"include_usage":true}}', b'{"a":1}'),
    ],
)
def test_spelling_does_not_count(one: bytes, other: bytes) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":[1,2]}', b'{"a":[2,1]}'),
        (b'{"a":1}', b'{"a":"1"}'),
        (b'{"a":1}', b'{"a":true}'),
        (b'{"a":0}', b'{"a":false}'),
        (b'{"a":0}', b'{"a":null}'),
        (b'{"a":null}', b"{}"),
        (b'{"a":1e400}', b'{"a":"1e400"}'),
        (b'{"a":1e400}', b'{"a":"Infinity"}'),
        (b'{"a":9007199254740993}', b'{"a":9007199254740992}'),
        (b'{"a":123456789012345678901234567890}', b'{"a":123456789012345678901234567891}'),
        (b'{"a":{"stream":true}}', b'{"a":{}}'),
        (b'{"a":"\\ud800"}', b'{"a":"\\ufffd"}'),
        (b'{"a":"\\ud800"}', b'{"a":"\\ud801"}'),
        (b'{"a":0.1}', b'{"a":0.2}'),
        (b'{"a":0.1}', b'{"a":0.10000000000000001}'),
        (b'{"a":1e400}', b'{"a":1e401}'),
        (b'{"a":1e-400}', b'{"a":0}'),
        (b'{"a":-0.5}', b'{"a":0.5}'),
        (b'{"a":1.5}', b'{"a":15}'),
        (b'{"a":1.5}', b'{"a":"15e-1"}'),
    ],
)
def test_meaning_counts(one: bytes, other: bytes) -> None:
    assert key_of(one) != key_of(other)


def test_numbers_that_python_will_not_read_are_no_crash() -> None:
    assert key_of(b'{"seed":%s}' % (b"9" * 5_000)) != key_of(b'{"seed":1}')
    assert key_of(b'{"seed":-%s}' % (b"9" * 5_000)) != key_of(b'{"seed":%s}' % (b"9" * 5_000))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, width=32)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)
bodies = st.dictionaries(st.sampled_from(["model", "temperature", "messages", "x", "stream", "stream_options"]), values)


def meaning(value: Any) -> Any:
    """What tells two JSON values apart, in Python: 1, 1.0 and True are equal there."""
    if isinstance(value, dict):
        return {name: meaning(item) for name, item in value.items()}
    if isinstance(value, list):
        return [meaning(item) for item in value]
    return (isinstance(value, bool), value)


def asked(body: dict[str, Any]) -> Any:
    return meaning({name: value for name, value in body.items() if name not in ("stream", "stream_options")})


@settings(max_examples=80)
@given(bodies, bodies)
def test_two_bodies_share_a_key_if_and_only_if_they_ask_for_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (key_of(one) == key_of(other)) == (asked(one) == asked(other))


@settings(max_examples=80)
@given(bodies, st.sampled_from(["model", "temperature", "messages", "y"]), values)
def test_any_changed_member_changes_the_key(body: dict[str, Any], name: str, value: Any) -> None:
    changed = {**body, name: value}
    assume(asked(body) != asked(changed))
    assert key_of(body) != key_of(changed)


@settings(max_examples=50)
@given(bodies, st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_change_it(body: dict[str, Any], random: Any) -> None:
    names = list(body)
    random.shuffle(names)
    assert canonical(json.dumps({name: body[name] for name in names}).encode()) == canonical(json.dumps(body).encode())


@given(
    st.integers(-(10**6), 10**6),
    st.integers(-30, 30),
    st.integers(0, 5),
    st.booleans(),
)
def test_a_number_has_one_key_however_it_is_spelled(digits: int, power: int, zeros: int, capital: bool) -> None:
    """``digits`` times ten to ``power``, with a point moved to the left and an exponent that makes up for it."""
    text = f"{abs(digits)}{'0' * zeros}".rjust(zeros + 2, "0")
    whole, fraction = text[: len(text) - zeros - 1].lstrip("0") or "0", text[len(text) - zeros - 1 :]
    sign, mark = "-" if digits < 0 else "", "E" if capital else "e"
    moved = f"{sign}{whole}.{fraction}{mark}{power - zeros + len(fraction):+03d}"
    assert Fraction(moved) == Fraction(digits) * Fraction(10) ** power
    assert key_of(b'{"a":%s}' % moved.encode()) == key_of(b'{"a":%de%d}' % (digits, power))


@given(st.integers(-(10**4), 10**4), st.integers(-6, 6), st.integers(-(10**4), 10**4), st.integers(-6, 6))
def test_numbers_share_a_key_if_and_only_if_they_are_equal(one: int, power: int, other: int, power_too: int) -> None:
    same = Fraction(one) * Fraction(10) ** power == Fraction(other) * Fraction(10) ** power_too
    assert (canonical(b'{"a":%de%d}' % (one, power)) == canonical(b'{"a":%de%d}' % (other, power_too))) is same


@given(bodies)
def test_a_body_in_one_spelling_says_the_same(body: dict[str, Any]) -> None:
    text = json.dumps(body)
    assume("Infinity" not in text)
    again = json.loads(canonical(text.encode()), parse_int=float)  # a double, as the other reading's numbers are
    assert meaning(again) == asked(json.loads(text, parse_int=float))


# -- tenants -------------------------------------------------------------------------------------------------------


@given(bodies, st.binary(max_size=8), st.binary(max_size=8))
def test_tenants_never_share(body: dict[str, Any], one: bytes, other: bytes) -> None:
    assume(one != other)
    tenants = [tenant_of([(b"Authorization", b"Bearer k" + name.hex().encode())], None) for name in (one, other)]
    assert key_of(body, tenant=tenants[0]) != key_of(body, tenant=tenants[1])


def test_a_hundred_thousand_pairs_of_tenants_never_share() -> None:
    dice = random.Random(4)
    tenants = {dice.randbytes(dice.randrange(1, 40)) for _ in range(200_000)}
    keys = {cache_key(
        secret=b"s" * 32, tenant=tenant, upstream="openai", model="m", path="/embeddings", query="", headers=[],
        body=b"{}",
    ) for tenant in tenants}  # fmt: skip
    assert len(keys) == len(tenants), "so that no pair of them has one key"


def test_who_a_tenant_is() -> None:
    bearer, other = [(b"Authorization", b"Bearer sk-1")], [(b"Authorization", b"Bearer sk-2")]
    assert tenant_of([], None) is None
    assert tenant_of([(b"Authorization", b" "), (b"User-Agent", b"x")], None) is None
    assert tenant_of([], "own") == tenant_of(bearer, "own") == tenant_of(other, "own")
    tenants = [tenant_of(bearer, None), tenant_of(other, None), tenant_of([], "own"), tenant_of([], "sk-1")]
    assert len(set(tenants)) == len(tenants)
    assert tenant_of([(b"authorization", b"Bearer sk-1 "), (b"User-Agent", b"x")], None) == tenants[0]


def test_every_credential_of_a_call_counts() -> None:
    """Which of them the upstream goes by is its affair: two callers may both send a placeholder in the other."""
    placeholder = (b"Authorization", b"Bearer unused")
    one, other = (b"x-api-key", b"k1"), (b"x-api-key", b"k2")
    assert tenant_of([placeholder, one], None) != tenant_of([placeholder, other], None)
    assert tenant_of([placeholder, one], None) == tenant_of([one, placeholder], None)
    assert tenant_of([one], None) != tenant_of([(b"api-key", b"k1")], None)
