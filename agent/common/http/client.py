"""One request and its answer, by the standard library's `http.client`: half the memory of `urllib.request`.

The whole exchange has one deadline, so that a server that sends a byte now and then holds nobody up; a socket's timeout
begins anew with each byte. No proxy of the environment is used: these are servers of ours, or named in the settings.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast
from urllib.parse import urljoin, urlsplit

from agent.common.errors import describe

MOVED = (301, 302, 303, 307, 308)  # RFC 9110 section 15.4
REDIRECTS = 3
SILENT_S = 60.0  # without a byte: nobody is there any more


class HttpFailed(OSError):
    """There is no answer to be had, and the text says why; `status` is the server's, 0 without one."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class HttpPage:
    """What a server said: any status, and at most as much of the body as was wanted."""

    status: int
    body: bytes


def ask(
    url: str,
    *,
    limit: int,
    within_s: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> HttpPage:
    """A POST where there is a `body`, else a GET that follows redirects. Raises OSError."""
    answer = _Request(url, body, headers or {}, time.monotonic() + within_s, context).answer()
    try:
        return HttpPage(status=answer.status, body=answer.read(limit))
    except http.client.HTTPException as error:
        raise HttpFailed(describe(error)) from None
    finally:
        answer.close()


def open_page(url: str, *, within_s: float, context: ssl.SSLContext | None = None) -> IO[bytes]:
    """The body of what a GET gives, to be read and closed. Raises HttpFailed with its status where that is an error's,
    and OSError."""
    answer = _Request(url, None, {}, time.monotonic() + within_s, context).answer()
    if answer.status != 200:
        answer.close()
        raise HttpFailed(f"answered {answer.status}", answer.status)
    return cast(IO[bytes], answer)


@dataclass
class _Request:
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    until_s: float  # of the monotonic clock
    context: ssl.SSLContext | None
    redirects: int = field(default=REDIRECTS)

    def answer(self) -> http.client.HTTPResponse:
        while True:
            try:
                answer = self._exchange()
            except (ValueError, http.client.HTTPException) as error:  # no host, a port out of range, no HTTP
                raise HttpFailed(describe(error)) from None
            place = answer.getheader("Location")
            if self.body is not None or answer.status not in MOVED or not place:
                return answer
            answer.close()
            self._follow(place)

    def _follow(self, place: str) -> None:
        is_tls = urlsplit(self.url).scheme == "https"
        self.url, self.redirects = urljoin(self.url, place), self.redirects - 1
        if self.redirects < 0:
            raise HttpFailed(f"is redirected more than {REDIRECTS} times")
        if is_tls and urlsplit(self.url).scheme != "https":
            raise HttpFailed("is redirected from https to another scheme")

    def _exchange(self) -> http.client.HTTPResponse:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HttpFailed("its address is no http:// or https:// URL")
        connection = self._connection(parts.scheme == "https", parts.hostname, parts.port)
        connection.response_class = self._response  # type: ignore[assignment]
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        try:
            connection.connect()
            headers = {"Connection": "close", "Accept-Encoding": "identity", **self.headers}
            method = "GET" if self.body is None else "POST"
            connection.request(method, target if target.startswith("/") else f"/{target}", self.body, headers)
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:  # the answer's own file holds it open; closing the connection would end both
            connection.sock.close()
            connection.sock = None
        return answer

    def _connection(self, is_tls: bool, host: str, port: int | None) -> http.client.HTTPConnection:
        left_s = _left_s(self.until_s)
        if not is_tls:
            return http.client.HTTPConnection(host, port, timeout=left_s)
        context = self.context or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=left_s, context=context)

    def _response(self, sock: socket.socket, *words: Any, **named: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(cast(socket.socket, _TimedSocket(sock, self.until_s)), *words, **named)


@dataclass
class _TimedSocket:
    """As much of a socket as an answer is read from."""

    sock: socket.socket
    until_s: float

    def makefile(self, _mode: str) -> io.BufferedReader:
        raw = self.sock.makefile("rb", buffering=0)  # keeps the socket open when http.client lets go of it
        return io.BufferedReader(_TimedReader(raw, self.sock, self.until_s))


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, until_s: float) -> None:
        self._raw, self._sock, self._until_s = raw, sock, until_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left_s(self._until_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("it takes too long")
    return min(left_s, SILENT_S)
