"""What every HTTP/1.1 server here does with a stranger's request: h11 reads and writes heads (RFC 9112), bodies are
read by whoever serves, and all of it is bounded: a head's bytes, an address's pace, the connections of one and of all.

h11 forgives more than a server at the edge should: bare line ends, folded lines, a length beside a transfer coding.
What two readers could understand differently (request smuggling, RFC 9112 section 11.2) is refused besides.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11

from agent.common.errors import describe

END_OF_HEAD = b"\r\n\r\n"
MAX_FIELDS = 100  # of a head; h11 takes a microsecond for each
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # RFC 9110 section 15.2.1
# Control characters, a CR or LF alone, a folded line. h11 takes quadratic time over blanks before a control character.
_STRAY = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n|\n[\t ]")
_LENGTH = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
_VERSION = re.compile(rb" HTTP/([0-9]\.[0-9])\r\n")


class HttpRefused(Exception):
    """A request is answered with `status` and one sentence; `retry_after_s` when trying later may help, `position`
    (from 1) when it has a place in a queue until then."""

    def __init__(self, status: int, why: str, retry_after_s: int | None = None, position: int | None = None) -> None:
        super().__init__(why)
        self.status, self.why, self.retry_after_s, self.position = status, why, retry_after_s, position


@dataclass(frozen=True, kw_only=True)
class RequestHead:
    """`headers` by name in lower case; a field given several times is one, joined by commas (RFC 9110 section 5.3)."""

    method: str
    target: str  # as sent: a path with its query, or an absolute address
    headers: dict[str, str]
    body_bytes: int | None  # None: chunked
    expects_continue: bool
    keep_alive: bool


async def read_head(receive: Callable[[], Awaitable[bytes]], early: bytes, limit: int) -> tuple[bytes, bytes]:
    """(head with its blank line, what came after it), of at most `limit` bytes. `early` is what came before; `receive`
    gives more, nothing at the end. How long it may take is the caller's to say. Raises HttpRefused, EOFError."""
    while (end := early.find(END_OF_HEAD)) < 0 and len(early) <= limit:
        piece = await receive()
        if not piece:
            raise EOFError
        early += piece
    if not 0 <= end <= limit:
        raise HttpRefused(431, f"the head of a request may have {limit} bytes")
    end += len(END_OF_HEAD)
    return early[:end], early[end:]


def refuse_ambiguous(head: bytes) -> None:
    """Of a request's head, its blank line included, whatever h11 takes and another reader could understand otherwise.
    Pure. Raises HttpRefused."""
    if head.count(b"\n") > MAX_FIELDS + 2:
        raise HttpRefused(431, f"a head may have {MAX_FIELDS} fields")
    if _STRAY.search(head):
        raise HttpRefused(400, "lines end with CR LF, are not folded and hold no control characters")
    version, lengths = _VERSION.search(head), _LENGTH.findall(head)
    if version is not None and version[1] not in (b"1.0", b"1.1"):
        raise HttpRefused(505, "HTTP/1.1 is spoken here, and HTTP/1.0")
    if b"," in b",".join(lengths):  # h11 takes a length given twice, if it is the same
        raise HttpRefused(400, "Content-Length may be given once")
    if _CODING.search(head) and (lengths or version is None or version[1] == b"1.0"):
        raise HttpRefused(400, "a body comes either chunked, by HTTP/1.1, or with a Content-Length")


def parse_head(head: bytes) -> RequestHead:
    """A request's head, its blank line included. Pure. Raises HttpRefused."""
    refuse_ambiguous(head)
    codec = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    codec.receive_data(head)
    try:
        request = codec.next_event()
    except h11.RemoteProtocolError as error:  # its text may repeat what was sent, behind a colon
        why = describe(error).partition(": ")[0]
        raise HttpRefused(error.error_status_hint, f"no head of an HTTP/1.1 request: {why}") from None
    if not isinstance(request, h11.Request):
        raise HttpRefused(400, "no head of an HTTP/1.1 request: it does not end with an empty line")
    headers = _merged(request.headers)
    return RequestHead(
        method=request.method.decode("ascii"),
        target=request.target.decode("ascii"),
        headers=headers,
        body_bytes=None if "transfer-encoding" in headers else int(headers.get("content-length", "0")),
        expects_continue=codec.they_are_waiting_for_100_continue,
        keep_alive=_keeps_alive(headers, request.http_version),
    )


def _merged(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _keeps_alive(headers: dict[str, str], version: bytes) -> bool:
    words = headers.get("connection", headers.get("proxy-connection", "")).lower()
    options = {option.strip() for option in words.split(",")}
    return "close" not in options and (version == b"1.1" or "keep-alive" in options)


def response_head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    """A final response's status line and header, with its blank line. Pure. `headers` must say how long the body is."""
    reason = HTTPStatus(status).phrase.encode("ascii")
    return h11.Connection(h11.SERVER).send(h11.Response(status_code=status, headers=list(headers), reason=reason))


class RateLimiter:
    """How often an address may ask: a token bucket each, for so many addresses; the longest silent is forgotten."""

    def __init__(self, rate_per_s: float, burst: float | None = None, addresses: int = 10_000) -> None:
        self.rate_per_s, self.addresses = rate_per_s, addresses
        self.burst = rate_per_s if burst is None else burst
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address: (tokens, since)

    def admits(self, address: str, now_s: float) -> bool:
        """Whether one more is within the rate. `now_s` is monotonic."""
        tokens, since_s = self.buckets.pop(address, (self.burst, now_s))
        tokens = min(self.burst, tokens + (now_s - since_s) * self.rate_per_s)
        self.buckets[address] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        if len(self.buckets) > self.addresses:
            self.buckets.popitem(last=False)
        return tokens >= 1


class ConnectionLimiter:
    """How many connections may be open at once, in all and from one address."""

    def __init__(self, limit: int, limit_per_address: int, retry_after_s: int | None = None) -> None:
        self.limit, self.limit_per_address, self.retry_after_s = limit, limit_per_address, retry_after_s
        self.open: Counter[str] = Counter()

    def refusal(self, address: str) -> HttpRefused | None:
        """Why one more from this address has no room; None when it has."""
        if self.open.total() >= self.limit:
            return HttpRefused(
                503, "too many connections, this server takes no more at once: try again", self.retry_after_s
            )
        if self.open[address] >= self.limit_per_address:
            return HttpRefused(429, "too many connections from this address: try again", self.retry_after_s)
        return None

    @contextlib.contextmanager
    def counted(self, address: str) -> Iterator[None]:
        self.open[address] += 1
        try:
            yield
        finally:
            self.open[address] -= 1
            if not self.open[address]:
                del self.open[address]
