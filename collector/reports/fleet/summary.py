"""A month over all centers, from their closed reports: verdicts and minutes by district, province, provider or owner.

A center counts where its report has it: by the facts of that month. It is what its worst criterion is.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec
import sqlalchemy as sa

from agent.common.center_time import CENTER_TIME
from collector.common.scope import EVERYWHERE, Scope
from collector.reports.ledger import BUCKETS
from collector.reports.monthly_verdicts import NOT_ENOUGH
from collector.standard import Standard
from collector.standard.consequences import consequences_of, reached
from collector.standard.criteria import Consequence
from collector.store import queries, schema

Part = Literal["district", "province", "provider", "owner"]
PARTS: tuple[Part, ...] = get_args(Part)
VERDICTS: Mapping[str, str] = {"below": "below", "watch": "watch", NOT_ENOUGH: "not_enough_data", "meets": "meets"}
"""From the worst to the best, each with the name of its count."""
AT_ONCE = 500  # reports that are in memory

_r = schema.reports.c


# ---------------------------------------------------------------- what a report says


class BodyCenter(msgspec.Struct, frozen=True):
    code: str
    name: str
    owner: str = ""
    district: str = ""
    province: str = ""
    isp: str = ""


class BodyCriterion(msgspec.Struct, frozen=True):
    criterion: str
    verdict: str
    decided_by_data: bool = True


class BodyLine(msgspec.Struct, frozen=True):
    up: int = 0
    down: int = 0


class BodyPower(msgspec.Struct, frozen=True):
    mains: int = 0
    battery: int = 0
    off: int = 0


class BodyAvailability(msgspec.Struct, frozen=True):
    line: BodyLine = BodyLine()
    power: BodyPower = BodyPower()


class BodyMinutes(msgspec.Struct, frozen=True):
    measured: int = 0
    owed: int = 0


class ReportBody(msgspec.Struct, frozen=True):
    """Of a closed report what is added up."""

    center: BodyCenter
    ledger: dict[str, int]
    criteria: tuple[BodyCriterion, ...]
    availability: BodyAvailability = BodyAvailability()
    minutes: BodyMinutes = BodyMinutes()


_DECODER = msgspec.json.Decoder(ReportBody)


# ---------------------------------------------------------------- what is said over all


class SummedTime(msgspec.Struct, kw_only=True):
    """Minutes: open ones by bucket; those of readings, and those that there should be; the line up or down; power on
    mains, on battery, off."""

    open: int = 0
    covered: tuple[int, int] = (0, 0)
    minutes: dict[str, int] = {}
    line: tuple[int, int] = (0, 0)
    power: tuple[int, int, int] = (0, 0, 0)

    def add(self, body: ReportBody) -> None:
        self.open += body.ledger.get("open", 0)
        self.minutes = {name: self.minutes.get(name, 0) + body.ledger.get(name, 0) for name in BUCKETS}
        self.covered = self.covered[0] + body.minutes.measured, self.covered[1] + body.minutes.owed
        line, power = body.availability.line, body.availability.power
        self.line = self.line[0] + line.up, self.line[1] + line.down
        self.power = self.power[0] + power.mains, self.power[1] + power.battery, self.power[2] + power.off

    def row(self) -> dict[str, object]:
        """Shares in percent: minutes up of those that centers answer for, the line where it is known, power, too."""
        owed = self.open - self.minutes.get("excused", 0) - self.minutes.get("ours", 0)
        return {
            "open_minutes": self.open,
            **{f"{name}_minutes": self.minutes.get(name, 0) for name in BUCKETS},
            "coverage_pct": _pct(*self.covered),
            "up_pct": _pct(self.minutes.get("up", 0), owed),
            "line_pct": _pct(self.line[0], sum(self.line)),
            "power_pct": _pct(self.power[0] + self.power[1], sum(self.power)),
        }


class CenterMonth(msgspec.Struct, frozen=True, kw_only=True):
    """One closed report."""

    body: ReportBody
    revision: int
    sha256: str
    level: str = ""  # of the consequences; empty: none

    @property
    def verdict(self) -> str:
        return worst(one.verdict for one in self.body.criteria)

    def of(self, part: Part) -> str:
        return str(getattr(self.body.center, "isp" if part == "provider" else part))

    def row(self) -> dict[str, object]:
        time = SummedTime()
        time.add(self.body)
        below = sorted({one.criterion for one in self.body.criteria if one.verdict == "below"})
        return {
            "center": self.body.center.code, "name": self.body.center.name, **{part: self.of(part) for part in PARTS},
            "verdict": self.verdict, "below": " ".join(below), "level": self.level,
            "undecided": sum(not one.decided_by_data for one in self.body.criteria), **time.row(),
            "revision": self.revision, "sha256": self.sha256,
        }  # fmt: skip


class GroupMonth(msgspec.Struct, kw_only=True):
    """Centers of one district, province, provider or owner."""

    verdicts: Counter[str]
    criteria: dict[str, Counter[str]]
    levels: Counter[str]
    time: SummedTime
    revised: int = 0

    def add(self, center: CenterMonth) -> None:
        self.verdicts[center.verdict] += 1
        self.revised += center.revision > 1
        self.levels[center.level] += 1
        self.time.add(center.body)
        by_criterion = defaultdict(list)
        for one in center.body.criteria:
            by_criterion[one.criterion].append(one.verdict)
        for name, words in by_criterion.items():
            self.criteria.setdefault(name, Counter())[worst(words)] += 1

    def row(self, group: str) -> dict[str, object]:
        counts = {name: self.verdicts[word] for word, name in VERDICTS.items()}
        centers = {"centers": sum(self.verdicts.values())}
        return {"group": group, **centers, **counts, "revised": self.revised, **self.time.row()}

    def criterion_rows(self, group: str) -> Iterator[dict[str, object]]:
        for name, words in sorted(self.criteria.items()):
            yield {"group": group, "criterion": name, **{key: words[word] for word, key in VERDICTS.items()}}


class LevelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One level of the consequences: after how many months below of how many, and its name by language."""

    id: str
    months_below: int
    within_months: int
    name: Mapping[str, str]


