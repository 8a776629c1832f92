"""Request heads: hostile until parsed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.tcp.http_server import HttpRefused
from collector.speedtests.measure.http import parse, response_head


def head(first: str, *fields: str) -> bytes:
    return "\r\n".join([first, "Host: x", *fields, "", ""]).encode()


def test_folders_and_php_do_not_matter() -> None:
    request = parse(head("GET /speed/backend/garbage.php?ckSize=20&test=a HTTP/1.1"))
    assert (request.name, request.query) == ("garbage", {"ckSize": "20", "test": "a"})


def test_an_absolute_address_is_read_as_ours() -> None:
    request = parse(head("GET http://www.speedtest.net/speedtest-config.php HTTP/1.1"))
    assert request.name == "speedtest-config"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /"], 400),
        (["GET / HTTP/2"], 400),
        (["DELETE / HTTP/1.1"], 405),
        (["CONNECT host:443 HTTP/1.1"], 405),
        (["GET / HTTP/1.1", "no colon"], 400),
        (["GET / HTTP/1.1", "Content-Length : 5"], 400),
        (["POST / HTTP/1.1", "Content-Length: five"], 400),
        (["POST / HTTP/1.1", "Content-Length: -1"], 400),
        (["POST / HTTP/1.1", "Content-Length: 1" + "0" * 20], 400),
        (["POST / HTTP/1.1", "Content-Length: 5", "Content-Length: 6"], 400),
        (["POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"], 400),
        (["POST / HTTP/1.1", "Transfer-Encoding: gzip"], 501),
        (["GET http://[ HTTP/1.1"], 400),
        (["GET /?" + "&".join(f"a{i}=1" for i in range(40)) + " HTTP/1.1"], 400),
    ],
)
def test_what_breaks_a_rule_is_refused_with_it(lines: list[str], status: int) -> None:
    with pytest.raises(HttpRefused) as caught:
        parse(head(*lines))
    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    with contextlib.suppress(HttpRefused):
        parse(raw + b"\r\n\r\n")


def test_cross_origin_headers_come_only_when_asked_for() -> None:
    assert b"Access-Control" not in response_head(200, 0)
    assert b"Access-Control-Allow-Origin: *" in response_head(200, 0, cors=True)
