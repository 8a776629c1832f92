"""One POST of JSON, and what its failure says of another attempt."""

from __future__ import annotations

from collections.abc import Mapping

from agent import __version__
from agent.common.errors import describe
from collector.common import http_client
from collector.desk.alerts.channel import MAX_PROBLEM, SendFailed

TIMEOUT_S = 20.0
MAX_ANSWER = 1 << 20
AGAIN = frozenset({408, 425, 429})  # of the 4xx kind, which a later attempt may change


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The answer. Raises SendFailed; the receiver knows a repeated message by its id, so silence is worth another
    attempt."""
    known = {"content-type": "application/json", "user-agent": f"nabz/{__version__}", **(headers or {})}
    try:
        return http_client.send(url, body, known, timeout_s=TIMEOUT_S, most_bytes=MAX_ANSWER).body
    except http_client.HTTPError as error:
        permanent = 300 <= error.code < 500 and error.code not in AGAIN
        with error:
            answer_text = error.read(MAX_PROBLEM).decode(errors="replace")
        problem = " ".join(f"HTTP {error.code}: {answer_text}".split())
        raise SendFailed(problem[:MAX_PROBLEM], permanent=permanent, status=error.code) from None
    except http_client.FAILURES as error:
        raise SendFailed(describe(error)[:MAX_PROBLEM]) from None
