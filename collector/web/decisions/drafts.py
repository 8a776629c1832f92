"""The page of drafts: what would be if another standard held. One is tried at a time, in processes of their own, while
the page tells how far it is; the last result stays until the next (table `draft_trials`), whichever process of pages is
asked, and after a restart."""

from __future__ import annotations

import secrets
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from agent.common.errors import describe
from agent.common.logs import Event
from collector.register.dated import today_ms
from collector.reports.audit.trial import processes
from collector.reports.audit.trial.draft import DraftQuestion, DraftTrial, Progress
from collector.standard import Standard, StandardError, read
from collector.store import Store, schema, upsert
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

FAILED = Event(__name__, "error", "draft_not_tried", "a draft of a standard cannot be tried", fields="error")
PATH = "/drafts"
DAY_MS = 86_400_000
MOST_DAYS = 366
MOST_BYTES = 262_144  # of a draft
SHOWN = 200  # centers that change; all are counted
MISTAKES = 20  # of a draft, that are shown
LEASE_MS = 120_000  # a run that said nothing for so long has ended with its process
EVERY_S = 1.0  # a run says how far it is
LAST = "last"  # the name of the one row

Run = Callable[[Progress], DraftTrial]

_t = schema.draft_trials.c


@dataclass(frozen=True, kw_only=True)
class DraftRun:
    """The row. `share` of the centers that are done; `trial` or `error` once it is over; neither: its process ended
    before."""

    holder: str
    draft: str
    standard: str
    days: int
    person: str
    began_ms: int
    until_ms: int
    share: float = 0.0
    took_ms: int | None = None
    error: str = ""
    trial: DraftTrial | None = None


def last_run(conn: sa.Connection) -> DraftRun | None:
    row = conn.execute(sa.select(schema.draft_trials)).one_or_none()
    if row is None:
        return None
    values = {name: value for name, value in row._mapping.items() if name not in ("name", "body")}
    try:
        trial = None if row.body is None else msgspec.json.decode(zlib.decompress(row.body), type=DraftTrial)
    except msgspec.DecodeError:  # of another program
        return None
    return DraftRun(**values, trial=trial)


def begin(conn: sa.Connection, run: DraftRun) -> bool:
    """Whether it has begun; it has not while another is being tried."""
    last = conn.execute(sa.select(_t.until_ms).with_for_update()).scalar_one_or_none()
    if last is not None and last > run.began_ms:
        return False
    names = [column.name for column in schema.draft_trials.c if column.name not in ("name", "body")]
    upsert(conn, schema.draft_trials, [{"name": LAST, "body": None} | {name: getattr(run, name) for name in names}])
    return conn.scalar(sa.select(_t.holder)) == run.holder


def record(store: Store, holder: str, **values: object) -> None:
    """Unless another run has begun since."""
    with store.write() as conn:
        conn.execute(sa.update(schema.draft_trials).where(_t.holder == holder).values(values))


def work(store: Store, run: DraftRun, trial: Run, now_ms: Callable[[], int]) -> None:
    """Tries it, and tells how far it is."""
    began_s = noted_s = time.monotonic()

    def progress(share: float) -> None:
        nonlocal noted_s
        if time.monotonic() - noted_s >= EVERY_S:
            noted_s = time.monotonic()
            record(store, run.holder, share=share, until_ms=now_ms() + LEASE_MS)

    try:
        body = zlib.compress(msgspec.json.encode(trial(progress)))
    except Exception as error:  # whatever it is, the page must not wait for ever
        FAILED.log(error=error)
        record(store, run.holder, error=describe(error), until_ms=0)
        return
    took_ms = round(1000 * (time.monotonic() - began_s))
    record(store, run.holder, body=body, took_ms=took_ms, share=1.0, until_ms=0)


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get(PATH)
    def shown(request: Request) -> Response:
        return _page(site, request)

    @routes.post(PATH)
    async def begun(request: Request) -> Response:
        async with forms.with_file(request, "draft") as (given, file):
            body = await file.read(MOST_BYTES + 1)
        return await run_in_threadpool(_begin, site, request, given, body)

    return routes


def _begin(site: Site, request: Request, given: dict[str, str], body: bytes) -> Response:
    held, now_ms = site.standards.at(site.now()), site.now()
    if held is None:
        return _page(site, request, ["standard: none holds now, so there is nothing to compare a draft with"])
    try:
        draft, days = _draft(body), _days(given.get("days", ""))
    except StandardError as error:
        return _page(site, request, error.mistakes[:MISTAKES])
    end_ms = today_ms(now_ms)
    question = DraftQuestion(held, draft, (end_ms - days * DAY_MS, end_ms))
    run = DraftRun(
        holder=secrets.token_hex(8), draft=draft.id, standard=held.id, days=days,
        person=auth.asker(request).account.name, began_ms=now_ms, until_ms=now_ms + LEASE_MS,
    )  # fmt: skip
    with site.store.write() as conn:
        if not begin(conn, run):
            raise Mistaken(409, "draft: another is being tried; wait until its result is here")
    trial = partial(processes.trial, partial(processes.at_url, _url(site)), question)
    threading.Thread(target=work, args=(site.store, run, trial, site.now), name="draft", daemon=True).start()
    return RedirectResponse(PATH, status_code=303)


def _draft(body: bytes) -> Standard:
    """Raises StandardError."""
    if len(body) > MOST_BYTES:
        raise StandardError([f"draft: is larger than {MOST_BYTES} bytes; a standard is a few kB of TOML"])
    return read(body, "draft")


def _days(text: str) -> int:
    """Raises StandardError."""
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST_DAYS):
        raise StandardError([f"days {text[:10]!r}: must be from 1 to {MOST_DAYS}"])
    return int(text)


def _url(site: Site) -> str:
    return site.store.url.render_as_string(hide_password=False)


def _page(site: Site, request: Request, mistakes: list[str] | None = None) -> Response:
    with site.store.read() as conn:
        run = last_run(conn)
    is_running = run is not None and run.until_ms > site.now()
    return View.of(site, request).page(
        "drafts.html", status=400 if mistakes else 200, run=run, is_running=is_running, mistakes=mistakes or [],
        most=MOST_DAYS, shown=SHOWN,
    )  # fmt: skip
