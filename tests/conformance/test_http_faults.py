"""FAULTS 1-8, 10, 45, 47: what is not HTTP as it should be, is too large, or comes too slowly."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.kit import (
    CANARY,
    LIMIT_BYTES,
    MESSAGES,
    FaultUnit,
    fault_unit,
    is_fault,
    post,
    refusal,
    row_of,
)
from harness.processes import Provider
from harness.raw import RawConnection, chat, request

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HEAD = LINE + f"Host: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer {CANARY}\r\n".encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

NOT_HTTP = {
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "length with a sign": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "length as a list": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "hexadecimal length": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "endless length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "empty length": HEAD + b"Content-Length: \r\n\r\nhello",
    "another transfer encoding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "almost chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, but not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": HEAD.replace(b"\r\n", b"\n") + b"\n",
    "folded header": HEAD + b"x-a: 1\r\n 2\r\n\r\n",
    "NUL in a header": HEAD + b"x-a: 1\x002\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "no colon": HEAD + b"x-a\r\n\r\n",
    "no method": b"/v1/models\r\n\r\n",
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "chunk size of letters": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "hexadecimal chunk size": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "endless chunk size": CHUNKED + b"fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "chunk with a bare line feed": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
}


PIECES = (
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\x00",
    b": ",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\xff",
)


@pytest.fixture(scope="module")
def unit(module_dir: Path, provider: Provider) -> Iterator[FaultUnit]:
    yield from fault_unit(module_dir, provider)


@pytest.mark.parametrize("name", NOT_HTTP)
def test_1_what_is_not_http(unit: FaultUnit, provider: Provider, name: str) -> None:
    before = len(provider.invoice())
    refusal(unit, NOT_HTTP[name], 400, "bad_http_request", kept=False)
    assert len(provider.invoice()) == before


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9"])
def test_2_other_versions(unit: FaultUnit, version: bytes) -> None:
    data = HEAD.replace(b"HTTP/1.1", version) + b"Content-Length: 2\r\n\r\n{}"
    refusal(unit, data, 505, "http_version_not_supported", kept=False)


def test_2_the_preface_of_http_2(unit: FaultUnit) -> None:
    refusal(unit, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 505, "http_version_not_supported", kept=False)


def _headers(count: int, size: int) -> bytes:
    return b"".join(b"x-%d: %s\r\n" % (number, CANARY.encode().ljust(size, b"a")) for number in range(count))


@pytest.mark.parametrize(
    "data",
    [
        HEAD + _headers(1, 8200) + b"\r\n",
        HEAD + _headers(70, 1000) + b"\r\n",
        HEAD + _headers(98, 10) + b"\r\n",
        HEAD.replace(b"/completions", b"/completions?" + b"a" * 9000) + b"\r\n",
        HEAD + b"x-endless: " + b"a" * 70_000,
        b"\r\n" * 40_000 + HEAD,
    ],
    ids=["long line", "large head", "101 headers", "long target", "line without end", "blank lines without end"],
)
def test_3_head_too_large(unit: FaultUnit, data: bytes) -> None:
    refusal(unit, data, 431, "headers_too_large", kept=False)


def test_3_the_largest_head_that_is_taken(unit: FaultUnit) -> None:
    body = b"{}"
    extra = _headers(7, 8000) + _headers(88, 10)
    refusal(unit, HEAD + extra + b"Content-Length: 2\r\n\r\n" + body, 400, "missing_required_parameter", param="model")


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x-a: \x01\r\n",
        HEAD + b"x-a: \x7f\r\n",
        HEAD + b"x-a: \xc3\xa4\r\n",
        HEAD + b"Host: localhost\r\n",
        HEAD.replace(b"Host: localhost\r\n", b""),
        HEAD.replace(b"/v1/", b"/v1/\xc3\xa4"),
    ],
    ids=["control", "delete", "not ASCII", "two hosts", "no host", "target not ASCII"],
)
def test_4_header_bytes_and_hosts(unit: FaultUnit, head: bytes) -> None:
    refusal(unit, head + b"Content-Length: 2\r\n\r\n{}", 400, "bad_http_request", kept=False)


@pytest.mark.parametrize("begun", [b"P", LINE, HEAD, HEAD + b"x-a: " + CANARY.encode()])
def test_5_a_head_that_does_not_end(unit: FaultUnit, begun: bytes) -> None:
    refusal(unit, begun, 408, "request_timeout", kept=False)


def test_5_a_head_that_does_not_end_on_a_kept_connection(unit: FaultUnit) -> None:
    with RawConnection(unit.port) as connection:
        connection.send(request("GET", "/healthz"))
        assert connection.read_answer().status == 200
        connection.send(HEAD)
        is_fault(connection.read_answer(), 408, "request_timeout")


@pytest.mark.parametrize("anthropic", [False, True])
def test_6_a_body_that_dribbles(unit: FaultUnit, anthropic: bool) -> None:
    head = HEAD.replace(b"chat/completions", b"messages") if anthropic else HEAD
    data = head + b'Content-Length: 5000\r\n\r\n{"model":'
    refusal(unit, data, 408, "request_timeout", anthropic=anthropic, kept=False)


def test_7_a_declared_body_over_the_limit(unit: FaultUnit) -> None:
    data = HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT_BYTES + 1)
    refusal(unit, data, 413, "request_too_large", kept=False)
    again = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (LIMIT_BYTES + 1)
    refusal(unit, again, 413, "request_too_large", kept=False)


def test_7_a_body_at_the_limit(unit: FaultUnit) -> None:
    body = b'{"pad":"' + b"a" * (LIMIT_BYTES - 10) + b'"}'
    assert len(body) == LIMIT_BYTES
    refusal(unit, post(body), 400, "missing_required_parameter", param="model", kept=True)


def test_8_a_chunked_body_over_the_limit(unit: FaultUnit) -> None:
    piece = b"1000\r\n" + b"a" * 0x1000 + b"\r\n"
    over = CHUNKED + piece * (LIMIT_BYTES // 0x1000 + 1)
    refusal(unit, over, 413, "request_too_large", kept=False)
    refusal(unit, over + b"0\r\n\r\n", 413, "request_too_large", kept=False)  # also when all of it is there


def test_8_chunk_framing_without_end(unit: FaultUnit) -> None:
    piece = b"1;" + b"a" * 8000 + b"\r\na\r\n"
    refusal(unit, CHUNKED + piece * 30, 400, "bad_http_request", kept=False)


@pytest.mark.parametrize("anthropic", [False, True])
def test_10_another_expectation(unit: FaultUnit, anthropic: bool) -> None:
    path = "messages" if anthropic else "chat/completions"
    data = post(MESSAGES, path, {"Expect": "200-ok"})
    refusal(unit, data, 417, "expectation_failed", anthropic=anthropic, kept=False)


def test_45_what_follows_a_bad_request_is_not_read(unit: FaultUnit, provider: Provider) -> None:
    """Smuggling: the second request must never be answered, nor reach the provider."""
    before = len(provider.invoice())
    refusal(unit, NOT_HTTP["length and chunks"] + post(chat()), 400, "bad_http_request", kept=False)
    assert len(provider.invoice()) == before


def test_45_pipelined_calls_keep_their_order_and_the_last_may_be_bad(unit: FaultUnit) -> None:
    with RawConnection(unit.port) as connection:
        first = post(chat(), headers={"x-scripted": "ttft_ms=200"})
        connection.send(first + post(b"{") + request("GET", "/healthz") + post(chat()) + NOT_HTTP["bare line feeds"])
        answers = [connection.read_answer() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 400, 200, 200]
        is_fault(answers[1], 400, "invalid_json")
        assert answers[2].body == b"ok\n"
        assert row_of(unit, answers[0])["outcome"] == row_of(unit, answers[3])["outcome"] == "ok"


@pytest.mark.parametrize("host", [f"{CANARY}.example", "localhost.example:80", "127.0.0.2", "[::2]", "localhost@evil"])
def test_47_another_host(unit: FaultUnit, host: str) -> None:
    refusal(unit, request("GET", "/v1/models", {"Host": host}), 421, "misdirected_request", kept=False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:4100", "[::1]", "[::1]:4100"])
def test_47_its_own_hosts(unit: FaultUnit, host: str) -> None:
    with RawConnection(unit.port) as connection:
        connection.send(request("GET", "/v1/models", {"Host": host}))
        assert connection.read_answer().status == 200


SEEDS = (
    post(chat(temperature=1), headers={"x-submeter-team": "t"}),
    CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    CHUNKED.replace(b"chat/completions", b"files") + b"5\r\nhello\r\n0\r\n\r\n",
    request("POST", "/v1/files", {}, b"hello") + request("GET", "/v1/models"),
)


@given(
    st.sampled_from(SEEDS),
    st.integers(0, 400),
    st.integers(0, 40),
    st.binary(max_size=12) | st.sampled_from(list(PIECES)),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_a_relay_fail(unit: FaultUnit, seed: bytes, at: int, cut: int, piece: bytes) -> None:
    """Good calls with some bytes replaced: they are answered in HTTP, never by a 500, or the connection ends."""
    with RawConnection(unit.port, deadline_s=8.0) as connection:
        connection.send(seed[:at] + piece + seed[at + cut :])
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.read_to_end()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert not answer.startswith(b"HTTP/1.1 500 ")
    with RawConnection(unit.port) as connection:
        connection.send(request("GET", "/healthz"))
        assert connection.read_answer().body == b"ok\n"
