"""A center's month, its days, and the readings that each figure rests on, down to the bytes that its gateway signed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from agent import wire
from collector.access.enrolment import is_signed
from collector.register.centers import CenterError
from collector.reports import day_store, render, schedule
from collector.reports.monthly import ReportError
from collector.speedtests.signed_records import record_lines
from collector.store import StoreError, schema
from collector.store.cold import held
from collector.store.cold.batches import StoredBatch
from collector.web.api import known_code
from collector.web.errors import Mistaken
from collector.web.fleet.monthly import begin_ms
from collector.web.site import Site
from collector.web.view import View

PAGE_ROWS = 200
DAY_MS = 86_400_000
DEVICE = re.compile(r"g[0-9a-f]{16}")
SPOOL = re.compile(r"[0-9a-zA-Z-]{1,64}")
TEST = re.compile(r"[0-9a-zA-Z_-]{1,64}")
BUCKETS = ("up", "below", "down", "excused", "unknown_explained", "unknown_unexplained", "ours")
WAIT_S = 20.0  # for the one before: a month that is not closed is made of its days, which takes a second of a core


def router(site: Site) -> APIRouter:
    routes = APIRouter()
    _days(routes, site)
    _readings(routes, site)
    return routes


def _days(routes: APIRouter, site: Site) -> None:
    making = threading.Lock()

    @contextmanager
    def turn() -> Iterator[None]:
        """Months and days are made one at a time. Raises Mistaken."""
        if not making.acquire(timeout=WAIT_S):
            raise Mistaken(503, "month: others are being made; try again in a minute")
        try:
            yield
        finally:
            making.release()

    @routes.get("/centers/{code}/months/{month}")
    def month_page(request: Request, code: str, month: str) -> Response:
        with turn():
            report = _report(site, known_code(code), month)
        view = View.of(site, request)
        article = Markup(render.article(report, view.words))  # noqa: S704 - a template with autoescape made it
        return view.page("month.html", code=code, month=month, report=report, article=article, buckets=BUCKETS)

    @routes.get("/centers/{code}/months/{month}/{day}")
    def day_page(
        request: Request, code: str, month: str, day: str, criterion: str = "", subject: str = "", page: str = "1"
    ) -> Response:
        with turn():
            whole = _traced(site, known_code(code), _span(site, month, day))
        chosen = whole.criterion(criterion, subject)
        key = (chosen.criterion, chosen.subject) if chosen else None
        rows = [row for row in whole.readings if (row.criterion.id, row.subject) == key]
        pages = max(1, -(-len(rows) // PAGE_ROWS))
        number = min(pages, max(1, int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1))
        return View.of(site, request).page(
            "day.html", code=code, month=month, day=day, sheet=whole.sheet, chosen=chosen, buckets=BUCKETS,
            count=len(rows), rows=rows[(number - 1) * PAGE_ROWS : number * PAGE_ROWS], number=number, pages=pages,
        )  # fmt: skip


def _readings(routes: APIRouter, site: Site) -> None:
    @routes.get("/centers/{code}/evidence/{device}/{spool}/{seq}")
    def reading_page(request: Request, code: str, device: str, spool: str, seq: str) -> Response:
        reading = _signed(site, known_code(code), device, spool, seq)
        return View.of(site, request).page("evidence.html", code=code, reading=reading)

    @routes.get("/centers/{code}/evidence/{device}/{spool}/{seq}/batch.json")
    def batch_file(code: str, device: str, spool: str, seq: str) -> Response:
        """The batch as it was signed, for whoever checks it elsewhere."""
        reading = _signed(site, known_code(code), device, spool, seq)
        name = f'attachment; filename="nabz-{device}-{reading.batch.first_seq}.json"'
        return Response(reading.as_json(), media_type="application/json", headers={"content-disposition": name})

    @routes.get("/centers/{code}/records/{test}")
    def record_file(code: str, test: str) -> Response:
        """What a measurement server signed of a test, as `evidence verify` reads it."""
        facts = _record(site, known_code(code), test)
        name = f'attachment; filename="nabz-{test}.json"'
        return Response(facts, media_type="application/json", headers={"content-disposition": name})


# ---------------------------------------------------------------- a month and its days


def _report(site: Site, code: str, month: str) -> dict[str, Any]:
    """Raises Mistaken."""
    try:
        with site.store.read() as conn:
            return schedule.told(conn, code, month, site.standards, site.now())
    except (ReportError, CenterError) as error:
        raise Mistaken(404, str(error)) from None
    except StoreError as error:
        raise Mistaken(503, str(error)) from None


def _span(site: Site, month: str, day: str) -> tuple[int, int]:
    """A day of a month, cut off at now. Raises Mistaken."""
    from_ms = begin_ms(site, month)
    try:
        at = date.fromisoformat(day)
    except ValueError:
        at = None
    if from_ms is None or at is None or len(day) != 10 or f"{at:%Y-%m}" != month:
        raise Mistaken(404, f"day {day[:40]!r}: is none of month {month[:40]!r}; write e.g. 2026-01-31")
    first = int(datetime(at.year, at.month, at.day, tzinfo=site.zone).timestamp() * 1000)
    if first >= site.now():
        raise Mistaken(404, f"day {day}: has not begun")
    return first, min(first + DAY_MS, site.now())  # there is no summer time


def _traced(site: Site, code: str, span: tuple[int, int]) -> day_store.TracedDay:
    """Raises Mistaken."""
    try:
        with site.store.read() as conn:
            return day_store.traced(conn, code, span, site.standards, site.now())
    except CenterError as error:
        raise Mistaken(404, str(error)) from None
    except StoreError as error:
        raise Mistaken(503, str(error)) from None


# ---------------------------------------------------------------- a reading


@dataclass(frozen=True)
class SignedReading:
    """A reading in the batch that brought it first. `public_key`: of the gateway, whose name is that key's hash."""

    seq: int
    raw: bytes
    batch: StoredBatch
    public_key: bytes
    times: int  # batches that have it

    @property
    def text(self) -> str:
        return self.raw.decode(errors="replace")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def signature(self) -> str:
        return base64.b64encode(self.batch.signature).decode()

    @property
    def is_signed(self) -> bool:
        """By the gateway that it names."""
        name = "g" + hashlib.sha256(self.public_key).hexdigest()[:16]
        return name == self.batch.device and is_signed(self.public_key, self.batch.body, self.batch.signature)

    def as_json(self) -> str:
        facts = {
            "device": self.batch.device, "spool": self.batch.spool, "first_seq": self.batch.first_seq,
            "last_seq": self.batch.last_seq, "received_ms": self.batch.received_ms,
            "public_key": base64.b64encode(self.public_key).decode(),
            "body": base64.b64encode(self.batch.body).decode(), "signature": self.signature,
        }  # fmt: skip
        return json.dumps(facts, indent=1) + "\n"


