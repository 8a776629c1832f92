"""What people take along of the list of centers: as CSV, as a workbook, and filters kept under a name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from agent.common.words import PlainWords
from collector.store import center_states, schema, upsert
from collector.web import auth, forms
from collector.web.api import MAX_PAGE, filter_of
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

COLUMNS = (
    "center", "name", "state", "criterion", "state_since", "heard", "city", "district", "province", "owner", "isp",
    "feeder", "exchange", "open_flags",
)  # fmt: skip
HEADS = {
    "center": "code", "name": "center", "state": "state", "criterion": "why", "state_since": "since", "heard": "heard",
    "city": "center.city", "district": "center.district", "province": "province", "owner": "center.owner",
    "isp": "center.isp", "feeder": "center.feeder", "exchange": "center.exchange", "open_flags": "flags",
}  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run (OWASP: CSV injection)
CHOICE = ("day", "place", "why", "since", "heard", "owner", "isp")  # columns of the page that may be left out
KEPT = (
    "state",
    "province",
    "district",
    "city",
    "owner",
    "isp",
    "feeder",
    "exchange",
    "q",
    "sort",
    "without",
)  # questions of a view
MAX_NAME, MAX_QUERY, MAX_VIEWS = 64, 1000, 30
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/centers.csv")
    def as_csv(request: Request) -> Response:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([_unrun(value) for value in row] for row in _rows(site, request))
        return _file(("\ufeff" + text.getvalue()).encode(), "text/csv; charset=utf-8", "csv")

    @routes.get("/centers.xlsx")
    def as_workbook(request: Request) -> Response:
        words = View.of(site, request).words
        heads = [PlainWords(words.catalogue)(HEADS[name]) for name in COLUMNS]
        return _file(workbook(heads, _rows(site, request), is_rtl=words.dir == "rtl"), XLSX, "xlsx")

    @routes.post("/views")
    def keep(
        request: Request, mark: str = Form(""), act: str = Form("keep"), name: str = Form(""), query: str = Form("")
    ) -> Response:
        forms.check(request, mark)
        _keep(site, request, act, " ".join(name.split())[:MAX_NAME], query[:MAX_QUERY])
        return RedirectResponse(f"/?{view_of(query[:MAX_QUERY])}", status_code=303)

    return routes


def _file(body: bytes, kind: str, ending: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="centers.{ending}"'}
    return Response(body, media_type=kind, headers=headers)


def _rows(site: Site, request: Request) -> Iterator[list[str | int]]:
    """All centers under the page's filter, in its order, times in the programme's zone."""
    with site.store.read() as conn:
        ranks = site.ranks(conn)
        rows = center_states.page(conn, ranks, filter_of(request), site.now(), limit=MAX_PAGE)
    for row in rows:
        known: Mapping[str, Any] = {
            **row, "state_since": _clock(site, row["state_since_ms"]), "heard": _clock(site, row["heard_ms"]),
        }  # fmt: skip
        yield ["" if known[name] is None else known[name] for name in COLUMNS]


def _clock(site: Site, at_ms: int | None) -> str:
    return "" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, site.zone):%Y-%m-%d %H:%M}"


def _unrun(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def workbook(heads: Sequence[str], rows: Iterator[list[str | int]], *, is_rtl: bool) -> bytes:
    """An Office Open XML workbook of one sheet (ECMA-376); its text is text, whatever it begins with."""
    import xlsxwriter  # of no use to those who never ask for one

    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        if is_rtl:
            sheet.right_to_left()
        sheet.write_row(0, 0, heads, book.add_format({"bold": True}))
        for number, row in enumerate(rows, 1):
            sheet.write_row(number, 0, row)
        sheet.freeze_panes(1, 2)
        sheet.autofilter(0, 0, 0, len(heads) - 1)
        sheet.set_column(0, len(heads) - 1, 18)
    return out.getvalue()


# ---------------------------------------------------------------- views


def left_out(request: Request) -> list[str]:
    """The columns that the reader wants to do without: in the address as names with dots between them."""
    named = request.query_params.get("without", "").split(".")
    return [name for name in CHOICE if name in named]


def view_of(query: str) -> str:
    """The questions of an address that make a view, in one order; nothing else of it."""
    given = dict(parse_qsl(query, max_num_fields=40))
    return urlencode({name: given[name][:100] for name in KEPT if given.get(name)})


def views(conn: sa.Connection, person: str) -> list[sa.RowMapping]:
    """The views that a person has kept, by name."""
    v = schema.saved_views.c
    query = sa.select(v.name, v.query).where(v.person == person).order_by(v.name).limit(MAX_VIEWS)
    return list(conn.execute(query).mappings())


def _keep(site: Site, request: Request, act: str, name: str, query: str) -> None:
    """Raises Mistaken."""
    person = auth.asker(request).account.key
    if act not in ("keep", "remove") or not (name and name.isprintable()):
        raise Mistaken(400, "view: needs a name of letters, and to be kept or removed; correct the form")
    v = schema.saved_views.c
    with site.store.write() as conn:
        if act == "remove":
            conn.execute(sa.delete(schema.saved_views).where(v.person == person, v.name == name))
            return
        known = set(conn.scalars(sa.select(v.name).where(v.person == person)))
        if len(known | {name}) > MAX_VIEWS:
            raise Mistaken(409, f"view: {MAX_VIEWS} are kept already; remove one")
        row = {"person": person, "name": name, "query": view_of(query), "made_ms": site.now()}
        upsert(conn, schema.saved_views, [row])
