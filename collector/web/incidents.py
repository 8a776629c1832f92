"""The API of incidents, and what a form or a request makes of one: the same acts as the command's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from agent.common.errors import describe
from agent.common.reasons import UNREADABLE
from collector.access import users
from collector.access.accounts.policy import Account
from collector.desk import files, work
from collector.desk.incident import ACK_S, Incident, WorkError
from collector.desk.view import queries
from collector.register.centers import CODE
from collector.standard import Standards
from collector.web import auth, forms
from collector.web.api import reply
from collector.web.errors import Mistaken
from collector.web.site import Site

MAX_BODY = 16_384
HOUR_S = 3600
MANY = ("ack", "assign", "start", "note", "snooze")  # acts that may be done to many at once

R = TypeVar("R")

MAX_NUMBER = 2**53  # what a database takes, and JSON everywhere
IncidentNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER)]

Facts = Mapping[str, str]
WorkAct = Callable[[sa.Connection, int, Facts, Standards, int], Incident]


class ManyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The same act for many incidents."""

    act: str
    incidents: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]], msgspec.Meta(min_length=1, max_length=100)
    ]
    note: str = ""
    owner: str = ""
    hours: float = 0.0


class ActRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request: what is done, and what that act needs besides."""

    act: str
    note: str = ""
    owner: str = ""
    hours: float = 0.0
    party: str = ""
    cause: str = ""
    into: int = 0
    centers: list[str] = []
    to: str = ""


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/api/v1/incidents")
    def incidents(request: Request) -> Response:
        """Those in a state (default: open), of an owner, of a center; the most urgent first."""
        wanted = filter_of(request.query_params)
        scope = auth.asker(request).account.scope
        with site.store.read() as conn:
            rows = queries.listing(conn, site.standards, site.now(), scope=scope, **wanted)
            counts = queries.counts(conn, scope)
        return reply({"counts": counts, "incidents": rows})

    @routes.post("/api/v1/incidents")
    async def act_on_many(request: Request) -> Response:
        """One act on many incidents; answers with what became of each, in their order."""
        if not forms.is_of_this_site(request):
            raise Mistaken(403, "request: came from a page of another site")
        return await run_in_threadpool(_act_on_many, site, auth.asker(request).account, await request.body())

    @routes.get("/api/v1/incidents/{number}")
    def incident(request: Request, number: IncidentNumber) -> Response:
        return reply(whole(site, auth.asker(request).account, number))

    @routes.post("/api/v1/incidents/{number}")
    async def act(request: Request, number: IncidentNumber) -> Response:
        """One act on an incident; answers with the incident as it is then."""
        if not forms.is_of_this_site(request):
            raise Mistaken(403, "request: came from a page of another site")
        return await run_in_threadpool(_act, site, auth.asker(request).account, number, await request.body())

    return routes


def _act(site: Site, account: Account, number: int, body: bytes) -> Response:
    wanted = decoded(body, ActRequest)
    values = {name: str(value) for name, value in msgspec.to_builtins(wanted).items() if name != "centers"}
    values["centers"] = " ".join(wanted.centers)
    return reply(whole(site, account, perform(site, account, number, values).id))


def _act_on_many(site: Site, account: Account, body: bytes) -> Response:
    wanted = decoded(body, ManyRequest)
    if wanted.act not in MANY:
        raise Mistaken(400, f"act: {wanted.act[:40]!r} is none for many at once; use one of {' '.join(MANY)}")
    values = {"act": wanted.act, "note": wanted.note, "owner": wanted.owner, "hours": str(wanted.hours)}
    results = []
    for number in dict.fromkeys(wanted.incidents):
        try:
            results.append({"id": perform(site, account, number, values).id, "done": True, "error": ""})
        except Mistaken as refused:
            if refused.status not in (403, 404, 409):
                raise
            results.append({"id": number, "done": False, "error": refused.sentence})
    return reply({"results": results})


def filter_of(params: Mapping[str, str]) -> dict[str, Any]:
    """The filter in an address. Raises Mistaken for a state that there is none of."""
    state, center = params.get("state", "open"), params.get("center", "")
    if state not in queries.SHOWN_STATES:
        raise Mistaken(400, f"state: {state[:40]!r} is none; use one of {' '.join(queries.SHOWN_STATES)}")
    return {
        "state": state,
        "owner": _printable(params.get("owner", "")),
        "center": center if CODE.fullmatch(center) else "",
    }


def whole(site: Site, account: Account, number: int) -> dict[str, Any]:
    """The incident as this account may see it. Raises Mistaken (404)."""
    try:
        with site.store.read() as conn:
            return queries.whole(conn, site.standards, site.now(), number, account.scope)
    except WorkError as error:
        raise Mistaken(404, str(error)) from None


def perform(site: Site, account: Account, number: int, values: Facts) -> Incident:
    """Does what a form or a request says, in the name of the account. Raises Mistaken."""
    act = ACTS.get(values.get("act", ""))
    if act is None:
        raise Mistaken(400, f"act: is none; use one of {' '.join(ACTS)}")

    def worked(conn: sa.Connection, now_ms: int) -> Incident:
        if values["act"] == "merge":
            _check_reach(conn, account, _number(values, "into"))
        if values["act"] == "link" and (to := values.get("to", "").strip().removeprefix("#")).isdigit():
            _check_reach(conn, account, _number({"to": to}, "to"))
        return act(conn, number, {**values, "by": account.name}, site.standards, now_ms)

    return _work_on(site, account, number, " ".join(filter(None, (values["act"], values.get("note")))), worked)


def attach(site: Site, account: Account, number: int, name: str, body: bytes, note: str) -> Incident:
    """Gives a file with an incident, in the name of the account. Raises Mistaken."""

    def worked(conn: sa.Connection, now_ms: int) -> Incident:
        return work.attach(conn, number, name, body, account.name, note, now_ms)

    return _work_on(site, account, number, files.act_of(body, note), worked)


def file_of(site: Site, account: Account, number: int, digest: str) -> tuple[files.IncidentFile, bytes]:
    """Raises Mistaken."""
    try:
        with site.store.read() as conn:
            _check_reach(conn, account, number)
            return files.get(conn, number, digest)
    except WorkError as error:
        raise Mistaken(404, str(error)) from None


def _work_on(
    site: Site, account: Account, number: int, reason: str, act: Callable[[sa.Connection, int], Incident]
) -> Incident:
    now_ms = site.now()
    try:
        with site.store.write() as conn:
            _check_reach(conn, account, number)
            done = act(conn, now_ms)
            users.record(
                conn, "incident_worked", account.name, now_ms, is_proven=bool(account.key), subject=str(number),
                reason=reason,
            )  # fmt: skip
            return done
    except WorkError as error:
        raise Mistaken(409, str(error)) from None


def _check_reach(conn: sa.Connection, account: Account, number: int) -> None:
    """Raises Mistaken: who sees a part of an incident does not decide about all of it."""
    if not queries.is_seen(conn, number, account.scope):
        raise Mistaken(404, f"incident {number}: there is none; see /incidents")
    if not queries.is_within(conn, number, account.scope):
        raise Mistaken(403, f"incident {number}: is about centers beyond yours; ask an officer of all of them")


def decoded(body: bytes, kind: type[R], form: str = '{"act": "note", "note": "TEXT"}') -> R:
    """The body of a request. Raises Mistaken (400)."""
    try:
        return msgspec.json.decode(body[: MAX_BODY + 1], type=kind)
    except UNREADABLE as error:
        raise Mistaken(400, f"body: {describe(error)}; send JSON such as {form}") from None


def _span_s(values: Facts, default_s: int) -> int:
    text = values.get("hours", "")
    try:
        hours = float(text or 0)
        if math.isnan(hours):
            raise ValueError("not a number")
    except ValueError:
        raise WorkError(f"hours: {text[:20]!r} is no number; write such as 4 or 0.5") from None
    return default_s if hours == 0 else int(min(max(hours, 0), 10_000) * HOUR_S)


def _who(values: Facts) -> tuple[str, str]:
    return values.get("by", ""), values.get("note", "")


def _number(values: Facts, name: str) -> int:
    text = values.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise WorkError(f"{name}: {text[:20]!r} is no incident; give its number")
    return int(text)


def _ack(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.acknowledge(conn, number, *_who(values), now_ms, _span_s(values, ACK_S))


def _assign(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.assign(conn, number, values.get("owner") or values.get("by", ""), *_who(values), now_ms)


def _start(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.start(conn, number, *_who(values), now_ms)


def _wait(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.wait(conn, number, values.get("party", ""), *_who(values), now_ms)


def _note(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.note(conn, number, *_who(values), now_ms)


def _snooze(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.snooze(conn, number, now_ms + _span_s(values, HOUR_S) * 1000, *_who(values), now_ms)


def _resolve(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.resolve(conn, number, *_who(values), now_ms)


def _review(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.review(conn, number, *_who(values), now_ms)


def _cause(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.recause(conn, number, values.get("cause", ""), *_who(values), now_ms)


def _merge(conn: sa.Connection, number: int, values: Facts, standards: Standards, now_ms: int) -> Incident:
    return work.merge(conn, number, _number(values, "into"), standards, *_who(values), now_ms)


def _link(conn: sa.Connection, number: int, values: Facts, _standards: Standards, now_ms: int) -> Incident:
    return work.link(conn, number, values.get("to", ""), *_who(values), now_ms)


def _split(conn: sa.Connection, number: int, values: Facts, standards: Standards, now_ms: int) -> Incident:
    return work.split(conn, number, values.get("centers", "").split(), standards, *_who(values), now_ms)


ACTS: Mapping[str, WorkAct] = {
    "ack": _ack, "assign": _assign, "start": _start, "wait": _wait, "note": _note, "snooze": _snooze,
    "resolve": _resolve, "review": _review, "cause": _cause, "merge": _merge, "split": _split,
    "link": _link,
}  # fmt: skip


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:100])
