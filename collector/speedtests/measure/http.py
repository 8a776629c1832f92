"""What measuring reads from a request's head and says in a response's; tcp.http_server does the rest. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

from agent.common.tcp import http_server
from agent.common.tcp.http_server import HttpRefused

METHODS = ("GET", "HEAD", "POST", "OPTIONS")
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST"),
    ("Access-Control-Allow-Headers", "Content-Encoding, Content-Type"),
    ("Access-Control-Expose-Headers", "Queue-Position, Retry-After"),
    ("Timing-Allow-Origin", "*"),
)


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


def parse(raw_head: bytes) -> MeasureRequest:
    """A request from its head, blank line included. Absolute URIs (a client that thinks we are its proxy) are read as
    if they were ours; nothing is ever fetched for anyone. Raises HttpRefused."""
    head = http_server.parse_head(raw_head)
    if head.method not in METHODS:
        raise HttpRefused(405, f"method {head.method[:16]!r} is not served here, only GET, HEAD, POST and OPTIONS")
    path, query = _target(head.target)
    return MeasureRequest(
        method=head.method,
        path=path,
        name=path.rpartition("/")[2].removesuffix(".php"),
        query=query,
        body_bytes=head.body_bytes,
        expects_continue=head.expects_continue,
        keep_alive=head.keep_alive,
        upgrade=_upgrade(head.headers),
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


def _target(target: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise HttpRefused(400, "the target must be a path or an http:// address with at most 32 query fields") from None
    return parts.path, query


@lru_cache(maxsize=256)  # few differ, and a ping's answer is not to wait for it
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
    headers = [
        ("Content-Length", str(body_bytes)),
        ("Content-Type", content_type),
        ("Cache-Control", "no-store, no-transform"),
        ("Connection", "keep-alive" if keep_alive else "close"),
    ]
    if retry_after_s is not None:
        headers.append(("Retry-After", str(retry_after_s)))
    if position is not None:
        headers.append(("Queue-Position", str(position)))
    return http_server.response_head(status, [*headers, *(CORS if cors else ())])
