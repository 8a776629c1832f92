"""Where centers hang and which of them show signs now: what grouping is decided by. One look at the fleet is a few
indexed questions; it is made only when a flag is raised that no incident has yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.desk import tables, windows
from collector.desk.grouping import LEVELS, RULES, GroupingRules, Level, SignIndex, Sizes
from collector.desk.incident import Incident
from collector.desk.symptoms import CenterPlace, CenterSign
from collector.judging.flags.cause import Cause
from collector.judging.outages import gaps
from collector.judging.outages.wires import WireNames
from collector.register import calendar, opening_hours
from collector.register.centers import PAUSED
from collector.standard import Standards
from collector.standard.criteria import EVERYONE, Standard
from collector.store import schema

PLANNED: tuple[calendar.EntryKind, ...] = ("closure", "maintenance")
CHUNK = 500  # centers of one question
CAUSES = 100  # silent centers that are asked why at once
LOOK_BACK_MS = 1_800_000  # signs that began before are nobody's company any more
QUIET_BACK_MS = 3 * 3_600_000  # but for silence: one neighbour opens an hour or two after the other
CUT_BACK_MS = 12 * 3_600_000  # but for mains that are cut: so long do batteries hide it

_ce, _p, _c, _f, _l = schema.centers.c, schema.pulse.c, schema.cuts.c, schema.flags.c, schema.latest.c
_PLACES = sa.select(_ce.center, _ce.feeder, _ce.exchange, _ce.isp, _ce.city, _ce.district, _ce.province)

_T = TypeVar("_T")


@dataclass
class Survey:
    """The fleet as one transaction sees it; each part is asked for when it is first needed."""

    conn: sa.Connection
    standard: Standard | None
    now_ms: int
    gap_s: float = gaps.GAP_S

    def __post_init__(self) -> None:
        self._sizes: dict[tuple[str, str], int] = {}
        self._homes: dict[str, CenterPlace | None] = {}
        self._heard_of: dict[str, int | None] = {}
        self._cut_of: dict[str, int | None] = {}
        self._on_mains: dict[tuple[str, str], frozenset[str]] = {}
        self.names = WireNames(self.conn)

    def prepare(self, codes: Collection[str]) -> None:
        """Asks once for what is asked of each of these centers: thousands of them go dark in one transaction."""
        names = sorted(codes)
        for first in range(0, len(names), CHUNK):
            some = names[first : first + CHUNK]
            for known in (self._homes, self._heard_of, self._cut_of):
                known |= dict.fromkeys(some)
            homes = self.conn.execute(_PLACES.where(_ce.center.in_(some)))
            self._homes |= {row.center: _place(row, self.names) for row in homes}
            heard = self.conn.execute(sa.select(_p.center, _p.heard_ms).where(_p.center.in_(some)))
            self._heard_of |= {row.center: row.heard_ms for row in heard}
            going = _c.center.in_(some) & (_c.open == sa.true()) & _c.to_ms.is_(None)
            cuts = sa.select(_c.center, sa.func.min(_c.from_ms).label("from_ms")).where(going).group_by(_c.center)
            self._cut_of |= {row.center: row.from_ms for row in self.conn.execute(cuts)}

    def _prepared(self, known: Mapping[str, _T | None], code: str) -> _T | None:
        if code not in known:
            self.prepare([code])
        return known.get(code)

    @cached_property
    def places(self) -> dict[str, CenterPlace]:
        """Of the centers that show signs."""
        return self.places_of({sign.center for sign in self.signs})

    def places_of(self, centers: Collection[str]) -> dict[str, CenterPlace]:
        """Of those that are not paused."""
        codes = sorted(centers)
        places: dict[str, CenterPlace] = {}
        for first in range(0, len(codes), CHUNK):
            mine = _PLACES.where(_ce.center.in_(codes[first : first + CHUNK]), _ce.lifecycle.not_in(PAUSED))
            places |= {row.center: _place(row, self.names) for row in self.conn.execute(mine)}
        return places

    def sizes(self, place: CenterPlace) -> Sizes:
        """How many centers of each group of a center could show trouble: those that are heard, and those that were
        lately and are open. Who is closed and switched off, dark for days, or has no gateway yet, tells nothing."""
        return {(level.scope, key): self.size(level.scope, key) for level in LEVELS if (key := level.key(place))}

    def size(self, scope: str, key: str) -> int:
        if (scope, key) not in self._sizes:
            self._sizes[scope, key] = self._heard(scope, key) + self._lost[scope, key]
        return self._sizes[scope, key]

    def _heard(self, scope: str, key: str) -> int:
        mine = _of_group(scope, key, self.names) & _ce.lifecycle.not_in(PAUSED) & (_p.heard_ms > self._quiet_ms)
        query = sa.select(sa.func.count()).select_from(schema.centers.join(schema.pulse, _p.center == _ce.center))
        return int(self.conn.scalar(query.where(mine)) or 0)

    @cached_property
    def _lost(self) -> Counter[tuple[str, str]]:
        """How many of each group are not heard any more since lately."""
        homes = [self.places[code] for code in {sign.center for sign in self._quiet} if code in self.places]
        return Counter((level.scope, key) for home in homes for level in LEVELS if (key := level.key(home)))

    @cached_property
    def signs(self) -> list[CenterSign]:
        """Of centers that are open now."""
        return [*self._quiet, *self._cut(), *self._lines()]

    def place(self, code: str) -> CenterPlace | None:
        """Of one center, without asking for all."""
        return self._prepared(self._homes, code)

    def heard_ms(self, code: str) -> int | None:
        return self._prepared(self._heard_of, code)

    def cut_ms(self, code: str) -> int | None:
        """Since when a center's mains are cut, as far as it could tell."""
        return self._prepared(self._cut_of, code)

    def on_mains(self, level: Level, key: str) -> frozenset[str]:
        """Centers of a group whose UPS was read lately and told of no cut that goes on."""
        if (level.scope, key) not in self._on_mains:
            going = sa.select(_c.center).where(_c.open == sa.true(), _c.to_ms.is_(None))
            is_read = (_l.kind == "ups") & (_l.received_ms >= self.now_ms - LOOK_BACK_MS)
            query = sa.select(_l.center).distinct().join_from(schema.latest, schema.centers, _ce.center == _l.center)
            mine = is_read & _of_group(level.scope, key, self.names) & _ce.lifecycle.not_in(PAUSED)
            self._on_mains[level.scope, key] = frozenset(self.conn.scalars(query.where(mine, _l.center.not_in(going))))
        return self._on_mains[level.scope, key]

    @cached_property
    def index(self) -> SignIndex:
        """Of all signs."""
        return SignIndex(self.signs, self.places)

    def still_showing(self, codes: Sequence[str]) -> set[str]:
        """Those of these centers that are not heard, or whose mains are cut, since whenever."""
        going = (_c.open == sa.true()) & _c.to_ms.is_(None)
        quiet = _p.heard_ms <= self._quiet_ms
        centers: set[str] = set()
        for first in range(0, len(codes), CHUNK):
            some = list(codes[first : first + CHUNK])
            centers |= set(self.conn.scalars(sa.select(_c.center).where(_c.center.in_(some), going)))
            centers |= set(self.conn.scalars(sa.select(_p.center).where(_p.center.in_(some), quiet)))
        return centers

    @property
    def _quiet_ms(self) -> int:
        """Who was not heard since then is quiet."""
        return self.now_ms - int(self.gap_s * 1000)

    @cached_property
    def _quiet(self) -> list[CenterSign]:
        """Not heard, though open."""
        quiet = _p.heard_ms.between(self.now_ms - QUIET_BACK_MS, self._quiet_ms)
        query = sa.select(_p.center, _p.heard_ms, _ce.opening, *calendar.PLACED).join_from(
            schema.pulse, schema.centers, _p.center == _ce.center
        )
        tz, days = self.standard.tz if self.standard else TZ, calendar.around(self.conn, self.now_ms)
        return [
            CenterSign(row.center, "dark", row.heard_ms)
            for row in self.conn.execute(query.where(quiet))
            if opening_hours.is_open(opening_hours.parse(row.opening, tz, days.rules(row)), self.now_ms)
        ]

    def _cut(self) -> list[CenterSign]:
        going = (_c.open == sa.true()) & _c.to_ms.is_(None) & (_c.from_ms >= self.now_ms - CUT_BACK_MS)
        query = sa.select(_c.center, sa.func.min(_c.from_ms).label("from_ms")).where(going).group_by(_c.center)
        return [CenterSign(row.center, "power", row.from_ms) for row in self.conn.execute(query)]

    def _lines(self) -> list[CenterSign]:
        """Flags of the line that are raised or on their way."""
        criteria = [item.id for item in self.standard.by_reading.get("link", ())] if self.standard else []
        recent = (_f.state.in_(("pending", "raised"))) & (_f.since_ms >= self.now_ms - LOOK_BACK_MS)
        query = sa.select(_f.center, sa.func.min(_f.since_ms).label("since_ms")).where(
            recent, _f.criterion.in_(criteria)
        )
        rows = self.conn.execute(query.where(_f.center != EVERYONE).group_by(_f.center)) if criteria else ()
        return [CenterSign(row.center, "line", row.since_ms) for row in rows]


