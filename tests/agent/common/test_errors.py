"""What exceptions say in words: always something, on one line, printable, with its causes."""

from __future__ import annotations

import asyncio
import errno
import socket
import sqlite3
import ssl
import threading
import urllib.error

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.common.errors import LIMIT, code_of, describe, one_line, printable


class SilentError(Exception):
    """Says nothing."""


class FailingError(Exception):
    def __str__(self) -> str:
        raise ValueError


def raised_from(error: Exception, cause: BaseException) -> Exception:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def tls_error() -> ssl.SSLError:
    """Of a handshake with somebody who speaks no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with socket.create_connection(listener.getsockname()) as plain, pytest.raises(ssl.SSLError) as caught:
            ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
        thread.join()
    return caught.value


async def timed_out() -> TimeoutError:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)
    return caught.value


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (TimeoutError(), "timed out", "TimeoutError"),
        (OSError(), "OS error", "OSError"),
        (ConnectionResetError(), "connection reset", "ConnectionResetError"),
        (BrokenPipeError(), "broken pipe", "BrokenPipeError"),
        (EOFError(), "EOF error", "EOFError"),
        (ValueError(), "value error", "ValueError"),
        (SilentError(), "silent error", "SilentError"),
        (FailingError(), "failing error", "FailingError"),
        (asyncio.IncompleteReadError(b"", 4), "0 bytes read on a total of 4 expected bytes", "IncompleteReadError"),
        (ssl.SSLError(), "SSL error", "SSLError"),
        (ssl.SSLCertVerificationError(), "SSL cert verification", "SSLCertVerificationError"),
        (OSError(errno.ENOSPC, None), "ENOSPC", "ENOSPC"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), "No such file", "ENOENT"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known", "gaierror"),
        (urllib.error.URLError(ConnectionRefusedError(errno.ECONNREFUSED, "Refused")), "Refused", "ECONNREFUSED"),
        (urllib.error.URLError(TimeoutError()), "timed out", "TimeoutError"),
        (urllib.error.URLError("no host given"), "no host given", "URLError"),
        (KeyError("width"), "key error: 'width'", "KeyError"),
        (Exception("why"), "why", "Exception"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error", "OperationalError"),
        (
            sa.exc.OperationalError("INSERT INTO x", {"y": "secret"}, sqlite3.OperationalError("disk full")),
            "disk full",
            "OperationalError",
        ),
        (asyncio.CancelledError(), "cancelled error", "CancelledError"),
        (
            ExceptionGroup("several", [TimeoutError(), TimeoutError(), *(ValueError(str(n)) for n in range(4))]),
            "timed out; 0; 1; 2 more",
            "ExceptionGroup",
        ),
        (raised_from(SilentError("the session ended"), TimeoutError()), "the session ended: timed out", "SilentError"),
        (raised_from(SilentError("no answer: refused"), OSError("refused")), "no answer: refused", "SilentError"),
        (tls_error(), "TLS: wrong version number", "WRONG_VERSION_NUMBER"),
        (asyncio.run(timed_out()), "timed out", "TimeoutError"),  # which comes from a cancellation
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_each_error_has_words_and_a_code(error: BaseException, words: str, code: str) -> None:
    assert (describe(error), code_of(error)) == (words, code)


def test_paho_says_why_by_reason_codes() -> None:
    assert describe(ReasonCode(PacketTypes.CONNACK, "Not authorized")) == "Not authorized"


def test_a_full_disk_has_the_name_that_sqlite_gives_it() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("CREATE TABLE wide (text)")
    connection.close()
    assert (describe(caught.value), code_of(caught.value)) == ("database or disk is full", "SQLITE_FULL")


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert describe(one) == "one: other"


@given(st.text(), st.lists(st.text(), max_size=3))
def test_it_is_one_line_that_a_terminal_can_show(text: str, causes: list[str]) -> None:
    error = ValueError(text)
    for cause in causes:
        error = raised_from(ValueError(cause), error)  # type: ignore[assignment]
    words = describe(error)
    assert 0 < len(words) <= LIMIT
    assert words.isprintable()


@given(st.text(max_size=40), st.integers(1, 50))
def test_printable_text_stays_and_the_rest_is_escaped(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    if text.isprintable() and len(text) <= limit:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb", "a"),
        ("\n  b\r\nc", "b"),
        ("", ""),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eturned", "\\u202eturned"),
        ("\ud800", "\\ud800"),
        ("نبض", "نبض"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_one_line_of_a_text(text: str, line: str) -> None:
    assert one_line(text) == line