def _signed(site: Site, code: str, device: str, spool: str, seq: str) -> SignedReading:
    """Raises Mistaken."""
    number = int(seq) if seq.isascii() and seq.isdigit() and len(seq) < 16 else -1
    reading = None
    if DEVICE.fullmatch(device) and SPOOL.fullmatch(spool) and number >= 0:
        try:
            with site.store.read() as conn:
                reading = _held(conn, code, device, spool, number)
        except StoreError as error:
            raise Mistaken(503, str(error)) from None
    if reading is None:
        raise Mistaken(404, f"reading {device[:40]} {spool[:40]} {seq[:20]}: is not held of center {code}")
    return reading


def _held(conn: sa.Connection, code: str, device: str, spool: str, seq: int) -> SignedReading | None:
    batches = list(held.batches(conn, center=code, device=device, spool=spool, numbers=(seq, seq)))
    if not batches:
        return None
    first = next((one for one in batches if any(low <= seq <= high for low, high in json.loads(one.fresh))), batches[0])
    devices = schema.devices.c
    key = conn.scalar(sa.select(devices.public_key).where(devices.device == device))
    try:
        raw = bytes(wire.decode_frame(first.body).readings[seq - first.first_seq])
    except (wire.WireError, IndexError):  # somebody has changed it in the database: shown as it is now
        raw = first.body
    return SignedReading(seq, raw, first, bytes(key or b""), len(batches))


def _record(site: Site, code: str, test: str) -> str:
    """One line of JSON. Raises Mistaken."""
    with site.store.read() as conn:
        record = next(record_lines(conn, code, test), None) if TEST.fullmatch(test) else None
    if record is None:
        raise Mistaken(404, f"test {test[:40]}: no measurement server has signed it for center {code}")
    return json.dumps(record) + "\n"
