"""The page of a token for whoever installs the gateway: its steps, and green once the first reading has come.

Its address is the hash of the token: it admits nobody, and says nothing but the center's name and how far things are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.store import schema
from collector.web.site import Site
from collector.web.view import View

State = Literal["waiting", "approval", "joined", "done", "expired", "refused", "unknown"]
NAME = re.compile(r"[0-9a-f]{64}")
SHOWN_MS = 86_400_000  # after the token was used or ended
STEPS = ("power", "join", "approval", "reading")
# Steps that are behind. Of a gateway that has not joined nobody knows whether it has power.
DONE: dict[State, int] = {"approval": 2, "joined": 3, "done": 4}


@dataclass(frozen=True, kw_only=True)
class GatewayProgress:
    """`heard_ms` is None before the first reading. `has_ups`: one of a UPS was among them."""

    state: State
    center: str = ""
    name: str = ""
    heard_ms: int | None = None
    has_ups: bool = False


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/i/{name}")
    def show(request: Request, name: str) -> Response:
        with site.store.read() as conn:
            progress = installation(conn, name, site.now())
        done = DONE.get(progress.state, 0)
        steps = [step for step in STEPS if step != "approval" or site.facts.approval == "second_person"]
        marks = {step: STEPS.index(step) < done for step in steps}
        return View.of(site, request, first="ur").page(
            "install.html",
            status=404 if progress.state == "unknown" else 200,
            found=progress,
            marks=marks,
            desk=site.desk_telephone,
        )

    return routes


def installation(conn: sa.Connection, name: str, now_ms: int) -> GatewayProgress:
    """How far the gateway is that this token is for."""
    t, e, c = schema.tokens.c, schema.enrolments.c, schema.centers.c
    row = None
    if NAME.fullmatch(name):
        query = sa.select(t.center, t.used_ms, t.expires_ms, t.device, e.state, c.name)
        query = query.select_from(schema.tokens).outerjoin(schema.enrolments, e.token_hash == t.token_hash)
        row = conn.execute(query.join(schema.centers, c.center == t.center).where(t.token_hash == name)).one_or_none()
    if row is None or now_ms > (row.used_ms or row.expires_ms) + SHOWN_MS:
        return GatewayProgress(state="unknown")
    kinds = _kinds(conn, row.device)
    heard_ms = max(kinds.values(), default=None)
    return GatewayProgress(
        state=_state(row.used_ms, row.expires_ms, row.state, _is_enrolled(conn, row.device), heard_ms, now_ms),
        center=row.center, name=row.name, heard_ms=heard_ms, has_ups="ups" in kinds,
    )  # fmt: skip


def _state(
    used_ms: int | None, expires_ms: int, approval: str | None, is_enrolled: bool, heard_ms: int | None, now_ms: int
) -> State:
    if used_ms is None:
        return "waiting" if now_ms < expires_ms else "expired"
    if approval == "refused":
        return "refused"
    if not is_enrolled:
        return "approval"
    return "joined" if heard_ms is None else "done"


def _is_enrolled(conn: sa.Connection, device: str | None) -> bool:
    d = schema.devices.c
    return device is not None and conn.scalar(sa.select(d.device).where(d.device == device)) is not None


def _kinds(conn: sa.Connection, device: str | None) -> dict[str, int]:
    """The kinds of this gateway's readings, each with when its newest came."""
    latest = schema.latest.c
    query = sa.select(latest.kind, sa.func.max(latest.received_ms)).where(latest.device == device)
    return {row[0]: row[1] for row in conn.execute(query.group_by(latest.kind))} if device else {}
