"""The pages of disputes: an operator files one and sees what it rests on, an auditor arranges a test and decides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from agent.common.reasons import Reason
from collector.access.accounts import policy
from collector.acts import disputes as acts
from collector.acts.person import ActingPerson
from collector.common import months
from collector.common.attachments import MAX_BYTES, PICTURES
from collector.register import centers
from collector.register.centers import CenterError
from collector.reports import day_store, revisions
from collector.reports.disputes import attachments, records, witnessed
from collector.reports.disputes.dispute import (
    OUTCOMES,
    Dispute,
    DisputeError,
    Filing,
    Outcome,
    Ruling,
    Span,
    span_of,
)
from collector.store import queries, schema
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

FILES = "/disputes/files"  # its requests may be longer than others
MONTHS = 6  # that the form offers
CENTERS = 50  # of an operator, that the form offers
CHANGES = 50  # of flags, that are shown
EMPTY = dict.fromkeys(("center", "month", "day", "criterion", "text", "test"), "")
GIVEN = ("outcome", "reason", "from", "to", "witness", "test_from", "test_to")

_ch = schema.changes.c


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/disputes")
    def listed(request: Request, center: str = "", month: str = "") -> Response:
        return _list(site, request, {"center": center[:32], "month": month[:7]})

    @routes.get("/disputes/{number}")
    def shown(request: Request, number: str) -> Response:
        return _one(site, request, _number(number))

    @routes.post("/disputes")
    async def file(request: Request) -> Response:
        return await run_in_threadpool(_file, site, request, await forms.given(request))

    @routes.post(FILES)
    async def attach(request: Request) -> Response:
        async with forms.with_file(request, "file") as (given, file):
            body = await file.read(MAX_BYTES + 1)
        return await run_in_threadpool(_attach, site, request, _number(given.get("number", "")), file.filename, body)

    @routes.get("/disputes/{number}/files/{name}")
    def fetched(request: Request, number: str, name: str) -> Response:
        return _file_of(site, request, _number(number), name)

    @routes.post("/disputes/{number}")
    async def decide(request: Request, number: str) -> Response:
        return await run_in_threadpool(_decide, site, request, _number(number), await forms.given(request))

    return routes


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Mistaken(404, f"dispute {text[:20]!r}: does not exist; see /disputes")
    return int(text)


def _who(site: Site, request: Request) -> ActingPerson:
    return ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)


def _seen(conn: sa.Connection, request: Request, number: int) -> Dispute:
    """One of a center within the account's scope. Raises Mistaken."""
    try:
        dispute = records.get(conn, number)
        place = centers.get(conn, dispute.center)
    except (DisputeError, CenterError):
        place = None
    if place is None or not auth.asker(request).account.scope.includes(place):
        raise Mistaken(404, f"dispute {number}: does not exist; see /disputes")
    return dispute


# ---------------------------------------------------------------- filing


def _file(site: Site, request: Request, given: dict[str, str]) -> Response:
    account = auth.asker(request).account
    with_test = bool(given.get("test"))
    try:
        with site.store.write() as conn:
            if given.get("act") == "withdraw":
                dispute = _seen(conn, request, _number(given.get("number", "")))
                acts.withdraw(conn, dispute.id, _who(site, request))
            else:
                texts = {name: given.get(name, "").strip() for name in ("center", "month", "day", "criterion", "text")}
                place = centers.some_centers(conn, [texts["center"]]).get(texts["center"])
                if place is None or not policy.allowed(account, "dispute.file", place):
                    raise Mistaken(404, f"center {texts['center'][:32]!r}: is not registered")
                filing = Filing(**texts, wants_test=with_test)
                dispute = acts.file(conn, filing, _who(site, request), site.standards, site.dispute_days)
    except DisputeError as error:
        return _list(site, request, given, error.reason)
    return RedirectResponse(f"/disputes/{dispute.id}", status_code=303)


def _list(site: Site, request: Request, given: dict[str, str], why: Reason | None = None) -> Response:
    scope, files = auth.asker(request).account.scope, auth.may(request, "dispute.file")
    values = EMPTY | {name: value for name, value in given.items() if name in EMPTY}
    with site.store.read() as conn:
        rows = records.listed(conn, scope)
        own = _own_centers(conn, request) if files else []
        chosen = values["center"] or (own[0].center if own else "")
        until = _deadlines(site, conn, chosen) if files and chosen else {}
    names = [one.id for one in standard.criteria if one.id not in standard.notices] if (
        standard := site.standards.at(site.now())
    ) else []  # fmt: skip
    return View.of(site, request, first="ur" if files else "").page(
        "disputes.html", status=400 if why else 200, rows=rows, why=why, files=files, own=own, values=values,
        chosen=chosen, until=until, criteria=names, days=site.dispute_days,
    )  # fmt: skip


def _own_centers(conn: sa.Connection, request: Request) -> list[sa.Row[Any]]:
    c = schema.centers.c
    mine = queries.within(schema.centers, auth.asker(request).account.scope)
    return list(conn.execute(sa.select(c.center, c.name).where(*mine).order_by(c.name).limit(CENTERS)))


