"""The admin's home: how Nabz itself does, how far its gateways have come, what a new one needs first, and tokens with
which gateways join."""

from __future__ import annotations

import shutil
from typing import Any, NamedTuple

import segno
import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from collector.access import users
from collector.access.enrolment import format_token, issue_token
from collector.access.users import PersonError
from collector.judging import clock
from collector.recovery import drill
from collector.register.centers import CODE, CenterError
from collector.store import schema
from collector.store.jobs import rows as job_rows
from collector.store.jobs import workers as worker_rows
from collector.web import auth, forms
from collector.web.site import Site
from collector.web.view import View

JOBS = ("alerts", "archive", "audit", "housekeeping", "log", "reports", "sheets")  # that have a name here
STEPS = ("admin", "centers", "token", "heard", "backup")
FUNNEL = ("issued", "waiting", "enrolled", "heard", "today")
SAID: tuple[users.Why, ...] = ("wrong", "not_proven", "may_not", "too_many", "busy")
STATUS: dict[users.Why, int] = {"too_many": 429, "busy": 503}
TTLS_S = {"1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
DAY_MS = 86_400_000
SOON_MS = 7 * DAY_MS  # certificates that end within
OLD_BACKUP_MS = 2 * DAY_MS
LEAST_FREE_PCT = 10.0
VERSIONS = 8


class NewToken(NamedTuple):
    """A token as it is printed."""

    center: str
    token: str
    command: str
    picture: str  # a QR code (ISO/IEC 18004), as the address of an image


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/setup")
    def setup(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/setup")
    def token(
        request: Request, mark: str = Form(""), center: str = Form(""), ttl: str = Form("1d"), password: str = Form("")
    ) -> Response:
        """A token for one gateway of a center; shown once."""
        forms.check(request, mark)
        try:
            return _page(
                site, request, made=_made(site, request, center.strip(), TTLS_S.get(ttl, DAY_MS // 1000), password)
            )
        except PersonError as refused:
            why = refused.reason if refused.reason in SAID else "not_proven"
            return _page(site, request, why=why, status=STATUS.get(why, 403), center=center)
        except CenterError:
            return _page(site, request, why="no_center", status=409, center=center)

    return routes


def _made(site: Site, request: Request, center: str, ttl_s: int, password: str) -> NewToken:
    """Raises PersonError, CenterError."""
    if not CODE.fullmatch(center):
        raise CenterError(f"center {center[:40]!r}: is not registered")
    account, now_ms = auth.asker(request).account, site.now()
    proven = users.prove(site.store, account.name, password, now_ms, counted=True, address=auth.network_of(request))
    with site.store.write() as conn:
        secret = issue_token(conn, center, now_ms, ttl_s, account.name, proof=proven.proof)
    token = format_token(secret, site.facts.authority) if site.facts.authority else secret
    picture = segno.make(token, error="m", micro=False).svg_data_uri(scale=6)
    return NewToken(center, token, f"nabz-agent enrol {site.enrolment_url}", picture)


def _page(
    site: Site, request: Request, *, made: NewToken | None = None, why: str = "", status: int = 200, center: str = ""
) -> Response:
    with site.store.read() as conn:
        funnel, backup = funnel_of(conn, site.now()), drill.newest(conn, "backup")
        values = {"funnel": funnel, "backup": backup, "checks": _checks(site, conn), "versions": _versions(conn)}
        workers = worker_rows.rows(conn)
        jobs = [row for row in job_rows.rows(conn, site.now()) if row.name in JOBS]
        steps = steps_of(conn, funnel, has_backup=backup is not None)
    return View.of(site, request).page(
        "setup.html", status=status, made=made, why=why, center=center[:32], ttls=TTLS_S, steps=steps,
        is_new=not all(steps.values()), jobs=jobs, workers=workers, late=site.health.late(), **values,
    )  # fmt: skip


def funnel_of(conn: sa.Connection, now_ms: int) -> dict[str, int]:
    """How many gateways have come how far: a token that nobody has used, waiting for a second person, enrolled, heard,
    heard within a day."""
    t, e, d, p = schema.tokens.c, schema.enrolments.c, schema.devices.c, schema.pulse.c
    questions = {
        "issued": sa.select(sa.func.count()).where(t.used_ms.is_(None), t.expires_ms > now_ms),
        "waiting": sa.select(sa.func.count()).where(e.state == "waiting"),
        "enrolled": sa.select(sa.func.count()).where(d.revoked_ms.is_(None)),
        "heard": sa.select(sa.func.count()).select_from(schema.pulse),
        "today": sa.select(sa.func.count()).where(p.heard_ms > now_ms - DAY_MS),
    }
    return {name: conn.scalar(question) or 0 for name, question in questions.items()}


def steps_of(conn: sa.Connection, funnel: dict[str, int], *, has_backup: bool) -> dict[str, bool]:
    """The five steps of a new Nabz, each with whether it is done."""
    has_centers = conn.scalar(sa.select(schema.centers.c.center).limit(1)) is not None
    has_token = funnel["enrolled"] > 0 or conn.scalar(sa.select(schema.tokens.c.center).limit(1)) is not None
    return dict(zip(STEPS, (True, has_centers, has_token, funnel["heard"] > 0, has_backup), strict=True))


def _checks(site: Site, conn: sa.Connection) -> dict[str, dict[str, Any]]:
    """How Nabz itself does: {what: {is_good, and the figures that say so}}; `is_good` None: not known."""
    now_ms, c, a = site.now(), schema.certificates.c, schema.alerts.c
    waiting = conn.scalar(sa.select(sa.func.count()).where(a.state.in_(("waiting", "sending")), a.next_ms < now_ms))
    last = sa.select(sa.func.max(c.expires_ms).label("ends_ms")).group_by(c.device).subquery()
    ending = conn.scalar(sa.select(sa.func.count()).where(last.c.ends_ms.between(now_ms, now_ms + SOON_MS)))
    beat_ms = conn.scalar(sa.select(schema.heartbeats.c.at_ms).where(schema.heartbeats.c.part == "sweep"))
    late, agreement, backup = site.health.late(), clock.agreement(conn, now_ms), drill.newest(conn, "backup")
    return {
        "parts": {"is_good": not late, "late": sorted(late)},
        "beat": {"is_good": None if beat_ms is None else now_ms - beat_ms < 300_000, "at_ms": beat_ms},
        "queue": {"is_good": (waiting or 0) < 100, "n": waiting or 0},
        "disk": _disk(site),
        "backup": {
            "is_good": backup is not None and backup.is_good and now_ms - backup.at_ms < OLD_BACKUP_MS,
            "at_ms": backup.at_ms if backup else None,
        },
        "certificates": {"is_good": not ending, "n": ending or 0},
        "clock": {"is_good": {"agrees": True, "disagrees": False}.get(agreement)},
    }


def _disk(site: Site) -> dict[str, Any]:
    if site.data_dir is None:
        return {"is_good": None, "free_pct": None}
    usage = shutil.disk_usage(site.data_dir)
    free_pct = 100 * usage.free / usage.total
    return {"is_good": free_pct >= LEAST_FREE_PCT, "free_pct": round(free_pct, 1)}


def _versions(conn: sa.Connection) -> list[tuple[str, int]]:
    """The versions that gateways run, the commonest first."""
    d, n = schema.devices.c, sa.func.count()
    query = sa.select(d.version, n).where(d.revoked_ms.is_(None)).group_by(d.version).order_by(n.desc()).limit(VERSIONS)
    return [(str(row[0] or ""), int(row[1])) for row in conn.execute(query)]