@dataclass
class Desk:
    """What one transaction knows, and the incidents it has touched."""

    conn: sa.Connection
    standards: Standards
    now_ms: int
    rules: GroupingRules = RULES
    touched: dict[int, Incident] = field(default_factory=dict)
    widened: set[int] = field(default_factory=set)  # groups that centers joined or left: counted once, at the end
    begun: set[int] = field(default_factory=set)  # incidents of this transaction whose cause is to be found
    left: dict[int, tuple[int, int]] = field(default_factory=dict)  # of those, when and by which change one left last

    def __post_init__(self) -> None:
        self.survey = Survey(self.conn, self.standards.at(self.now_ms), self.now_ms)
        self._groups: list[Incident] | None = None
        self._likely: dict[str, Cause | None] = {}
        self._to_ask: dict[str, None] = {}

    def prepare(self, codes: Sequence[str]) -> None:
        """These centers are about to be looked at, in this order."""
        self.survey.prepare(set(codes))
        self._to_ask = dict.fromkeys(codes)

    def likely(self, code: str) -> Cause | None:
        """Why a center is silent, as `gaps.likely` has it; asked for it and for some of those that follow, as they have
        the same neighbours."""
        if code not in self._likely:
            codes = [code, *islice((one for one in self._to_ask if one != code), CAUSES)]
            self._likely |= dict.fromkeys(codes) | gaps.likely_of(self.conn, codes, self.now_ms)
            self._to_ask = dict.fromkeys(one for one in self._to_ask if one not in self._likely)
        return self._likely[code]

    def planned_ms(self, codes: Collection[str]) -> tuple[int, int] | None:
        """Since when and until when the calendar has work or a closure at each of these centers, or windows mute it:
        evidence is kept, and nobody is called. None if there is one of them at which nothing is planned."""
        if not self.has_plans:
            return None
        plans = [self._planned_ms(place) for place in self.survey.places_of(codes).values()]
        known = [plan for plan in plans if plan is not None]
        if not known or len(known) < len(plans):
            return None
        return max(from_ms for from_ms, _ in known), min(until_ms for _, until_ms in known)

    def _planned_ms(self, place: CenterPlace) -> tuple[int, int] | None:
        """What ends last of it."""
        entries = self._closures.excusing(place, self.now_ms, self.now_ms + 1)
        plans = [(one.from_ms, one.to_ms) for one in entries if one.to_ms is not None]
        plans += windows.times_of(self.windows, place, "mute")
        return max(plans, key=lambda plan: plan[1], default=None)

    @cached_property
    def _closures(self) -> calendar.Calendar:
        return calendar.between(self.conn, self.now_ms, self.now_ms + 1, PLANNED)

    @cached_property
    def windows(self) -> list[tuple[windows.MaintenanceWindow, int]]:
        """Those that run now, each with its end."""
        return windows.holding(self.conn, self.now_ms)

    @property
    def has_plans(self) -> bool:
        return bool(self._closures.entries or any(one.mode != "run" for one, _ in self.windows))

    @cached_property
    def explained(self) -> frozenset[str]:
        """Centers whose signs have their reason."""
        places = self.survey.places.items() if self.has_plans else ()
        return frozenset(code for code, place in places if self.is_explained(place))

    def company(self, place: CenterPlace) -> list[SignIndex]:
        """Signs that may have a center's own cause, the likeliest first: where work is planned they have that reason,
        and are company of one another alone."""
        return self._companies if self.explained and self.is_explained(place) else self._companies[:1]

    @cached_property
    def _companies(self) -> list[SignIndex]:
        """Of those without a reason of their own, and of those that have one."""
        signs, places = self.survey.signs, self.survey.places
        parts = ([one for one in signs if (one.center in self.explained) is planned] for planned in (False, True))
        return [SignIndex(part, places) for part in parts]

    def is_explained(self, place: CenterPlace) -> bool:
        """Whether work is planned at a center, or a window skips it: then its trouble is nobody's company."""
        if not self.has_plans:
            return False
        return self._planned_ms(place) is not None or bool(windows.times_of(self.windows, place, "skip"))

    def is_skipped(self, code: str) -> bool:
        """Whether no incident is made of what happens at a center now."""
        place = self.survey.place(code) if any(one.mode == "skip" for one, _ in self.windows) else None
        return place is not None and bool(windows.times_of(self.windows, place, "skip"))

    def open_groups(self) -> list[Incident]:
        """Incidents of many centers that go on."""
        if self._groups is None:
            self._groups = tables.open_groups(self.conn)
        return self._groups

    def forget_groups(self) -> None:
        """They have changed."""
        self._groups = None

    def keep(self, incident: Incident) -> Incident:
        self.touched[incident.id] = incident
        return incident


