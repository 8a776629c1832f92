"""Pages of the calendar, of a center's facts with their history, and of what waits for a second person."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from agent.common.errors import describe
from collector.acts import register as acts
from collector.acts.person import ActingPerson
from collector.common.messages import one_line
from collector.register import calendar, centers, dated, facts
from collector.register.calendar import CalendarEntry, CalendarError, EntryKind, Scope
from collector.register.centers import CenterError
from collector.register.facts import FactError
from collector.web import auth, forms
from collector.web.api import known_code
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

DAY_MS = 86_400_000
BEFORE_MS, AHEAD_MS = 62 * DAY_MS, 366 * DAY_MS
SHOWN = 200
ACTS = ("confirm", "refuse", "add")
EMPTY = dict.fromkeys(("kind", "scope", "subject", "from", "to", "hours", "name", "name_ur", "reason"), "")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/calendar")
    def shown(request: Request) -> Response:
        return _calendar(site, request)

    @routes.post("/calendar")
    async def change(request: Request) -> Response:
        return await run_in_threadpool(_change, site, request, await forms.given(request))

    @routes.get("/confirmations")
    def waiting(request: Request) -> Response:
        return _waiting(site, request)

    @routes.post("/confirmations")
    async def decide(request: Request) -> Response:
        return await run_in_threadpool(_decide, site, request, await forms.given(request))

    @routes.get("/centers/{code}/facts")
    def history(request: Request, code: str) -> Response:
        try:
            with site.store.read() as conn:
                center = centers.get(conn, known_code(code))
                rows = facts.facts_of(conn, [center.code])[center.code]
        except CenterError as error:
            raise Mistaken(404, str(error)) from None
        rows = sorted(rows, key=lambda fact: (fact.name, fact.from_ms, fact.id))
        return View.of(site, request).page("facts.html", center=center, rows=rows, columns=centers.COLUMNS)

    return routes


def _who(site: Site, request: Request) -> ActingPerson:
    return ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Mistaken(400, "form: is not of this page; open the page again and press its button")
    return int(text)


# ---------------------------------------------------------------- the calendar


def _change(site: Site, request: Request, given: dict[str, str]) -> Response:
    """An entry is added, or a day of the moon is confirmed."""
    try:
        with site.store.write() as conn:
            who = _who(site, request)
            if given.get("act") == "add":
                acts.add_entry(conn, _entry(given, who), who)
            else:
                entries = calendar.by_ids(conn, [_number(given.get("id", ""))])
                if any(entry.needs_second for entry in entries):
                    raise CalendarError("this waits for a second person; see what waits for one")
                acts.confirm_entries(conn, entries, who, _day_ms(given.get("on", "")))
    except (CalendarError, FactError) as error:
        return _calendar(site, request, str(error), given)
    return RedirectResponse("/calendar", status_code=303)


def _entry(given: dict[str, str], who: ActingPerson) -> CalendarEntry:
    """Raises CalendarError."""
    kinds: dict[str, EntryKind] = {kind: kind for kind in calendar.BY_HAND}
    scopes: dict[str, Scope] = {scope: scope for scope in calendar.SCOPES}
    kind, scope = kinds.get(given.get("kind", "")), scopes.get(given.get("scope", ""))
    if kind is None or scope is None or not given.get("reason", "").strip():
        raise CalendarError("calendar: needs a kind, whom it is of, and a reason; fill them in")
    from_ms, to_ms = _day_ms(given.get("from", "")), _day_ms(given.get("to", ""))
    if from_ms is None:
        raise CalendarError("calendar: needs a first day; give one")
    subject, hours, name, name_ur = (
        one_line(given.get(key, ""), calendar.MAX_NAME) for key in ("subject", "hours", "name", "name_ur")
    )
    return CalendarEntry(
        kind=kind, scope=scope, subject=subject, hours=hours, name=name, name_ur=name_ur, from_ms=from_ms,
        to_ms=None if to_ms is None else to_ms + DAY_MS, recorded_ms=who.now_ms, recorded_by=who.name,
        reason=one_line(given["reason"], 500),
    )  # fmt: skip


def _day_ms(text: str) -> int | None:
    """Raises CalendarError."""
    if not text:
        return None
    try:
        return dated.day_ms(text)
    except ValueError as error:
        raise CalendarError(f"calendar: {describe(error)}") from None


def _calendar(site: Site, request: Request, why: str = "", given: dict[str, str] | None = None) -> Response:
    now_ms = site.now()
    with site.store.read() as conn:
        entries = calendar.listed(conn, now_ms - BEFORE_MS, now_ms + AHEAD_MS)
    days = {one.id: f"{datetime.fromtimestamp(one.from_ms / 1000, site.zone):%Y-%m-%d}" for one in entries}
    values = EMPTY | {name: text for name, text in (given or {}).items() if name in EMPTY}
    return View.of(site, request).page(
        "calendar.html", status=400 if why else 200, rows=entries, days=days, why=why, values=values,
        kinds=calendar.BY_HAND, scopes=calendar.SCOPES, edits=auth.may(request, "calendar.edit"),
    )  # fmt: skip


# ---------------------------------------------------------------- what waits for a second person


def _decide(site: Site, request: Request, given: dict[str, str]) -> Response:
    kind, why = given.get("kind", ""), given.get("reason", "")
    if given.get("act") not in ("confirm", "refuse") or kind not in ("fact", "entry"):
        raise Mistaken(400, "form: is not of this page; open the page again and press its button")
    confirms, number = given["act"] == "confirm", _number(given.get("id", ""))
    try:
        with site.store.write() as conn:
            who = _who(site, request)
            if kind == "fact":
                rows = facts.by_ids(conn, [number])
                acts.confirm_facts(conn, rows, who) if confirms else acts.refuse_facts(conn, rows, why, who)
            else:
                entries = calendar.by_ids(conn, [number])
                acts.confirm_entries(conn, entries, who) if confirms else acts.refuse_entries(conn, entries, why, who)
    except (CalendarError, FactError) as error:
        return _waiting(site, request, str(error))
    return RedirectResponse("/confirmations", status_code=303)


def _waiting(site: Site, request: Request, why: str = "") -> Response:
    with site.store.read() as conn:
        late = facts.waiting(conn)[:SHOWN]
        entries = [one for one in calendar.listed(conn, 0, 2**53) if one.state == "waiting" and one.needs_second]
    return View.of(site, request).page(
        "confirmations.html", status=400 if why else 200, facts=late, entries=entries[:SHOWN], why=why,
        me=auth.asker(request).account.name, edits=auth.may(request, "confirmations.decide"),
    )  # fmt: skip
