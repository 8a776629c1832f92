"""Time stamps of an authority on a PDF's signature (RFC 3161; PAdES baseline B-T): that it was made before that time is
the authority's word then, and no longer the signer's."""

from __future__ import annotations

from typing import Any

from agent.common.errors import describe
from collector.common import http_client
from collector.reports.pdf.document import PdfError

TIMEOUT_S = 15
MOST_BYTES = 65_536  # of an answer: a token with its certificates has a few kB
HEADERS = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}


def stamper(url: str) -> Any:
    """For pyHanko: asks the authority at that address. Raises PdfError where it gives no stamp."""
    from asn1crypto import tsp
    from pyhanko.sign.timestamps.api import TimeStamper

    kind: Any = TimeStamper  # has no types

    class TimeStampClient(kind):  # type: ignore[misc]
        async def async_request_tsa_response(self, req: Any) -> Any:
            return tsp.TimeStampResp.load(answer_of(url, req.dump()))

    return TimeStampClient()


def answer_of(url: str, question: bytes) -> bytes:
    """Raises PdfError."""
    try:
        answer = http_client.send(url, question, HEADERS, timeout_s=TIMEOUT_S, most_bytes=MOST_BYTES + 1)
    except http_client.FAILURES as error:
        raise refused(url, describe(error)) from None
    if answer.kind != HEADERS["Accept"] or len(answer.body) > MOST_BYTES:
        raise refused(url, "its answer is no time stamp")
    return answer.body


def refused(url: str, why: str) -> PdfError:
    return PdfError(f"time stamp: {url} gives none ({why[:120]}); try again, or empty [reports] time_stamp_url")
