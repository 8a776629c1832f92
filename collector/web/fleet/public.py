"""The public page: how the centers of each district do now and did in closed months, how that is measured, and a badge
for each center.

No person's data, no center's figures. Served only where `[web] public_page` says so; all are answered from one look a
minute."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from markupsafe import escape
from starlette.responses import Response

from agent.common.words import PlainWords
from collector.common.scope import EVERYWHERE
from collector.register.centers import CODE
from collector.reports.fleet import summary
from collector.store import center_states
from collector.store.queries import STATES, Filter
from collector.web.errors import Mistaken
from collector.web.fleet.monthly import months_of
from collector.web.site import Site
from collector.web.view import View

LASTS_MS, MONTH_LASTS_MS = 60_000, 3_600_000  # a month's closed reports are read anew once an hour at most
MONTHS = 12  # that are offered
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

    @property
    def shares(self) -> dict[str, int]:
        """Centers by what is said of them in public: closed ones meet, those that wait are not judged."""
        own = self.counts
        meets, unknown = own["meets"] + own["closed"], own["unknown"] + own["waiting"]
        return {"meets": meets, "watch": own["watch"], "below": own["below"], "silent": own["silent"],
                "unknown": unknown}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """What the public sees, as of a moment."""

    at_ms: int
    districts: list[District]
    states: Mapping[str, str]  # by center
    months: Mapping[str, int]  # those whose reports are all closed, the newest first, with when each begins


@dataclass(frozen=True)
class DistrictMonth:
    """A district's closed reports of a month: centers by verdict, percent of time up."""

    province: str
    district: str
    shares: Mapping[str, int]
    up_pct: float | None

    @classmethod
    def of(cls, row: Mapping[str, Any], province: str) -> DistrictMonth:
        """Of a row of groups of the month's summary."""
        shares = {"meets": row["meets"], "watch": row["watch"], "below": row["below"],
                  "unknown": row["not_enough_data"]}  # fmt: skip
        return cls(province, row["group"], shares, row["up_pct"])


@dataclass(frozen=True)
class PublicMonth:
    """A closed month, as of a moment."""

    at_ms: int
    month: str
    districts: list[DistrictMonth]


def picture(site: Site) -> Picture:
    """Every center's state now, by district, in the order of their names."""
    with site.store.read() as conn:
        rows = center_states.public(conn, site.ranks(conn), Filter())
        closed = [row.from_ms for row in months_of(conn, EVERYWHERE) if not row.open][:MONTHS]
    by_district: dict[tuple[str, str], District] = {}
    for _, state, province, district in rows:
        by_district.setdefault((province, district), District(province, district)).counts[state] += 1
    districts = [own for _, own in sorted(by_district.items()) if own.centers]
    months = {f"{datetime.fromtimestamp(from_ms / 1000, site.zone):%Y-%m}": from_ms for from_ms in closed}
    return Picture(site.now(), districts, {code: state for code, state, *_ in rows}, months)


def public_month(site: Site, month: str, from_ms: int) -> PublicMonth:
    """A closed month, in the order of provinces and districts."""
    with site.store.read() as conn:
        fleet = summary.of_month(conn, month, from_ms, "district")
    provinces = {str(row["district"]): str(row["province"]) for row in fleet.centers}
    rows = [DistrictMonth.of(row, provinces[str(row["group"])]) for row in fleet.groups]
    return PublicMonth(site.now(), month, sorted(rows, key=lambda row: (row.province, row.district)))


class Pictures:
    """The newest picture, taken at most once a minute however many ask."""

    def __init__(self, site: Site) -> None:
        self._site, self._lock = site, threading.Lock()
        self._held: Picture | None = None
        self._months: dict[str, PublicMonth] = {}

    def get(self) -> Picture:
        """Raises Mistaken (404) where the page is not public."""
        if not self._site.is_public:
            raise Mistaken(404, "path: is not served here; [web] public_page is off")
        with self._lock:
            if self._held is None or not 0 <= self._site.now() - self._held.at_ms < LASTS_MS:
                self._held = picture(self._site)
            return self._held

    def month(self, month: str) -> PublicMonth | None:
        """Of the months that are closed; None of any other."""
        from_ms = self.get().months.get(month)
        if from_ms is None:
            return None
        with self._lock:
            held = self._months.get(month)
            if held is None or not 0 <= self._site.now() - held.at_ms < MONTH_LASTS_MS:
                held = self._months[month] = public_month(self._site, month, from_ms)
            return held


def router(site: Site) -> APIRouter:
    routes, pictures = APIRouter(), Pictures(site)

    @routes.get("/public")
    def page(request: Request, month: str = "") -> Response:
        shown, standard = pictures.get(), site.standards.at(site.now())
        answer = View.of(site, request).page(
            "public.html", shown=shown, standard=standard, past=pictures.month(month), bars=bars
        )
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


def bars(counts: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """(state, where its part of a bar begins, how wide it is), in centers."""
    begins = 0
    for state, width in counts.items():
        yield state, begins, width
        begins += width


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
