"""Months' reports as files: one center's as a signed PDF, all centers' as a workbook, CSV and JSON."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from agent.common.words import plain
from collector.reports import revisions, schedule
from collector.reports.fleet import files, summary
from collector.reports.fleet.summary import PARTS, FleetMonth
from collector.reports.monthly import ReportError, period
from collector.reports.pdf import document, pades
from collector.web import auth
from collector.web.api import known_code
from collector.web.errors import Mistaken
from collector.web.fleet.lists import XLSX
from collector.web.site import Site
from collector.web.view import View

WAIT_S = 20  # for the one before: a PDF takes a second of a core, so one is made at a time


def router(site: Site) -> APIRouter:
    routes, making = APIRouter(), threading.Lock()

    @routes.get("/centers/{code}/report.pdf")
    def as_pdf(request: Request, code: str, month: str = "") -> Response:
        """A month that is closed, in the reader's language; who fetched it is recorded."""
        report = _closed(site, known_code(code), month)
        if not making.acquire(timeout=WAIT_S):
            raise Mistaken(503, "PDF: others are being made; try again in a minute")
        try:
            body = _signed(site, report, View.of(site, request).words.lang)
        finally:
            making.release()
        number = report["revision"]["number"]
        with site.store.write() as conn:
            revisions.give(conn, code, report["from_ms"], number, auth.asker(request).account.name, site.now())
        return _file(body, "application/pdf", f"{code}-{month}-{number}.pdf")

    @routes.get("/months.xlsx")
    def as_workbook(request: Request, month: str = "", by: str = "district") -> Response:
        words = plain(View.of(site, request).words.lang, site.texts)
        return _file(files.fleet_workbook(_fleet(site, request, month, by), words), XLSX, f"{month}-{by}.xlsx")

    @routes.get("/months.csv")
    def as_csv(request: Request, month: str = "", by: str = "district") -> Response:
        text = files.fleet_csv(_fleet(site, request, month, by))
        return _file(text.encode(), "text/csv; charset=utf-8", f"{month}-{by}.csv")

    @routes.get("/months.json")
    def as_json(request: Request, month: str = "", by: str = "district") -> Response:
        return Response(files.fleet_json(_fleet(site, request, month, by)), media_type="application/json")

    return routes


def _closed(site: Site, code: str, month: str) -> Mapping[str, Any]:
    """The newest closed report of a month. Raises Mistaken."""
    try:
        with site.store.read() as conn:
            number = schedule.closed_number(conn, code, month, site.now())
            report = schedule.told(conn, code, month, site.standards, site.now())
    except ReportError as error:
        raise Mistaken(404, str(error)) from None
    if report["revision"]["number"] != number or report["revision"]["closed_ms"] is None:
        raise Mistaken(409, f"month {month}: revision {number + 1} is being made; try again when it is closed")
    return report


def _signed(site: Site, report: Mapping[str, Any], lang: str) -> bytes:
    """Raises Mistaken."""
    try:
        key = pades.key_of(site.signature, site.facts.authority, site.now())
        return pades.signed(document.as_pdf(report, lang), key, pades.reason_of(report))
    except document.PdfError as error:
        raise Mistaken(501, str(error)) from None


def _fleet(site: Site, request: Request, month: str, by: str) -> FleetMonth:
    """Raises Mistaken."""
    part = next((one for one in PARTS if one == by), None)
    if part is None:
        raise Mistaken(400, f"by: {by[:40]!r} is none; use one of {' '.join(PARTS)}")
    try:
        with site.store.read() as conn:
            span, scope = period(month, str(site.zone), site.now()), auth.asker(request).account.scope
            return summary.of_month(conn, month, span.from_ms, part, scope, site.standards.at(span.to_ms - 1))
    except ReportError as error:
        raise Mistaken(404, str(error)) from None


def _file(body: bytes, kind: str, name: str) -> Response:
    return Response(body, media_type=kind, headers={"content-disposition": f'attachment; filename="nabz-{name}"'})
