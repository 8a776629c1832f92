"""The page of drafts: what would be if another standard held. One is tried at a time, in processes of their own, while
the page tells how far it is; who reads it sees the last result until the next or until the collector restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from agent.common.errors import describe
from agent.common.logs import Event
from collector.register.dated import today_ms
from collector.reports.audit.trial import processes
from collector.reports.audit.trial.draft import DraftQuestion, DraftTrial, Progress
from collector.standard import Standard, StandardError, read
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

Run = Callable[[Progress], DraftTrial]


@dataclass
class DraftRun:
    """`share` of the centers that are done; `trial` or `error` once it is over."""

    draft: str
    standard: str
    days: int
    person: str
    began_s: float
    share: float = 0.0
    took_s: float = 0.0
    trial: DraftTrial | None = None
    error: str = ""

    @property
    def is_over(self) -> bool:
        return self.trial is not None or bool(self.error)

    def progress(self, share: float) -> None:
        self.share = share


class DraftDesk:
    """One run at a time, by a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.last: DraftRun | None = None

    def begin(self, run: DraftRun, work: Run) -> bool:
        """Whether it has begun; it has not while another is being tried."""
        with self._lock:
            if self.last is not None and not self.last.is_over:
                return False
            self.last = run
        threading.Thread(target=self._work, args=(run, work), name="draft", daemon=True).start()
        return True

    def _work(self, run: DraftRun, work: Run) -> None:
        try:
            trial = work(run.progress)
        except Exception as error:  # whatever it is, the page must not wait for ever
            FAILED.log(error=error)
            run.error = describe(error)
            return
        run.took_s, run.trial = time.monotonic() - run.began_s, trial


def router(site: Site) -> APIRouter:
    routes, desk = APIRouter(), DraftDesk()

    @routes.get(PATH)
    def shown(request: Request) -> Response:
        return _page(site, request, desk)

    @routes.post(PATH)
    async def begin(request: Request) -> Response:
        async with forms.with_file(request, "draft") as (given, file):
            body = await file.read(MOST_BYTES + 1)
        return await run_in_threadpool(_begin, site, request, desk, given, body)

    return routes


def _begin(site: Site, request: Request, desk: DraftDesk, given: dict[str, str], body: bytes) -> Response:
    held, now_ms = site.standards.at(site.now()), site.now()
    if held is None:
        return _page(site, request, desk, ["standard: none holds now, so there is nothing to compare a draft with"])
    try:
        draft, days = _draft(body), _days(given.get("days", ""))
    except StandardError as error:
        return _page(site, request, desk, error.mistakes[:MISTAKES])
    end_ms = today_ms(now_ms)
    question = DraftQuestion(held, draft, (end_ms - days * DAY_MS, end_ms))
    work = partial(processes.trial, partial(processes.at_url, _url(site)), question)
    run = DraftRun(draft.id, held.id, days, auth.asker(request).account.name, time.monotonic())
    if not desk.begin(run, work):
        raise Mistaken(409, "draft: another is being tried; wait until its result is here")
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


def _page(site: Site, request: Request, desk: DraftDesk, mistakes: list[str] | None = None) -> Response:
    return View.of(site, request).page(
        "drafts.html", status=400 if mistakes else 200, run=desk.last, mistakes=mistakes or [], most=MOST_DAYS,
        shown=SHOWN,
    )  # fmt: skip
