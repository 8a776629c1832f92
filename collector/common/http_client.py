"""One request to somebody else's server: it goes nowhere but where the settings or a person say, and reads only so much
of the answer."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError

__all__ = ["FAILURES", "HTTPError", "ServerAnswer", "send"]

FAILURES = (OSError, HTTPException)  # what `send` raises; of the first kind is HTTPError, for any status but 2xx


@dataclass(frozen=True)
class ServerAnswer:
    kind: str  # the media type
    body: bytes


class _Straight(urllib.request.HTTPRedirectHandler):
    """A redirect is the answer: secrets and signatures are for the first address alone."""

    def redirect_request(self, *_args: object) -> None:
        return None


def send(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *, timeout_s: float, most_bytes: int
) -> ServerAnswer:
    """GET, or POST where there is a body; of a longer answer what is past `most_bytes` is left. `url` is http or https:
    the caller has checked that. Raises FAILURES."""
    request = urllib.request.Request(url, body, dict(headers or {}))  # noqa: S310
    with urllib.request.build_opener(_Straight).open(request, timeout=timeout_s) as answer:
        return ServerAnswer(answer.headers.get_content_type(), bytes(answer.read(most_bytes)))