def _deadlines(site: Site, conn: sa.Connection, center: str) -> dict[str, int | None]:
    """{month: until when it may be disputed}: those that still may be, the newest first."""
    at, by_month = datetime.fromtimestamp(site.now() / 1000, site.zone).replace(day=1), {}
    for _ in range(MONTHS):
        month = f"{at:%Y-%m}"
        until_ms = records.until_ms(conn, center, month, site.dispute_days)
        if until_ms is None or until_ms > site.now():
            by_month[month] = until_ms
        at = (at - timedelta(days=1)).replace(day=1)
    return by_month


# ---------------------------------------------------------------- files


def _attach(site: Site, request: Request, number: int, name: str | None, body: bytes) -> Response:
    try:
        with site.store.write() as conn:
            _seen(conn, request, number)
            acts.attach(conn, number, name or "", body, _who(site, request))
    except DisputeError as error:
        return _one(site, request, number, error.reason)
    return RedirectResponse(f"/disputes/{number}#files", status_code=303)


def _file_of(site: Site, request: Request, number: int, name: str) -> Response:
    try:
        with site.store.read() as conn:
            one = attachments.get(conn, _seen(conn, request, number), name)
            body = attachments.body_of(conn, one)
    except DisputeError as error:
        raise Mistaken(404, str(error)) from None
    return forms.stranger_file(one.name, one.kind, body)


# ---------------------------------------------------------------- one


def _decide(site: Site, request: Request, number: int, given: dict[str, str]) -> Response:
    try:
        with site.store.write() as conn:
            _seen(conn, request, number)
            if given.get("act") == "test":
                window = _span(site, given.get("test_from", ""), given.get("test_to", ""), "dispute.no_window")
                acts.arrange_test(conn, number, given.get("witness", ""), window, _who(site, request), site.board)
            else:
                acts.decide(conn, number, _decision(site, given), _who(site, request), site.board)
    except DisputeError as error:
        return _one(site, request, number, error.reason, given)
    return RedirectResponse(f"/disputes/{number}", status_code=303)


def _decision(site: Site, given: dict[str, str]) -> Ruling:
    """Raises DisputeError, Mistaken."""
    outcomes: dict[str, Outcome] = {name: name for name in OUTCOMES}
    outcome = outcomes.get(given.get("outcome", ""))
    if outcome is None:
        raise Mistaken(400, "form: is not of this page; open the page again and press its button")
    times = given.get("from", ""), given.get("to", "")
    excused = _span(site, *times, "dispute.no_time_given") if any(times) else None
    return Ruling(outcome=outcome, reason=given.get("reason", ""), excused=excused)


def _span(site: Site, begin: str, end: str, code: str) -> Span:
    """Two times as a form sends them, by the centers' clock. Raises DisputeError."""
    try:
        times = [datetime.fromisoformat(text).replace(tzinfo=site.zone) for text in (begin, end)]
        return round(times[0].timestamp() * 1000), round(times[1].timestamp() * 1000)
    except (ValueError, OverflowError):
        raise DisputeError(code) from None


def _one(
    site: Site, request: Request, number: int, why: Reason | None = None, given: dict[str, str] | None = None
) -> Response:
    with site.store.read() as conn:
        dispute = _seen(conn, request, number)
        values = {
            "evidence": evidence_of(conn, dispute), "test": witnessed.result(conn, dispute),
            "files": attachments.of_dispute(conn, number), "lost": attachments.lost(conn, number),
        }  # fmt: skip
        name = centers.get(conn, dispute.center).name
    kept = {name: (given or {}).get(name, "") for name in GIVEN}
    return View.of(site, request, first="ur" if auth.may(request, "dispute.file") else "").page(
        "dispute.html", status=400 if why else 200, one=dispute, name=name, why=why, outcomes=OUTCOMES, kept=kept,
        decides=dispute.is_open and auth.may(request, "dispute.decide"),
        pictures=PICTURES, most_files=attachments.MAX_FILES, most_mb=MAX_BYTES // 1_000_000,
        withdraws=dispute.is_open and auth.may(request, "dispute.file"), **values,
    )  # fmt: skip


def evidence_of(conn: sa.Connection, dispute: Dispute) -> dict[str, Any]:
    """What a dispute is about as it is stored: the verdicts of the report, the minutes of its day, the changes of its
    flags."""
    from_ms, to_ms = span_of(dispute)
    closed = [one for one in revisions.revisions_of(conn, dispute.center, months.month_of(from_ms)) if one.closed_ms]
    report = revisions.report_of(conn, dispute.center, months.month_of(from_ms), closed[-1].number) if closed else None
    rows = [row for row in (report["criteria"] if report else ()) if dispute.criterion in ("", row["criterion"])]
    mine = (_ch.center == dispute.center) & _ch.at_ms.between(from_ms, to_ms - 1)
    mine &= (_ch.criterion == dispute.criterion) if dispute.criterion else _ch.now.in_(("raised", "clear"))
    changes = conn.execute(sa.select(schema.changes).where(mine).order_by(_ch.at_ms).limit(CHANGES)).all()
    minutes = day_store.minutes_of(conn, dispute.center, from_ms) if dispute.day else None
    return {"report": report, "rows": rows, "changes": changes, "minutes": minutes}
