"""The pages: the centers, one center."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from agent import wire
from agent.common.reading_codes import faults_of
from collector.access import approvals
from collector.access.accounts import contacts
from collector.desk import causes, tables
from collector.desk.risk import rows as month_risks
from collector.desk.view import queries as incidents
from collector.ingest import stories
from collector.judging import score, server_check
from collector.judging.current import Current, LatestReading, current_verdicts, latest_readings
from collector.judging.flags.cause import clock_off
from collector.judging.flags.witness import Witness
from collector.judging.outages import summary
from collector.register import dated
from collector.register.centers import CODE, SHOWN, CenterError, get
from collector.remote import questions
from collector.reports import revisions
from collector.reports.fleet.summary import level_of
from collector.reports.integrity import story_reason
from collector.reports.monthly import period
from collector.reports.render import named, reasons
from collector.reports.revisions import Revision
from collector.standard.criteria import DEAF, EVERYONE, Consequence
from collector.store import center_states, queries, rollups
from collector.web import auth
from collector.web.api import filter_of, known_code, test_network
from collector.web.errors import Mistaken
from collector.web.fleet import list_rows, lists
from collector.web.pages import test_now
from collector.web.site import Site
from collector.web.view import View

PAGE_ROWS = 50  # two screens: browsers take longer over rows than the server does
FIRST_ROWS = 25  # of an answer within the page: a screen of them is drawn before the others
USE_MS = 7 * 86_400_000  # so far back are seats' hours of use added up
MAX_ROWS_ASKED = 400
WHO_ELSE = ("owner", "isp", "feeder", "exchange")  # facts that lead to the centers that share them
REPORTS = 12  # months of a page
FLAGS = 50  # of a page
CHARTS = {name: kind.drawn for name, kind in wire.KINDS.items() if kind.chart}
SERIES = (*{figure.name: None for drawn in CHARTS.values() for figure in drawn}, "self_down", "bound", "promised")
OWN_TILES = frozenset({"link", "speed", "ups", "seats", "gateway"})  # kinds that center.html shows in ways of their own
VERDICTS = ("below", "unknown", "meets")
NEW_S = 4 * 3600
RANGES_S = {"1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400, "90d": 90 * 86_400, "1y": 365 * 86_400}


def router(site: Site) -> APIRouter:
    routes, markup = APIRouter(), list_rows.RowMarkup(site)

    @routes.get("/")
    def centers(request: Request) -> Response:
        return _list(site, request, markup)

    @routes.get("/rows")
    def rows(request: Request, codes: str = "") -> Response:
        """The rows of these centers, for a page that has heard that they moved."""
        wanted = codes.split(",")[:MAX_ROWS_ASKED]
        with site.store.read() as conn:
            codes_asked = [item for item in wanted if CODE.fullmatch(item)]
            scope = auth.asker(request).account.scope
            rows = center_states.some(conn, site.ranks(conn), codes_asked, scope, site.now())
            hours, risks = site.open_hours(conn, rows), month_risks.of_centers(conn, {row["center"] for row in rows})
        view = View.of(site, request)
        return view.page("rows.html", rows=markup.rows(view, rows, hours, risks))

    @routes.get("/centers/{code}")
    def center(request: Request, code: str) -> Response:
        return _center(site, request, code)

    return routes


def _list(site: Site, request: Request, markup: list_rows.RowMarkup) -> Response:
    """The page; for a search in it the list alone, without what stands around it."""
    wanted, is_part = filter_of(request), request.headers.get("hx-request-type") == "partial"
    number = _page_number(request.query_params.get("page", "1"))
    event = site.hub.last_event  # before the database is read: what comes after it is told by the stream
    with site.store.read() as conn:
        ranks = site.ranks(conn)
        offset = (number - 1) * PAGE_ROWS
        counts, rows = center_states.listed(conn, ranks, wanted, site.now(), limit=PAGE_ROWS, offset=offset)
        around: dict[str, Any] = {} if is_part else _around(conn, request, wanted)
        own, hours = lists.views(conn, auth.asker(request).account.key), site.open_hours(conn, rows)
        risks = month_risks.of_centers(conn, {row["center"] for row in rows})
    total = counts[wanted.state] if wanted.state else sum(counts.values())
    view = View.of(site, request)
    return view.page(
        "list.html" if is_part else "centers.html", views=own, event=event, first=FIRST_ROWS if is_part else PAGE_ROWS,
        query=lists.view_of(request.url.query), left_out=lists.left_out(request), choice=lists.CHOICE,
        rows=markup.rows(view, rows, hours, risks), counts=counts, wanted=wanted, found=total, number=number, **around,
        pages=max(1, -(-total // PAGE_ROWS)), states=queries.STATES, standard=_standard(site),
    )  # fmt: skip


def _around(conn: sa.Connection, request: Request, wanted: queries.Filter) -> dict[str, Any]:
    """What stands around the list."""
    waiting = approvals.number_waiting(conn, wanted.scope) if auth.may(request, "gateways.list") else None
    return {"provinces": queries.provinces(conn, wanted.scope), "deaf": _deaf(conn), "waiting": waiting}


def _page_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0 else 1


def _standard(site: Site) -> object:
    return site.standards.at(site.now())


def _deaf(conn: sa.Connection) -> sa.RowMapping | None:
    """The finding that the collector hears almost nobody, when it holds."""
    flags = (flag for flag in queries.flags_of(conn, EVERYONE) if flag["criterion"] == DEAF.id)
    return next((flag for flag in flags if flag["state"] in queries.OPEN), None)


# ---------------------------------------------------------------- one center


def _center(site: Site, request: Request, code: str) -> Response:
    event = site.hub.last_event
    with site.store.read() as conn:
        ranks = site.ranks(conn)
        row = queries.one(conn, ranks, known_code(code))
        if row is None:
            raise Mistaken(404, f"center {code[:40]!r}: is not registered")
        number = _page_number(request.query_params.get("flags", "1"))
        count, flags = queries.open_flags_of(conn, code, limit=FLAGS, offset=(number - 1) * FLAGS)
        shown = _hidden(flags, ranks.silence, is_dark=row["state"] == "silent")
        pages = {"open_flags": shown, "number": number, "pages": max(1, -(-count // FLAGS))}
        values = {**_center_values(site, conn, code), **pages, **test_now.values(conn, request, code)}
        beacons = queries.last_beacons(conn, code, row["heard_ms"] or 0)  # once heard itself, its readings tell
        likely = causes.of_center(conn, code, site.now()) if row["state"] == "silent" else None
    name = request.query_params.get("range", "")
    span = name if name in RANGES_S else _usual_range(values["devices"], site.now())
    view = View.of(site, request)
    return view.page(
        "center.html", event=event, row=row, **values, likely=likely,
        clocks_off={one.device: (clock_off(one.clock_off_s), one.heard_ms) for one in beacons if one.clock_off_s},
        old=_old(values["latest"], row["state"] == "silent", site.now()),
        who_else=WHO_ELSE, ranges=RANGES_S, range=span, range_s=RANGES_S[span],
        standard=_standard(site), facts=(*WHO_ELSE[:1], *SHOWN), charts=CHARTS, drawn=_drawn(), series=SERIES,
        said=partial(reasons, words=view.words), named=partial(named, words=view.words),
        subjects=_subjects(values["latest"], request.query_params),
    )  # fmt: skip


def _center_values(site: Site, conn: sa.Connection, code: str) -> dict[str, Any]:
    try:
        registered = dated.ruled(conn, {code: get(conn, code)}, site.now(), site.now())[code]
        latest = latest_readings(conn, code)
        verdicts = current_verdicts(conn, registered, latest, site.standards, site.now())
    except CenterError as error:
        raise Mistaken(404, str(error)) from None
    roll_calls = [item.reading for item in latest.get("seats", ()) if isinstance(item.reading, wire.SeatsReading)]
    return {
        "verdicts": sorted(verdicts, key=lambda item: VERDICTS.index(item.verdict.word)),
        "bounds": _bounds(verdicts),
        "latest": latest,
        "tiles": _tiles(latest),
        "witness": _witness(site, conn, code, latest.get("speed", ())),
        "network": test_network(site, conn, registered.isp, latest),
        "incidents": [tables.get(conn, number) for number in incidents.of_centers(conn, [code])[code]],
        "changes": queries.changes_of(conn, code),
        **summary.values(conn, registered, site.standards.at(site.now())),
        "contacts": contacts.of_center(conn, registered),
        "risks": month_risks.of_centers(conn, [code]).get(code, ()),
        "reports": (reports := revisions.newest_of(conn, code, REPORTS)),
        "reached": _reached(site, conn, code, reports),
        "given": revisions.given_by_month(conn, code),
        "devices": queries.devices_of(conn, code),
        "questions": questions.of_center(conn, code),
        "question_kinds": questions.KINDS,
        "place": registered,
        "integrity": queries.integrity_of(conn, code),
        "stories": [{**one, "detail": story_reason(one)} for one in stories.held(conn, code)],
        "scores": score.of_month(conn, score.month_of(site.now()), code),
        "visit_at": score.shipped().visit_at,
        "conditions": next((one for one in roll_calls if one.in_use is not None or one.facts is not None), None),
        "seat_hours": rollups.seat_hours(conn, code, site.now() - USE_MS),
        "seats": [seat for reading in roll_calls for seat in _seats(reading)],
        "waiting": [name for reading in roll_calls for name in _waiting(reading)],
    }


def _reached(
    site: Site, conn: sa.Connection, code: str, reports: Sequence[tuple[str, Revision]]
) -> tuple[str, Consequence, bool] | None:
    """(month, consequence, whether that is an example's) of the last closed month."""
    month = next((name for name, one in reports if one.closed_ms is not None), None)
    span = period(month, str(site.zone), site.now()) if month else None
    standard = site.standards.at(span.to_ms - 1) if span else None
    if month is None or span is None or standard is None:
        return None
    level = level_of(conn, code, span.from_ms, standard)
    return (month, level, not standard.consequences) if level else None


def _old(latest: Mapping[str, Sequence[LatestReading]], is_silent: bool, now_ms: int) -> frozenset[tuple[str, str]]:
    """(kind, subject) of what may no longer be so: all of a silent center, else what should have been told anew."""
    pairs = [(kind, at) for kind, readings in latest.items() for at in readings]
    longest = {name: kind.gap_ms for name, kind in wire.KINDS.items()}
    return frozenset(
        (kind, at.subject) for kind, at in pairs if is_silent or now_ms - at.wall_ms > (longest[kind] or now_ms)
    )


def _hidden(flags: Sequence[sa.RowMapping], silence: Collection[str], *, is_dark: bool) -> list[dict[str, Any]]:
    """On a dark center only its silence is known: of the others nobody has seen anything since (`is_hidden`)."""
    rows = [{**flag, "is_hidden": is_dark and flag["criterion"] not in silence} for flag in flags]
    return sorted(rows, key=lambda flag: flag["is_hidden"])


def _witness(site: Site, conn: sa.Connection, code: str, speeds: Sequence[LatestReading]) -> Witness | None:
    """What the measurement server says of the newest test; a self-test and a failed one need nobody's word."""
    for newest in speeds[:1]:
        reading = newest.reading
        if isinstance(reading, wire.SpeedReading) and reading.purpose != "self-test" and reading.failure is None:
            return server_check.of_latest(conn, code, newest.subject, newest.wall_ms, site.now())
    return None


def _subjects(latest: Mapping[str, Sequence[LatestReading]], params: Mapping[str, str]) -> dict[str, str | None]:
    """Which of several links or UPSs each chart shows; None where there is but one."""
    names = {kind: [item.subject for item in latest.get(kind, ())] for kind in CHARTS}
    return {
        kind: None if len(own) < 2 else params[kind] if params.get(kind) in own else own[0]
        for kind, own in names.items()
    }


def _drawn() -> str:
    """JSON {kind: its figures} for the charts."""
    kinds = {
        kind: [{"name": figure.name, "unit": figure.unit, "number": figure.is_number} for figure in drawn]
        for kind, drawn in CHARTS.items()
    }
    return msgspec.json.encode(kinds).decode()


def _tiles(latest: Mapping[str, Sequence[LatestReading]]) -> list[dict[str, Any]]:
    """The newest readings of the kinds that have no tile of their own, each with its figures."""
    tiles = []
    for kind in wire.KINDS.values():
        numbers = [figure for figure in kind.figures if figure.is_number and kind.name not in OWN_TILES]
        for at in latest.get(kind.name, ()) if numbers else ():
            figures = [{"name": it.name, "value": getattr(at.reading, it.field), "unit": it.unit} for it in numbers]
            known = {"kind": kind.name, "subject": at.subject, "wall_ms": at.wall_ms, "failure": at.reading.failure}
            tiles.append({**known, "figures": figures})
    return tiles


def _usual_range(devices: Sequence[sa.RowMapping], now_ms: int) -> str:
    """A day; an hour while a center is so new that its first readings would be a dot at the edge."""
    first_ms = min((device["enrolled_ms"] for device in devices), default=0)
    return "1h" if now_ms - first_ms < NEW_S * 1000 else "24h"


def _seats(reading: wire.SeatsReading) -> list[dict[str, Any]]:
    """The roll call by seat, the ones that need a hand first."""
    columns = reading.seats
    if columns is None:
        return []
    order, faults = ("unhealthy", "missing", "off", "healthy"), faults_of(columns)
    seats = [
        {"id": name, "state": columns.state[place], "faults": faults.get(name, ()),
         "cpu_pct": _at(columns.cpu_pct, place), "memory_pct": _at(columns.memory_pct, place),
         "changed": bool(columns.changed and columns.changed[place])}
        for place, name in enumerate(columns.id)
    ]  # fmt: skip
    return sorted(seats, key=lambda seat: order.index(seat["state"]))


def _waiting(reading: wire.SeatsReading) -> list[str]:
    return reading.seats.waiting if reading.seats else []


def _at(column: Sequence[float | None], place: int) -> float | None:
    return column[place] if column else None


def _bounds(verdicts: Sequence[Current]) -> str:
    """JSON {"kind.field": bound} of the criteria that a chart can show as a line."""
    bounds: Mapping[str, float] = {
        f"{verdict.criterion.reading}.{name}": verdict.verdict.bound
        for verdict in verdicts
        if verdict.verdict.bound is not None
        for name in verdict.criterion.fields
    }
    return msgspec.json.encode(bounds).decode()
