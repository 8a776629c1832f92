"""Settings of gateways on a page: every layer, how many gateways run with it, and a form for the next version."""

from __future__ import annotations

import json
from collections import Counter

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from agent.remote.settings import REMOTE
from collector.access import users
from collector.remote import layers, rollout, standing
from collector.remote.layers import LayerError
from collector.web import auth, forms
from collector.web.site import Site
from collector.web.view import View

STANDINGS = ("applied", "trial", "waiting", "failed", "unable")
MAX_LETTERS = 500
FIELDS = {"layer": "country", "key": "", "value": "", "reason": ""}  # of the form, before anything is written
SHOWN = 50  # versions, and gateways that are not there yet


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/settings")
    def show(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/settings")
    def change(
        request: Request, mark: str = Form(""), layer: str = Form(""), key: str = Form(""), value: str = Form(""),
        reason: str = Form(""), at_once: bool = Form(False),
    ) -> Response:  # fmt: skip
        """The next version of a layer: one key set, or set no more where no value is given."""
        forms.check(request, mark)
        value, reason, who = value.strip()[:MAX_LETTERS], reason[:MAX_LETTERS], auth.asker(request).account.name
        try:
            with site.store.write() as conn:
                wanted = layers.parse(conn, layer.strip()[:MAX_LETTERS])
                values = {key: layers.value_of(value)} if value else {}
                layers.change(conn, wanted, values, () if value else (key,), who, reason, site.now(), at_once)
                code = wanted.name if wanted.kind == "center" else ""
                facts = {"center": code, "subject": str(wanted), "reason": reason}
                users.record(conn, "settings_changed", who, site.now(), is_proven=True, **facts)
        except LayerError as error:
            return _page(
                site, request, why=str(error), given={"layer": layer, "key": key, "value": value, "reason": reason}
            )
        return RedirectResponse("/settings", status_code=303)

    return routes


def _page(site: Site, request: Request, *, why: str = "", given: dict[str, str] | None = None) -> Response:
    with site.store.read() as conn:
        values = _values(conn, site.now())
    return View.of(site, request).page(
        "settings.html", status=409 if why else 200, why=why, given=FIELDS | (given or {}), standings=STANDINGS,
        **values, keys=[f"{table}.{key}" for table, keys in REMOTE.items() for key in sorted(keys)],
    )  # fmt: skip


def _values(conn: sa.Connection, now_ms: int) -> dict[str, object]:
    newest = layers.current(conn)
    gateways = list(standing.gateways(conn))
    return {
        "rows": [
            (version, key, json.dumps(value, ensure_ascii=False))
            for _, version in sorted(newest.items())
            for key, _, value in layers.difference({}, version.tables)
        ],
        "versions": layers.history(conn)[: -SHOWN - 1 : -1],
        "counts": Counter(one.standing for one in gateways if one.wanted_digest or one.standing != "unable"),
        "rollouts": rollout.under_way(conn, gateways, now_ms),
        "late": [one for one in gateways if one.standing in ("trial", "waiting", "failed")][:SHOWN],
    }
