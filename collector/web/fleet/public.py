"""The public page: how the centers of each district do and how that is measured, and a badge for each center.

No person's data, no center's figures. Served only where `[web] public_page` says so; all are answered from one look a
minute."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Request
from markupsafe import escape
from starlette.responses import Response

from agent.common.words import PlainWords
from collector.register.centers import CODE
from collector.store import center_states
from collector.store.queries import STATES, Filter
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

LASTS_MS = 60_000
KEPT = {"cache-control": "public, max-age=60"}
COLOURS = {"meets": "#1a7f4b", "closed": "#5b6675", "watch": "#8a5a00", "below": "#b3261e", "silent": "#b3261e"}
GREY = "#5b6675"
SVG = "image/svg+xml"
STEP_PX, PAD_PX = 7, 10  # of a badge's letters, which are as wide as that at most


@dataclass
class District:
    """How many of its centers are in each state."""

    province: str
    district: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))

    @property
    def centers(self) -> int:
        return sum(self.counts.values()) - self.counts["paused"]


@dataclass(frozen=True)
class Picture:
    """What the public sees, as of a moment."""

    at_ms: int
    districts: list[District]
    states: Mapping[str, str]  # by center


def picture(site: Site) -> Picture:
    """Every center's state now, by district, in the order of their names."""
    with site.store.read() as conn:
        rows = center_states.public(conn, site.ranks(conn), Filter())
    found: dict[tuple[str, str], District] = {}
    for _, state, province, district in rows:
        found.setdefault((province, district), District(province, district)).counts[state] += 1
    districts = [own for _, own in sorted(found.items()) if own.centers]
    return Picture(site.now(), districts, {code: state for code, state, *_ in rows})


class Pictures:
    """The newest picture, taken at most once a minute however many ask."""

    def __init__(self, site: Site) -> None:
        self._site, self._lock = site, threading.Lock()
        self._held: Picture | None = None

    def get(self) -> Picture:
        """Raises Mistaken (404) where the page is not public."""
        if not self._site.is_public:
            raise Mistaken(404, "path: is not served here; [web] public_page is off")
        with self._lock:
            if self._held is None or not 0 <= self._site.now() - self._held.at_ms < LASTS_MS:
                self._held = picture(self._site)
            return self._held


def router(site: Site) -> APIRouter:
    routes, pictures = APIRouter(), Pictures(site)

    @routes.get("/public")
    def page(request: Request) -> Response:
        shown = pictures.get()
        standard = site.standards.at(site.now())
        answer = View.of(site, request).page("public.html", shown=shown, standard=standard)
        answer.headers.update(KEPT)
        return answer

    @routes.get("/public/badge/{code}.svg")
    def badge(request: Request, code: str) -> Response:
        state = pictures.get().states.get(code) if CODE.fullmatch(code) else None
        if state is None:
            raise Mistaken(404, f"center {code[:40]!r}: is not registered")
        words = PlainWords(View.of(site, request).words.catalogue)
        return Response(svg(code, words(f"state.{state}"), state), media_type=SVG, headers=KEPT)

    return routes


def svg(code: str, word: str, state: str) -> str:
    """A badge: the code on grey, the state in a word on its colour."""
    left, right = (PAD_PX * 2 + STEP_PX * len(text) for text in (code, word))
    text = 'y="14" fill="#fff" text-anchor="middle" font-family="system-ui,sans-serif" font-size="11"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{escape(code)}: {escape(word)}"><title>{escape(code)}: {escape(word)}</title>'
        f'<rect width="{left + right}" height="20" rx="4" fill="#1c2430"/>'
        f'<path d="M{left} 0h{right - 4}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-{right - 4}z" '
        f'fill="{COLOURS.get(state, GREY)}"/>'
        f'<text x="{left / 2:g}" {text}>{escape(code)}</text>'
        f'<text x="{left + right / 2:g}" {text}>{escape(word)}</text></svg>'
    )
