"""One POST of JSON, and what its failure says of another attempt."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException

from agent import __version__
from agent.common.errors import describe
from collector.desk.alerts.channel import MAX_PROBLEM, SendFailed

TIMEOUT_S = 20.0
MAX_ANSWER = 1 << 20
AGAIN = frozenset({408, 425, 429})  # of the 4xx kind, which a later attempt may change


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message with a secret's signature goes nowhere else than its settings say."""

    def redirect_request(self, *_args: object) -> None:
        return None


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The answer. Raises SendFailed; the receiver knows a repeated message by its id, so silence is worth another
    attempt."""
    known = {"content-type": "application/json", "user-agent": f"nabz/{__version__}", **(headers or {})}
    request = urllib.request.Request(url, body, known, method="POST")  # noqa: S310  the settings name http or https
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            return bytes(answer.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        permanent = 300 <= error.code < 500 and error.code not in AGAIN
        with error:
            answer_text = error.read(MAX_PROBLEM).decode(errors="replace")
        problem = " ".join(f"HTTP {error.code}: {answer_text}".split())
        raise SendFailed(problem[:MAX_PROBLEM], permanent=permanent, status=error.code) from None
    except (OSError, HTTPException) as error:
        raise SendFailed(describe(error)[:MAX_PROBLEM]) from None
