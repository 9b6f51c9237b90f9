"""Which headers go on, in either direction; whose credential a call carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core import headers
from submeter.core.headers import connection_tokens, credential, downstream_response, find, upstream_request, write

CALLER = [
    (b"Host", b"127.0.0.1:4100"),
    (b"Authorization", b"Bearer sk-caller"),
    (b"X-Stainless-Lang", b"python"),
    (b"Accept-Encoding", b"gzip"),
    (b"Content-Length", b"12"),
    (b"Expect", b"100-continue"),
    (b"Connection", b"keep-alive, X-Hop"),
    (b"x-hop", b"1"),
    (b"Keep-Alive", b"5"),
    (b"TE", b"trailers"),
    (b"Transfer-Encoding", b"chunked"),
    (b"X-Submeter-Team", b"search"),
    (b"OpenAI-Beta", b"x"),
    (b"openai-beta", b"y"),
]


def test_the_callers_headers_go_up_in_order_and_case() -> None:
    assert upstream_request(CALLER, host=b"api.openai.com") == [
        (b"Host", b"api.openai.com"),
        (b"Authorization", b"Bearer sk-caller"),
        (b"X-Stainless-Lang", b"python"),
        (b"Accept-Encoding", b"gzip"),
        (b"OpenAI-Beta", b"x"),
        (b"openai-beta", b"y"),
    ]


def test_a_metered_call_asks_for_an_answer_that_can_be_read() -> None:
    sent = upstream_request(CALLER, host=b"h", identity=True)
    assert [value for name, value in sent if name.lower() == b"accept-encoding"] == [b"identity"]


@pytest.mark.parametrize(
    ("sent", "replaced"),
    [
        ((b"Authorization", b"Bearer sk-caller"), (b"Authorization", b"Bearer sk-own")),
        ((b"authorization", b"Basic abc"), (b"authorization", b"Bearer sk-own")),
        ((b"X-Api-Key", b"sk-caller"), (b"X-Api-Key", b"sk-own")),
        ((b"api-key", b"sk-caller"), (b"api-key", b"sk-own")),
        ((b"x-goog-api-key", b"sk-caller"), (b"x-goog-api-key", b"sk-own")),
        ((b"X-Other", b"1"), None),
    ],
)
def test_a_configured_key_takes_the_place_of_the_callers(
    sent: tuple[bytes, bytes], replaced: tuple[bytes, bytes] | None
) -> None:
    out = upstream_request([sent], host=b"h", api_key=b"sk-own")
    assert out == [(b"Host", b"h"), *([sent, (b"Authorization", b"Bearer sk-own")] if replaced is None else [replaced])]


def test_no_other_credential_of_the_caller_goes_on_beside_a_configured_key() -> None:
    mixed = [(b"x-api-key", b"one"), (b"Authorization", b"Bearer two"), (b"api-key", b"three"), (b"x-api-key", b"four")]
    assert upstream_request(mixed, host=b"h", api_key=b"own") == [(b"Host", b"h"), (b"x-api-key", b"own")]
    none = upstream_request([], host=b"h", api_key=b"own", key_header=b"x-api-key")
    assert none == [(b"Host", b"h"), (b"x-api-key", b"own")]


def test_an_upgrade_keeps_what_asks_for_it() -> None:
    asked = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Key", b"k")]
    assert upstream_request(asked, host=b"h") == [(b"Host", b"h"), (b"Sec-WebSocket-Key", b"k")]
    assert upstream_request(asked, host=b"h", upgrade=True) == [
        (b"Host", b"h"),
        (b"Sec-WebSocket-Key", b"k"),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
    ]


def test_the_upstreams_headers_come_down_in_order_and_case() -> None:
    answer = [
        (b"Date", b"x"),
        (b"Content-Length", b"5"),
        (b"Connection", b"close, x-internal"),
        (b"X-Internal", b"1"),
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"x-ratelimit-remaining-tokens", b"9"),
        (b"X-Submeter-Call-Id", b"of a relay behind this one"),
        (b"Trailer", b"x"),
    ]
    rest = [(b"Date", b"x"), (b"Set-Cookie", b"a"), (b"set-cookie", b"b"), (b"x-ratelimit-remaining-tokens", b"9")]
    assert downstream_response(answer, keep_length=False) == rest
    assert downstream_response(answer, keep_length=True) == [rest[0], (b"Content-Length", b"5"), *rest[1:]]


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ([], None),
        ([(b"Authorization", b"Bearer sk-1")], b"sk-1"),
        ([(b"authorization", b"bearer   sk-1 ")], b"sk-1"),
        ([(b"Authorization", b"Basic abc")], b"Basic abc"),
        ([(b"Authorization", b"sk-1")], b"sk-1"),
        ([(b"Authorization", b" "), (b"x-api-key", b"k")], b"k"),
        ([(b"X-API-Key", b"k"), (b"Authorization", b"Bearer sk-1")], b"sk-1"),
        ([(b"api-key", b"azure")], b"azure"),
        ([(b"x-goog-api-key", b"g")], b"g"),
        ([(b"cookie", b"c")], None),
    ],
)
def test_the_callers_credential(sent: list[tuple[bytes, bytes]], found: bytes | None) -> None:
    assert credential(sent) == found


def test_reading_and_writing() -> None:
    assert find(CALLER, b"openai-beta") == b"x"
    assert find(CALLER, b"missing") is None
    assert connection_tokens([(b"Connection", b"close"), (b"connection", b" A ,b,")]) == {b"close", b"a", b"b", b""}
    assert write(b"HTTP/1.1 200 OK", [(b"A", b"1"), (b"a", b"2")]) == b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\n\r\n"


names = st.sampled_from(
    [*headers.HOP_BY_HOP, *headers.CREDENTIALS, b"x-submeter-team", b"host", b"x-a", b"x-b", b"X-Submeter-X"]
)


@given(st.lists(st.tuples(names, st.sampled_from([b"1", b"x-a", b"close", b"Bearer k"])), max_size=10), st.booleans())
def test_what_never_goes_up(sent: list[tuple[bytes, bytes]], configured: bool) -> None:
    out = upstream_request(sent, host=b"h", identity=True, api_key=b"own" if configured else None)
    lower = [name.lower() for name, _ in out]
    assert lower.count(b"host") == 1
    assert not headers.HOP_BY_HOP & set(lower)
    assert not any(name.startswith(b"x-submeter-") for name in lower)
    assert not connection_tokens(sent) & set(lower) - {b"authorization", b"host", b"accept-encoding"}
    if configured:
        assert [value for name, value in out if name.lower() in headers.CREDENTIALS] in ([b"own"], [b"Bearer own"])
