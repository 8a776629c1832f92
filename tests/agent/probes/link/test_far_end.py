"""What counts of the echoes to a far end, and who it is that answers there. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from agent.probes.link.echo_cookie import read_answer
from agent.probes.link.far_end import CookieJar, FarSeen, Impostor
from agent.probes.link.ping import Echoes, Method, echo_lost

GOOD = b'{"port": 8474, "cookie": "00112233445566778899aabbccddeeff", "valid_s": 300.0}'


def echoes(received: int, method: Method = "icmp") -> Echoes:
    return Echoes(target="x", method=method, rtts_ms=(10.0,) * received + (None,) * (20 - received))


def seen(first: int, again: int, second: int, **changes: Any) -> FarSeen:
    given: dict[str, Any] = {"first": echoes(first), "again": echoes(again), "second": echoes(second, "udp")}
    return FarSeen(address="x", **(given | changes))


@pytest.mark.parametrize(
    ("found", "method", "lost"),
    [
        (seen(12, 10, 20), "udp", 0.0),  # the second loses none of what echoes lose beside it: policed
        (seen(0, 0, 20), "udp", 0.0),
        # A loss that was over when both were asked was a loss all the same.
        (seen(8, 20, 20), "icmp", 0.6),
        (seen(18, 19, 20), "icmp", 0.1),  # one more by chance
        (seen(10, 10, 11), "icmp", 0.5),
        (seen(12, 20, 0), "icmp", 0.4),  # somebody drops the datagrams
        (seen(0, 0, 0), "icmp", 1.0),
    ],
)
def test_echoes_are_policed_only_if_another_method_beside_them_loses_clearly_less(
    found: FarSeen, method: str, lost: float
) -> None:
    assert (found.counts.method, echo_lost(found.counts)) == (method, pytest.approx(lost))
    assert found.methods[-1] is found.counts or found.methods[-1] == found.counts


@pytest.mark.parametrize(
    ("impostor", "echoes_are_its", "lost"), [("portal", True, 1.0), ("filtered", True, 1.0), ("filtered", False, 0.0)]
)
def test_what_an_impostor_answers_is_nobodys_answer(impostor: Impostor, echoes_are_its: bool, lost: float) -> None:
    found = FarSeen(address="x", first=echoes(20), impostor=impostor, echoes_are_its=echoes_are_its)
    assert echo_lost(found.counts) == lost


@pytest.mark.parametrize(
    ("head", "body", "answerer"),
    [
        (b"HTTP/1.1 200 OK", GOOD, "far_end"),
        (b"HTTP/1.1 200 OK", b"<html>Please pay</html>", "stranger"),
        (b"HTTP/1.1 200 OK", b"", "stranger"),
        (b"HTTP/1.1 200 OK", b'{"port": 0, "cookie": "zz"}', "stranger"),
        (b"HTTP/1.1 200 OK", b"[" * 5000, "stranger"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/", b"", "stranger"),
        (b"HTTP/1.1 511 Network Authentication Required", b"", "stranger"),
        (b"HTTP/1.1 302 Found", GOOD, "stranger"),
        (b"\x15\x03\x01\x00\x02\x02", b"", "stranger"),
        (b"HTTP/1.1 404 Not Found", b"", "unknown"),
        (b"HTTP/1.1 503 Busy", b"", "unknown"),
        (b"", b"", "refused"),
    ],
)
def test_only_a_cookie_is_the_measurement_servers_answer(head: bytes, body: bytes, answerer: str) -> None:
    assert read_answer(head, body).answerer == answerer


def test_a_cookie_is_used_while_it_is_valid_and_for_its_own_address() -> None:
    cookie = read_answer(b"HTTP/1.1 200 OK", GOOD).cookie
    assert cookie is not None
    jar = CookieJar()
    jar.keep("http://a", "192.0.2.1", cookie, now_s=1000.0)
    assert jar.get("http://a", "192.0.2.1", needed_until_s=1299.0) == cookie
    assert jar.get("http://a", "192.0.2.1", needed_until_s=1301.0) is None
    assert jar.get("http://a", "192.0.2.2", needed_until_s=1001.0) is None