def size_of(conn: sa.Connection, scope: str, key: str, names: WireNames) -> int:
    """How many centers a group has; none for what is no group."""
    query = sa.select(sa.func.count()).select_from(schema.centers)
    return int(conn.scalar(query.where(_of_group(scope, key, names), _ce.lifecycle.not_in(PAUSED))) or 0)


def _of_group(scope: str, key: str, names: WireNames) -> sa.ColumnElement[bool]:
    if scope in ("feeder", "exchange"):
        return names.on("feeder" if scope == "feeder" else "exchange", key)
    isp, _, city = key.rpartition(", ")
    groups = {
        "provider": (_ce.isp == isp) & (_ce.city == city), "district": _ce.district == key,
        "province": _ce.province == key, "country": sa.true(),
    }  # fmt: skip
    return groups.get(scope, sa.false())


def _place(row: Any, names: WireNames) -> CenterPlace:
    feeder, exchange = names.key("feeder", row.feeder, row.province), names.key("exchange", row.exchange, row.province)
    return CenterPlace(row.center, feeder, exchange, row.isp, row.city, row.district, row.province)


def by_center(signs: list[CenterSign]) -> Mapping[str, list[CenterSign]]:
    by_code: dict[str, list[CenterSign]] = {}
    for sign in signs:
        by_code.setdefault(sign.center, []).append(sign)
    return by_code
