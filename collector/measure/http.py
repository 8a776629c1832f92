"""As much of HTTP/1.1 as measuring needs: a request's head in, a response's head out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

REASONS = {
    101: "Switching Protocols",
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class RequestRefused(Exception):
    """This request gets `status` and one sentence; `retry_after_s` when trying later may help, `position` (from 1) when
    it has a place in the queue until then."""

    def __init__(self, status: int, why: str, retry_after_s: int | None = None, position: int | None = None) -> None:
        super().__init__(why)
        self.status, self.why, self.retry_after_s, self.position = status, why, retry_after_s, position


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What a request to become a WebSocket says (RFC 6455 section 4.2.1)."""

    key: str
    version: str
    protocols: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MeasureRequest:
    """`name` is the last step of the path without `.php`, so LibreSpeed's and Ookla's folders do not matter."""

    method: str
    path: str
    name: str
    query: dict[str, str]
    body_bytes: int | None  # None: chunked
    expects_continue: bool
    keep_alive: bool
    upgrade: Upgrade | None = None


def parse(head: bytes) -> MeasureRequest:
    """A request from its head, blank line included. Absolute URIs (a client that thinks we are its proxy) are read as
    if they were ours; nothing is ever fetched for anyone. Raises Refused."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise RequestRefused(400, "the first line must be METHOD TARGET HTTP/1.1")
    method, target, version = words
    if method not in ("GET", "HEAD", "POST", "OPTIONS"):
        raise RequestRefused(405, f"method {method[:16]!r} is not served here, only GET, HEAD, POST and OPTIONS")
    headers = _headers(lines[1:])
    connection = headers.get("connection", headers.get("proxy-connection", "")).lower()
    path, query = _target(target)
    return MeasureRequest(
        method=method,
        path=path,
        name=path.rpartition("/")[2].removesuffix(".php"),
        query=query,
        body_bytes=_body_bytes(headers),
        expects_continue=headers.get("expect", "").lower() == "100-continue",
        keep_alive=connection == "keep-alive" if version == "HTTP/1.0" else connection != "close",
        upgrade=_upgrade(headers),
    )


def _upgrade(headers: dict[str, str]) -> Upgrade | None:
    if headers.get("upgrade", "").lower() != "websocket":
        return None
    protocols = headers.get("sec-websocket-protocol", "").split(",")
    return Upgrade(
        key=headers.get("sec-websocket-key", ""),
        version=headers.get("sec-websocket-version", ""),
        protocols=tuple(protocol.strip() for protocol in protocols),
    )


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise RequestRefused(400, "every header line must be NAME: VALUE")
        if name.lower() in headers and name.lower() in ("content-length", "transfer-encoding"):
            raise RequestRefused(400, f"{name} may be given once")
        headers[name.lower()] = value.strip()
    return headers


def _target(target: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise RequestRefused(
            400, "the target must be a path or an http:// address with at most 32 query fields"
        ) from None
    return parts.path, query


def _body_bytes(headers: dict[str, str]) -> int | None:
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked" or "content-length" in headers:
            raise RequestRefused(400, "a body comes either chunked or with a Content-Length")
        return None
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) <= 15):
        raise RequestRefused(400, "Content-Length must be a number of bytes")
    return int(length)


def response_head(
    status: int,
    body_bytes: int,
    content_type: str = "text/plain",
    *,
    cors: bool = False,
    keep_alive: bool = True,
    retry_after_s: int | None = None,
    position: int | None = None,
) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Content-Length: {body_bytes}",
        f"Content-Type: {content_type}",
        "Cache-Control: no-store, no-transform",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
    ]
    if retry_after_s is not None:
        lines.append(f"Retry-After: {retry_after_s}")
    if position is not None:
        lines.append(f"Queue-Position: {position}")
    if cors:
        lines += [
            "Access-Control-Allow-Origin: *",
            "Access-Control-Allow-Methods: GET, POST",
            "Access-Control-Allow-Headers: Content-Encoding, Content-Type",
            "Access-Control-Expose-Headers: Queue-Position, Retry-After",
            "Timing-Allow-Origin: *",
        ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
