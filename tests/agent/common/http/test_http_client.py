"""Requests against real servers on the loopback: answers, refusals, redirects, and servers that never finish."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.common import http
from tests.helpers import ROOT

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
UNTIL_CLOSED = b"HTTP/1.0 200 OK\r\n\r\nhello"


@contextmanager
def server(*answers: bytes, drip_s: float = 0.0) -> Iterator[str]:
    """One connection for each answer, in turn; `drip_s` between its bytes."""
    came = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def work() -> None:
            for answer in answers:
                conversation, _ = listener.accept()
                with conversation:
                    conversation.recv(65536)
                    for piece in [answer[i : i + 1] for i in range(len(answer))] if drip_s else [answer]:
                        try:
                            conversation.sendall(piece.replace(b"URL", url.encode()))
                        except OSError:
                            break
                        if came.wait(drip_s):
                            break

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield url
        finally:
            came.set()
            thread.join()


def test_an_answer_is_read_up_to_its_limit() -> None:
    with server(OK, OK) as url:
        assert http.ask(url, limit=100, within_s=20) == http.HttpPage(status=200, body=b"hello")
        assert http.ask(f"{url}/a?b=c", limit=3, within_s=20).body == b"hel"
    with server(UNTIL_CLOSED) as url, http.open_page(url, within_s=20) as page:
        assert page.read() == b"hello"


def test_a_refusal_is_an_answer_and_no_page() -> None:
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"
    with server(refusal, refusal) as url:
        assert http.ask(url, limit=100, within_s=20, body=b"{}") == http.HttpPage(status=404, body=b"gone")
        with pytest.raises(http.HttpFailed) as caught:
            http.open_page(url, within_s=20)
    assert caught.value.status == 404


def moved(place: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % place


def test_a_get_follows_some_redirects_and_a_post_none() -> None:
    with server(moved(b"/other"), moved(b"URL/there"), OK, moved(b"/other")) as url:
        with http.open_page(url, within_s=20) as page:
            assert page.read() == b"hello"
        assert http.ask(url, limit=9, within_s=20, body=b"x").status == 302
    with server(*[moved(b"/again")] * 4) as url, pytest.raises(http.HttpFailed, match="more than 3 times"):
        http.ask(url, limit=9, within_s=20)


@pytest.mark.parametrize("place", [b"file:///etc/passwd", b"ftp://host/x"])
def test_a_redirect_leads_to_no_other_scheme(place: bytes) -> None:
    with server(moved(place)) as url, pytest.raises(OSError, match="no http"):
        http.ask(url, limit=9, within_s=20)


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 3000])
def test_a_server_that_sends_a_byte_now_and_then_holds_nobody_up(answer: bytes) -> None:
    began_s = time.monotonic()
    with server(answer, drip_s=0.2) as url, pytest.raises(OSError, match=r"too long|timed out"):
        http.ask(url, limit=100, within_s=1.0)
    assert time.monotonic() - began_s < 20  # the answers would take minutes


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "http://", "http://127.0.0.1:99999", "http://[::1"])
def test_what_is_no_address_is_an_os_error(url: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011  (of many kinds)
        http.ask(url, limit=9, within_s=5)


def test_what_does_not_speak_http_is_an_os_error() -> None:
    with server(b"220 mail.example ESMTP\r\n") as url, pytest.raises(OSError):  # noqa: PT011
        http.ask(url, limit=9, within_s=5)


def test_no_module_of_the_agent_loads_urllib_request() -> None:
    """paho does for itself; a seat and the process of a speed test do without."""
    sources = {path: path.read_text() for path in (ROOT / "agent").rglob("*.py")}
    assert [
        path for path, text in sources.items() if re.search(r"^\s*(import|from) urllib\.(request|error)", text, re.M)
    ] == []
    script = "import sys, agent.seat.__main__, agent.probes.speed.child; print('urllib.request' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
