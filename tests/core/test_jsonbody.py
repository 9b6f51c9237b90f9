"""FAULTS 14 to 16: what is one valid JSON object, against ``json``; and what of it may be stored or replaced."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core import errors
from submeter.core.errors import Fault, Refusal
from submeter.core.jsonbody import MAX_NESTING, JsonBody


def fault_of(body: bytes) -> Fault | None:
    try:
        JsonBody(body)
    except Refusal as refusal:
        return refusal.fault
    return None


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """An object of this depth; the outermost pair of braces counts."""
    return f'{{"a":{opening * (depth - 1)}{closing * (depth - 1)}}}'.encode()


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":"', b'{"a":[1}', b"}", b"null", b"[]", b'"a"', b"1"),
        *(b"{}{}", b"{} x", b"{}\x00", b'{"a":1},', b'{"a":1,}', b'{"a" 1}', b'{"a":1 "b":2}', b"{a:1}", b"{'a':1}"),
        *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":[NaN]}', b'{"a":01}', b'{"a":+1}', b'{"a":1.}'),
        *(
            b'{"a":.5}',
            b'{"a":1e}',
            b'{"a":-}',
            b'{"a":0x1}',
            b'{"a":True}',
            b'{"a":tru}',
            b'{"a":[1,]}',
            b'{"a":\x0b1}',
        ),
        *(b'{"a":"\n"}', b'{"a":"\x00"}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":["\\q"]}', b"{/**/}", b'{"a":1}//'),
        *(b'\xef\xbb\xbf{"a":1}', b'{"a":"\xff"}', b'{"a":"\xc0\x80"}', b'{"a":"\xed\xa0\x80"}', b'{"\xfe":1}'),
        *('{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-16-le"), '{"a":1}'.encode("utf-32")),
    ],
)
def test_not_one_valid_json_object(body: bytes) -> None:
    assert fault_of(body) is errors.INVALID_JSON


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":1,"b":2,"a":3}',
        b'{"model":"x","\\u006dodel":"y"}',
        b'{"\\u006dodel":"x","model":"y"}',
        b'{"a\\/b":1,"a/b":1}',
        b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":1}',
        b'{"":1, "" : 2}',
        b'{"a":1,"a":12}',
        b'{"a":12,"a":1}',
        b'{"a":1.5,"a":1}',
        # The second value's length leads into the first one: at what looks like other members, up to the same end.
        b'{"a":{"x":1,"b":7},"b":7,"a":123456}',
        b'{"model":["x","y":1],"y":1,"model":"z"}'.replace(b'"y":1]', b'{"y":1}]'),
        b'{"a":{"b":1, "c":2},"b":1,"c":2,"a":{}}',
        b'{"a":"\\ud800","a":"\\ud801"}',
    ],
)
def test_a_top_level_name_written_twice_by_any_spelling(body: bytes) -> None:
    assert fault_of(body) is errors.INVALID_JSON


def test_names_may_repeat_at_other_levels_and_in_texts() -> None:
    body = b'{"a":{"a":1,"b":[{"a":2}]},"b":"\\"a\\":1","c":"a"}'
    assert list(JsonBody(body).members) == ["a", "b", "c"]


@pytest.mark.parametrize("beside", ["0", "[" + ",".join(["[{}]"] * 300) + "]"], ids=["alone", "beside many others"])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_nesting_is_counted_to_the_level(pair: str, beside: str) -> None:
    opening = '{"k":' if pair == "{}" else "["
    inner, closing = ("1", "}") if pair == "{}" else ("", "]")
    for depth, fault in ((MAX_NESTING, None), (MAX_NESTING + 1, errors.INVALID_JSON)):
        body = f'{{"b":{beside},"a":' + opening * (depth - 1) + inner + closing * (depth - 1) + "}"
        assert fault_of(body.encode()) is fault


def test_brackets_in_texts_are_no_nesting() -> None:
    text = "[" * 500 + '\\"' + "{" * 500 + "\\\\"
    assert fault_of(f'{{"{text}":"{text}","b":[[["{text}"]]]}}'.encode()) is None


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_very_deep_nesting_is_refused_and_never_a_crash(depth: int) -> None:
    assert fault_of(nested(depth)) is errors.INVALID_JSON
    assert fault_of(b'{"a":' + b"[" * depth) is errors.INVALID_JSON


def test_many_shallow_values_are_not_deep() -> None:
    assert fault_of(b'{"a":[' + b",".join([b'{"b":[{}]}'] * 5_000) + b"]}") is None


def test_a_large_name_and_many_escapes_cost_no_more_than_their_length() -> None:
    """Each of these took seconds or gigabytes with a checker that backtracks or copies per match."""
    assert fault_of(b'{"' + b"k" * 3_000_000 + b'" :1}') is None
    assert fault_of(b'{"' + b"\\n" * 1_000_000 + b'" :1}') is None
    assert fault_of(b'{"a":"' + b"\\ud800" * 200_000 + b'"}') is None
    assert fault_of(b'{"a":[' + b",".join([b"[" * 120 + b"]" * 120] * 2_000) + b"]}") is None


# -- what is read ------------------------------------------------------------------------------------------------


def test_members_are_the_bytes_that_stood_there() -> None:
    body = b' {"a" : [1, 2.50] ,"b":"\\u0041" , "c":{ "d" :null}}\n'
    members = {name: bytes(raw) for name, raw in JsonBody(body).members.items()}
    assert members == {"a": b"[1, 2.50]", "b": b'"\\u0041"', "c": b'{ "d" :null}'}


@pytest.mark.parametrize("lone", ["\\ud800", "\\udfff", "\\ud800x", "\\udc00\\ud800", "\\ud800\\u0041", "\\ud83d\\n"])
def test_lone_surrogates_pass_in_texts_and_are_refused_where_they_would_be_stored(lone: str) -> None:
    body = JsonBody(f'{{"messages":[{{"content":"a{lone}b"}}],"model":"m","user":"u{lone}"}}'.encode())
    assert body.text("model") == "m"
    with pytest.raises(Refusal) as caught:
        body.text("user")
    assert (caught.value.fault, caught.value.param) == (errors.INVALID_VALUE, "user")


def test_pairs_of_surrogates_and_escaped_backslashes_are_no_lone_ones() -> None:
    body = JsonBody(b'{"user":"\\ud83d\\ude00 \\\\ud800","x":"\\ud800"}')
    assert body.text("user") == "\U0001f600 \\ud800"
    assert bytes(body.members["x"]) == b'"\\ufffd"'


def test_nul_is_refused_where_it_would_be_stored() -> None:
    body = JsonBody(b'{"user":"a\\u0000b","messages":"\\u0000"}')
    with pytest.raises(Refusal) as caught:
        body.text("user")
    assert (caught.value.fault, caught.value.param) == (errors.INVALID_VALUE, "user")


def test_texts_are_strings_cut_to_their_limit() -> None:
    body = JsonBody(json.dumps({"a": "x" * 300, "b": 1, "c": None, "d": ["x"], "e": ""}).encode())
    assert body.text("a") == "x" * 256
    assert body.text("a", limit=3) == "xxx"
    assert [body.text(name) for name in ("b", "c", "d", "missing")] == [None] * 4
    assert body.text("e") == ""


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((b"0", 0), (b"-0", 0), (b"5", 5), (b"9223372036854775807", 2**63 - 1), (b"-9223372036854775808", -(2**63))),
        *((b"1.0", None), (b"1e3", None), (b'"1"', None), (b"true", None), (b"null", None), (b"[1]", None)),
    ],
)
def test_integers(written: bytes, value: int | None) -> None:
    assert JsonBody(b'{"n":' + written + b"}").integer("n") == value


@pytest.mark.parametrize("written", [b"9223372036854775808", b"-9223372036854775809", b"9" * 5_000])
def test_integers_beyond_64_bits_are_refused_where_they_are_read(written: bytes) -> None:
    body = JsonBody(b'{"n":' + written + b',"seed":' + written + b"}")
    with pytest.raises(Refusal) as caught:
        body.integer("n")
    assert (caught.value.fault, caught.value.param) == (errors.INVALID_JSON, "n")


@pytest.mark.parametrize(
    ("body", "replaced"),
    [
        (b"{}", b'{"x":true}'),
        (b" { } \n", b' { "x":true} \n'),
        (b'{"a":"}"}', b'{"a":"}","x":true}'),
        (b'{"x":1}', b'{"x":true}'),
        (b'{ "x" : {"y": [1]} , "b":2.0}', b'{ "x" : true , "b":2.0}'),
        (b'{"a":{"x":1},"\\u0078":1}', b'{"a":{"x":1},"\\u0078":true}'),
        (b'{"a":"\\ud800","x":null}\n', b'{"a":"\\ud800","x":true}\n'),
    ],
)
def test_replaced_leaves_all_other_bytes(body: bytes, replaced: bytes) -> None:
    assert JsonBody(body).replaced("x", b"true") == replaced


# -- against json ------------------------------------------------------------------------------------------------

SPACES = st.text(" \t\r\n", max_size=2)
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\b\n\u0000[]{}:,a')


@st.composite
def spelled_strings(draw: st.DrawFn, texts: st.SearchStrategy[str] | None = None) -> str:
    """A JSON string in one of its spellings, with escapes that nobody needs, and lone surrogates now and then."""
    out = ""
    for character in draw(texts if texts is not None else st.text(CHARACTERS, max_size=6)):
        escaped = json.dumps(character)[1:-1]
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        long = "".join(f"\\u{unit:04x}" for unit in _units(character))
        out += draw(st.sampled_from([plain, escaped, long, long.upper().replace("\\U", "\\u")]))
        out += draw(st.sampled_from([""] * 30 + ["\\ud800", "\\uDFFF", "\\ud83d\\n"]))
    return f'"{out}"'


def _units(character: str) -> list[int]:
    data = character.encode("utf-16-be")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


NUMBERS = ["0", "-0", "1.5", "1e5", "-2E-3", "9" * 30, "1e999"]
scalars = st.sampled_from(["null", "true", "false", *NUMBERS]) | spelled_strings()


@st.composite
def containers(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(inner, max_size=4))
    if draw(st.booleans()):
        return f"[{draw(SPACES)}{','.join(items)}]"
    return draw(objects(st.just("") if not items else st.sampled_from(items), len(items)))


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str], size: int | None = None) -> str:
    names = spelled_strings(st.text("ab\u00e9\U0001f600", max_size=2))
    count = draw(st.integers(0, 5)) if size is None else size
    members = [
        draw(SPACES) + draw(names) + draw(SPACES) + ":" + draw(SPACES) + draw(values) + draw(SPACES)
        for _ in range(count)
    ]
    return "{" + draw(SPACES) + ",".join(members) + "}"


bodies = objects(st.recursive(scalars, lambda inner: containers(inner), max_leaves=8))


def expected_members(body: bytes) -> dict[str, Any] | None:
    """By ``json``, slowly: the members, or None where it must be refused."""

    def fail(constant: str) -> None:
        raise ValueError(constant)

    try:
        text = body.decode()
        pairs = json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs), parse_constant=fail)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple):
        return None
    names = [without_lone(name) for name, _ in pairs[1]]
    return None if len(set(names)) < len(names) else dict(zip(names, (value for _, value in pairs[1]), strict=True))


def without_lone(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def same(raw: bytes, value: Any) -> bool:
    read = json.loads(raw, object_pairs_hook=lambda pairs: ("object", pairs))
    return without_lone(json.dumps(read, ensure_ascii=False)) == without_lone(json.dumps(value, ensure_ascii=False))


PIECES = [b"", b'"', b"{", b"}", b",", b":", b"\\", b"0", b"\xff", b" ", b"\x0c"]


def agree(body: bytes) -> None:
    expected = expected_members(body)
    if expected is None:
        assert fault_of(body) is errors.INVALID_JSON
        return
    read = JsonBody(body)
    assert list(read.members) == list(expected)
    assert all(same(bytes(raw), expected[name]) for name, raw in read.members.items())
    for name in [*expected, "new"]:
        replaced = expected_members(read.replaced(name, b'{"y":[0]}'))
        assert replaced == {**expected, name: ("object", [("y", [0])])}


@settings(max_examples=150)
@given(bodies)
def test_json_agrees_on_what_is_valid_and_on_what_it_means(text: str) -> None:
    agree(text.encode())


@settings(max_examples=150)
@given(bodies, st.data())
def test_json_agrees_on_mangled_bodies(text: str, data: st.DataObject) -> None:
    body = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        size = data.draw(st.integers(0, 3))
        body[at : at + size] = data.draw(st.sampled_from(PIECES))
    agree(bytes(body))