class Consequences(msgspec.Struct, frozen=True, kw_only=True):
    """The levels of a standard, the mildest first; `is_example`: it brought none, and these bind nobody."""

    standard: str
    is_example: bool
    levels: tuple[LevelFacts, ...] = ()


class FleetMonth(msgspec.Struct, frozen=True, kw_only=True):
    """A month over all centers. `open`: reports that are not closed, and so in none of the rows; `total` is a row of
    groups over all; `levels`: how many centers of a group have reached each of the consequences."""

    month: str
    by: Part
    open: int
    total: dict[str, object]
    groups: list[dict[str, object]]
    criteria: list[dict[str, object]]
    consequences: Consequences
    levels: list[dict[str, object]]
    centers: list[dict[str, object]]


def worst(words: Iterable[str]) -> str:
    """Pure. Of verdicts; nothing was enough of none."""
    verdicts = set(words)
    return next((word for word in VERDICTS if word in verdicts), NOT_ENOUGH)


def summed(
    month: str, by: Part, centers: Iterable[CenterMonth], open_count: int, consequences: Consequences
) -> FleetMonth:
    """Pure. In the order of the groups' names; `centers` come in the order in which they are listed."""
    groups: dict[str, GroupMonth] = defaultdict(_no_centers)
    total, rows = _no_centers(), []
    for center in centers:
        groups[center.of(by)].add(center)
        total.add(center)
        rows.append(center.row())
    ordered = sorted(groups.items())
    return FleetMonth(
        month=month, by=by, open=open_count, total=total.row(""), centers=rows,
        groups=[group.row(name) for name, group in ordered],
        criteria=[row for name, group in ordered for row in group.criterion_rows(name)],
        consequences=consequences,
        levels=[
            {"group": name, "level": level.id, "centers": group.levels[level.id]}
            for name, group in ordered for level in consequences.levels if group.levels[level.id]
        ],
    )  # fmt: skip


def _no_centers() -> GroupMonth:
    return GroupMonth(verdicts=Counter(), criteria={}, levels=Counter(), time=SummedTime())


def facts_of(standard: Standard | None) -> Consequences:
    """Pure. What a report says of a standard's consequences."""
    if standard is None:
        return Consequences(standard="", is_example=False)
    levels = (
        LevelFacts(id=one.id, months_below=one.months_below, within_months=one.within_months, name=one.name.texts)
        for one in consequences_of(standard)
    )
    return Consequences(standard=standard.id, is_example=not standard.consequences, levels=tuple(levels))


