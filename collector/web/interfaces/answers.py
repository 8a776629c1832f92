"""What the gateway of text messages hands on: POST /answers/sms, signed as Standard Webhooks wants it, with the body
{"from": TELEPHONE, "text": TEXT}. A request that comes again is taken once."""

from __future__ import annotations

from collections import deque

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from agent.beacons.text import parse
from agent.common.errors import describe
from agent.common.reasons import UNREADABLE
from collector.access import beacons
from collector.desk.alerts.answers import sms
from collector.desk.incident import WorkError
from collector.web.api import reply
from collector.web.errors import Mistaken
from collector.web.site import Site

SEEN = 1000  # ids that are remembered; older requests are refused by their time
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class SmsAnswer(msgspec.Struct, frozen=True):
    """One text message."""

    sender: str = msgspec.field(name="from")
    text: str


def router(site: Site) -> APIRouter:
    routes, seen = APIRouter(), deque[str](maxlen=SEEN)

    @routes.post("/answers/sms")
    async def take(request: Request) -> Response:
        if not site.sms_secret:
            raise Mistaken(404, "answers: no gateway of text messages is set up; name [alerts] sms_secret_file")
        body, headers = await request.body(), {name: request.headers.get(name, "") for name in HEADERS}
        answer = _verified(site.sms_secret, body, headers)
        if headers["webhook-id"] in seen:
            return reply({"incident": None, "state": "known"})
        done = await run_in_threadpool(_take, site, answer)
        seen.append(headers["webhook-id"])
        return done

    return routes


def _take(site: Site, answer: SmsAnswer) -> Response:
    """A text is a gateway's beacon, or a person's word about an incident."""
    if (beacon := parse(answer.text)) is not None:
        with site.store.write() as conn:
            return reply({"beacon": beacons.take(conn, beacon, "sms", site.now())})
    try:
        with site.store.write() as conn:
            incident = sms.take(conn, answer.sender, answer.text, site.now())
    except WorkError as error:
        raise Mistaken(409, str(error)) from None
    return reply({"incident": incident.id, "state": incident.state})


def _verified(secret: str, body: bytes, headers: dict[str, str]) -> SmsAnswer:
    """Raises Mistaken (401, 400)."""
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError  # of no use without such a gateway

    try:
        Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError):
        raise Mistaken(
            401, "signature: does not fit the body, the time or the secret; sign as Standard Webhooks"
        ) from None
    try:
        return msgspec.json.decode(body, type=SmsAnswer)
    except UNREADABLE as error:
        raise Mistaken(
            400, f'body: {describe(error)}; send JSON such as {{"from": "+923…", "text": "ACK 12"}}'
        ) from None
