"""Heads of requests and responses, and the bounds of whoever sends them: hostile until read."""

from __future__ import annotations

import asyncio
import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.tcp.http_server import (
    MAX_FIELDS,
    ConnectionLimiter,
    HttpRefused,
    RateLimiter,
    parse_head,
    read_head,
    response_head,
)
from tests.helpers import ROOT


def head(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    return end.join([*lines, b"", b""])


POST = (b"POST /seat HTTP/1.1", b"Host: gateway")


def test_a_head_is_read_as_it_was_sent() -> None:
    sent = head(b"POST /a?b=c HTTP/1.1", b"HOST:  g:8471 ", b"Content-Length: 5", b"X-\xc3: 1".replace(b"\xc3", b"A"))
    request = parse_head(sent)
    assert (request.method, request.target, request.body_bytes) == ("POST", "/a?b=c", 5)
    assert request.headers == {"host": "g:8471", "content-length": "5", "x-a": "1"}
    assert request.keep_alive
    assert not request.expects_continue


def test_a_field_given_several_times_is_one_list() -> None:
    assert parse_head(head(*POST, b"Accept: a", b"accept: b")).headers["accept"] == "a, b"


def test_an_absolute_address_is_left_as_it_is_for_the_server_to_judge() -> None:
    """Both servers take it as no proxy would: one refuses it, the other reads the path of it."""
    assert parse_head(head(b"GET http://evil.example/x HTTP/1.1", b"Host: g")).target == "http://evil.example/x"


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([b"GET / HTTP/1.1", b"Host: x"], True),
        ([b"GET / HTTP/1.1", b"Host: x", b"Connection: TE, Close"], False),
        ([b"GET / HTTP/1.0"], False),
        ([b"GET / HTTP/1.0", b"Connection: Keep-Alive"], True),
        ([b"GET / HTTP/1.0", b"Connection: keep-alive, close"], False),
        ([b"GET / HTTP/1.1", b"Host: x", b"Proxy-Connection: close"], False),
    ],
)
def test_a_connection_is_kept_as_http_has_it(lines: list[bytes], kept: bool) -> None:
    assert parse_head(head(*lines)).keep_alive is kept


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        # One body that could be read as two requests, or fields that readers could see differently (RFC 9112, 11.2).
        (head(*POST, b"Content-Length: 1", b"Content-Length: 2"), 400),
        (head(*POST, b"Content-Length: 1", b"content-length: 1"), 400),
        (head(*POST, b"Content-Length: 1, 1"), 400),
        (head(*POST, b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        (head(*POST, b"Transfer-Encoding: chunked", b"Content-Length: 1"), 400),
        (head(*POST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 501),
        (head(*POST, b"Transfer-Encoding: gzip, chunked"), 501),
        (head(*POST, b"Transfer-Encoding: xchunked"), 501),
        (head(*POST, b"Transfer-Encoding : chunked"), 400),
        (head(*POST, b"Transfer-Encoding:\x0bchunked"), 400),
        (head(b"POST / HTTP/1.0", b"Host: x", b"Transfer-Encoding: chunked"), 400),
        (head(*POST, b"Content-Length: +1"), 400),
        (head(*POST, b"Content-Length: -1"), 400),
        (head(*POST, b"Content-Length: 0x1"), 400),
        (head(*POST, b"Content-Length: 1 1"), 400),
        (head(*POST, b"Content-Length: \xb2"), 400),
        (head(*POST, b"Content-Length:"), 400),
        (head(*POST, b"Content-Length: 1" + b"0" * 20), 400),
        (head(*POST, b"X: a", b" Content-Length: 1"), 400),  # folded
        (head(*POST, b"X: a", b"\tb"), 400),
        (head(POST[0], b" Host: gateway"), 400),
        (head(*POST, b"X: a\nContent-Length: 1"), 400),  # a bare LF
        (head(*POST, b"X: a\rContent-Length: 1"), 400),
        (head(*POST, end=b"\n"), 400),
        (head(*POST, b"X: a\n\nGET / HTTP/1.1"), 400),
        (head(*POST, b"X: \0"), 400),
        (head(*POST, b"X: \x7f"), 400),
        (head(*POST, b"Content Length: 1"), 400),
        (head(*POST, b": 1"), 400),
        (head(*POST, b"no colon"), 400),
        (head(*POST, POST[1]), 400),  # two hosts
        (head(POST[0]), 400),  # no host
        (head(b"", *POST), 400),
        (head(b"GET  / HTTP/1.1", POST[1]), 400),
        (head(b"GET /\tHTTP/1.1", POST[1]), 400),
        (head(b"GET / HTTP/1.1 ", POST[1]), 400),
        (head(b"GET / x HTTP/1.1", POST[1]), 400),
        (head(b"GET /\xa0 HTTP/1.1", POST[1]), 400),
        (head(b"GET /", POST[1]), 400),
        (head(b"GET / HTTP/2", POST[1]), 400),
        (head(b"GET / HTTP/2.0", POST[1]), 505),
        (head(b"GET / HTTP/1.2", POST[1]), 505),
        (head(b"GET / http/1.1", POST[1]), 400),
        (head(b"G(T / HTTP/1.1", POST[1]), 400),
        (head(*POST, *[b"X: a"] * MAX_FIELDS), 431),
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 400),
        (b"", 400),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(HttpRefused) as caught:
        parse_head(raw)
    assert caught.value.status == status
    assert len(caught.value.why) < 150


def test_as_many_fields_as_allowed_are_read() -> None:
    assert parse_head(head(*POST, *[b"X: a"] * (MAX_FIELDS - 1))).headers["x"].count("a") == MAX_FIELDS - 1


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    for raw in (head(b"<script> / HTTP/1.1"), head(*POST, b"<script>")):
        with pytest.raises(HttpRefused) as caught:
            parse_head(raw)
        assert "script" not in caught.value.why


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    for sent in (raw + b"\r\n\r\n", head(*POST, raw)):
        with contextlib.suppress(HttpRefused):
            request = parse_head(sent)
            assert request.body_bytes is None or request.body_bytes >= 0


# ---------------------------------------------------------------- reading


def pieces(*given: bytes) -> tuple[bytes, bytes]:
    rest = list(given)

    async def receive() -> bytes:
        return rest.pop(0) if rest else b""

    return asyncio.run(read_head(receive, b"", 40))


def test_a_head_ends_at_its_blank_line_however_it_comes() -> None:
    sent = head(b"GET / HTTP/1.1", b"Host: x")
    assert pieces(sent + b"body") == (sent, b"body")
    assert pieces(*(bytes([octet]) for octet in sent)) == (sent, b"")
    assert pieces(b"a" * 40 + b"\r\n\r\nb")[1] == b"b"


def test_a_head_that_is_too_long_or_breaks_off_is_not_waited_for() -> None:
    for sent in (b"a" * 41, b"a" * 41 + b"\r\n\r\n"):
        with pytest.raises(HttpRefused) as caught:
            pieces(sent)
        assert caught.value.status == 431
    with pytest.raises(EOFError):
        pieces(b"GET / HT")


# ---------------------------------------------------------------- answers and bounds


def test_a_response_has_a_head_that_no_value_can_break_out_of() -> None:
    raw = response_head(404, [("Content-Length", "0"), ("Connection", "close")])
    assert raw == b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with pytest.raises(Exception, match="Illegal header value"):
        response_head(200, [("Content-Length", "0"), ("X", "a\r\nSet-Cookie: b")])


def test_an_address_is_slowed_and_memory_stays_bounded() -> None:
    limiter = RateLimiter(1.0, 3.0, addresses=10)
    assert [limiter.admits("10.0.0.1", 0.0) for _ in range(5)] == [True, True, True, False, False]
    # Another address is not made to pay.
    assert limiter.admits("10.0.0.2", 0.0)
    # A second buys one more; being refused costs nothing.
    assert [limiter.admits("10.0.0.1", 1.0) for _ in range(2)] == [True, False]
    for number in range(1000):
        limiter.admits(f"10.1.{number // 256}.{number % 256}", 2.0)
    assert len(limiter.buckets) == 10


def test_connections_are_counted_by_address_and_in_all() -> None:
    limiter = ConnectionLimiter(3, 2, retry_after_s=7)
    with limiter.counted("a"), limiter.counted("a"):
        full = limiter.refusal("a")
        assert full is not None
        assert (full.status, full.retry_after_s) == (429, 7)
        assert limiter.refusal("b") is None
        with limiter.counted("b"):
            full = limiter.refusal("c")
            assert full is not None
            assert full.status == 503
    assert limiter.refusal("a") is None
    assert limiter.open == {}


def test_both_programs_name_the_parser_among_what_they_need() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert all(any(name.startswith("h11") for name in extras[extra]) for extra in ("agent", "collector"))
    assert all("\nh11==" in (ROOT / f"requirements/{extra}.lock").read_text() for extra in ("agent", "collector"))