def _pct(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


# ---------------------------------------------------------------- read


def of_month(
    conn: sa.Connection, month: str, from_ms: int, by: Part, scope: Scope = EVERYWHERE,
    standard: Standard | None = None,
    taken: Callable[[Iterable[CenterMonth], int], Iterable[CenterMonth]] = lambda reports, _total: reports,
) -> FleetMonth:  # fmt: skip
    """The closed reports of a month within a scope. By `standard`, the one that held at the month's end, is said which
    consequences were reached; `taken` sees each report go by, and how many there are."""
    begun = sa.select(sa.func.count(sa.distinct(_r.center))).where(_r.from_ms == from_ms)
    mine = _within(scope)
    keys = [(str(row.center), int(row.number)) for row in conn.execute(_newest(_r.from_ms == from_ms).where(mine))]
    count = conn.scalar(begun.where(mine)) or 0
    known = consequences_of(standard) if standard else ()
    reports = taken(_read(conn, from_ms, keys, known), len(keys))
    return summed(month, by, reports, count - len(keys), facts_of(standard))


def level_of(conn: sa.Connection, center: str, from_ms: int, standard: Standard) -> Consequence | None:
    """What a center's closed month brings it to."""
    known = consequences_of(standard)
    return reached(_below(conn, [center], from_ms, known).get(center, ()), known)


def _within(scope: Scope) -> sa.ColumnElement[bool]:
    known = sa.select(schema.centers.c.center).where(*queries.within(schema.centers, scope))
    return _r.center.in_(known)


def _newest(of: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """(center, newest closed revision) of each month, in the order of the centers."""
    closed = sa.select(_r.center, sa.func.max(_r.revision).label("number"), _r.from_ms)
    return closed.where(of, _r.closed_ms.is_not(None)).group_by(_r.center, _r.from_ms).order_by(_r.center)


def _read(
    conn: sa.Connection, from_ms: int, keys: list[tuple[str, int]], known: Sequence[Consequence]
) -> Iterator[CenterMonth]:
    query = sa.select(_r.center, _r.revision, _r.sha256, _r.body).where(_r.from_ms == from_ms)
    for first in range(0, len(keys), AT_ONCE):
        some = dict(keys[first : first + AT_ONCE])
        rows = conn.execute(query.where(_r.center.in_(some), _r.body.is_not(None)).order_by(_r.center))
        months = [
            CenterMonth(body=_decoded(row.body), revision=row.revision, sha256=row.sha256)
            for row in rows if row.revision == some[row.center]
        ]  # fmt: skip
        below = [one.body.center.code for one in months if one.verdict == "below"] if known else []
        levels = {center: reached(past, known) for center, past in _below(conn, below, from_ms, known).items()}
        for one in months:
            level = levels.get(one.body.center.code)
            yield msgspec.structs.replace(one, level=level.id) if level else one


def _below(
    conn: sa.Connection, centers: Sequence[str], from_ms: int, known: Sequence[Consequence]
) -> Mapping[str, list[bool]]:
    """Whether each month was below, the newest first, as far back as the levels look."""
    longest = max((one.within_months for one in known), default=0)
    if not centers or not longest:
        return {}
    begins = [_months_before(from_ms, number) for number in range(longest)]
    newest = _newest(_r.center.in_(centers) & _r.from_ms.in_(begins)).subquery()
    mine = (newest.c.center == _r.center) & (newest.c.from_ms == _r.from_ms) & (newest.c.number == _r.revision)
    verdicts = defaultdict[str, dict[int, bool]](dict)
    query = sa.select(_r.center, _r.from_ms, _r.body).select_from(schema.reports.join(newest, mine))
    for row in conn.execute(query.where(_r.body.is_not(None))):
        verdicts[row.center][row.from_ms] = worst(one.verdict for one in _decoded(row.body).criteria) == "below"
    return {center: [months.get(begin, False) for begin in begins] for center, months in verdicts.items()}


def _months_before(from_ms: int, number: int) -> int:
    """When the month so many before begins, of one that begins then."""
    local = datetime.fromtimestamp(from_ms / 1000, CENTER_TIME)
    years, month = divmod(local.year * 12 + local.month - 1 - number, 12)
    return int(local.replace(year=years, month=month + 1).timestamp() * 1000)


def _decoded(body: bytes) -> ReportBody:
    return _DECODER.decode(zlib.decompress(bytes(body)))
