"""The door for gateways: trust, time, enrolment, renewal. Open to everybody, as whoever comes proves a key."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from agent.beacons import text
from agent.common.tcp import address_group
from collector.access import beacons, enrolment
from collector.judging import place_facts
from collector.web import errors
from collector.web.errors import Mistaken
from collector.web.guard import Guard
from collector.web.limits import BodyLimit
from collector.web.machines import files, measure_servers, releases
from collector.web.machines.refusals import Refusals
from collector.web.site import Site

AT_ONCE = 4  # requests whose proof is looked at; the others wait, and pages have threads of their own
CHALLENGE = re.compile(r"[0-9a-f]{32}")

Claimant = Callable[[sa.Connection, bytes], Sequence[str]]  # proven names of who asks; raises EnrolmentRefused
Answer = Callable[[sa.Connection, bytes, int, enrolment.EnrolmentFacts], dict[str, object]]


def build(site: Site, key: Ed25519PrivateKey, body_bytes: int) -> FastAPI:
    """The door alone, to be served with a certificate of our own authority."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router(site, key))
    errors.add(app, site)
    app.add_middleware(BodyLimit, limit_bytes=body_bytes)
    app.add_middleware(Guard, site=site)
    return app


def router(site: Site, key: Ed25519PrivateKey) -> APIRouter:
    routes, desk = APIRouter(), EnrolmentDesk(site)

    @routes.get("/api/v1/ca")
    def trusted() -> Response:
        """All roots. Whoever asks compares one with the fingerprint of its token."""
        if site.facts.authority is None:
            raise Mistaken(404, "ca: this collector has no authority; enrol over http on its own machine")
        return PlainTextResponse(site.facts.authority.root_pem, media_type="application/x-pem-file")

    @routes.get("/api/v1/time")
    def time(challenge: str = "") -> Response:
        """Our time, signed with the key of receipts: a gateway whose clock is wrong can believe no certificate."""
        if not CHALLENGE.fullmatch(challenge):
            raise Mistaken(400, "challenge: must be 32 hex digits of the asker's own making; send such")
        at_ms = site.now()
        signature = key.sign(f"nabz-time\n{challenge}\n{at_ms}".encode())
        return reply({"challenge": challenge, "at_ms": at_ms, "signature": base64.b64encode(signature).decode()})

    @routes.post("/api/v1/enrol")
    async def enrol(request: Request) -> Response:
        return await desk.answered(request, enrolment.enrolling, enrolment.enrol)

    @routes.post("/api/v1/renew")
    async def renew(request: Request) -> Response:
        return await desk.answered(request, enrolment.renewing, enrolment.renew)

    @routes.post("/api/v1/alive")
    async def alive(request: Request) -> Response:
        return await desk.alive(request)

    routes.include_router(measure_servers.router(site))
    routes.include_router(files.router(site))
    routes.include_router(releases.router(site))
    return routes


def reply(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _refused(refused: enrolment.EnrolmentRefused) -> Response:
    return reply(refused.body, refused.status)


class EnrolmentDesk:
    """Answers enrolments and renewals: who it is first, and only then in a transaction of the one writer."""

    def __init__(self, site: Site) -> None:
        self._site, self._refusals = site, Refusals(site.now)
        self._proofs = CapacityLimiter(AT_ONCE)

    async def answered(self, request: Request, claimant: Claimant, answer: Answer) -> Response:
        body = await _small_body(request)
        if body is None:
            return _refused(enrolment.EnrolmentRefused(413, "enrol.over_limit", limit=enrolment.MAX_REQUEST_BYTES))
        address = request.client.host if request.client else ""
        return await to_thread.run_sync(self._answer, body, address, claimant, answer, limiter=self._proofs)

    async def alive(self, request: Request) -> Response:
        """A beacon of the second path: plain text, or what wraps it. Says no more than whether it was taken."""
        body = await _small_body(request, text.MAX_BODY_BYTES)
        beacon = text.parse(body.decode("ascii", "replace")) if body is not None else None
        if beacon is None:
            raise Mistaken(400, "beacon: none in the body; send NABZ1 DEVICE SECONDS SIGNATURE")
        address = request.client.host if request.client else ""
        return await to_thread.run_sync(self._alive, beacon, address, limiter=self._proofs)

    def _alive(self, beacon: text.Beacon, address: str) -> Response:
        names = (f"address {address_group(address)}",)
        if self._refusals.is_over(names):
            raise Mistaken(429, "beacon: too many were refused from this address; wait a minute")
        with self._site.store.read() as conn:
            outcome = beacons.judge(conn, beacon, self._site.now())
        if outcome in beacons.TAKEN:
            with self._site.store.write() as conn:
                outcome = beacons.take(conn, beacon, "line", self._site.now())
        if outcome not in beacons.TAKEN:
            self._refusals.add(names)
            raise Mistaken(403, f"beacon: is not taken ({outcome})")
        return Response(status_code=204) if outcome == "taken" else reply({"beacon": outcome})

    def _answer(self, body: bytes, address: str, claimant: Claimant, answer: Answer) -> Response:
        names: Sequence[str] = (f"address {address_group(address)}",)
        site = self._site
        try:
            with site.store.read() as conn:
                proven = claimant(conn, body)
            if self._refusals.is_over(proven):
                return _refused(enrolment.EnrolmentRefused(429, "enrol.too_many_of_key"))
            names = proven
            with site.store.write() as conn:
                fields = answer(conn, body, site.now(), site.facts)
                _note_address(conn, str(fields.get("device", "")), address, site.now())
        except enrolment.EnrolmentRefused as refused:
            is_over = self._refusals.is_over(names)
            self._refusals.add(names)
            if is_over:
                return _refused(enrolment.EnrolmentRefused(429, "enrol.too_many", address=address))
            return _refused(refused)
        return reply(fields, 202 if "waiting" in fields else 200)


def _note_address(conn: sa.Connection, device: str, address: str, now_ms: int) -> None:
    """From where a gateway was enrolled. A renewal names no gateway: that one's sessions show more."""
    if device:
        place_facts.record_sightings(conn, "enrolment", [(device, address)], now_ms, lambda _address: None)


async def _small_body(request: Request, limit: int = enrolment.MAX_REQUEST_BYTES) -> bytes | None:
    """The request's body, read no further than `limit`; None if it is longer."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return body
