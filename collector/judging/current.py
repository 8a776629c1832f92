"""How a center stands now, for pages and the API: its newest readings, and what each criterion says of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason
from collector.judging import server_check
from collector.judging.evaluate import CenterLike, load
from collector.judging.flags.judge import Verdict, bound_of, judge
from collector.judging.flags.machine import FlagState
from collector.judging.flags.witness import Witness
from collector.register import calendar, opening_hours
from collector.standard import Standards
from collector.standard.criteria import Criterion, Silence, Standard
from collector.store import center_states, schema
from collector.store.queries import Ranks

SEVERITIES = ("notice", "info", "warning", "serious", "urgent")
SHOWN = 64  # subjects of a kind that a page or an answer has


def ranks_of(standard: Standard | None) -> Ranks:
    """How the criteria of a standard weigh against each other."""
    criteria = standard.criteria if standard else ()
    return Ranks(
        severity={item.id: SEVERITIES.index(item.severity) for item in criteria},
        silence=tuple(item.id for item in criteria if item.reading == "silence"),
        required=tuple(item.id for item in criteria if item.reading != "silence" and item.severity != "notice"),
        notices=standard.notices if standard else (),
    )


def ranks_now(conn: sa.Connection, standards: Standards, now_ms: int) -> Ranks:
    """How criteria weigh now, and which opening hours are closed."""
    days = calendar.around(conn, now_ms).common
    closed = {
        text: opens_ms
        for text in center_states.openings(conn)
        if (opens_ms := opening_hours.next_opening(opening_hours.parse(text, rules=days), now_ms)) != now_ms
    }
    return replace(ranks_of(standards.at(now_ms)), closed=closed)


@dataclass(frozen=True, slots=True)
class LatestReading:
    """The newest reading of a kind and subject, decoded; `body` is its JSON."""

    subject: str
    wall_ms: int
    body: str
    reading: wire.Reading


def latest_readings(conn: sa.Connection, code: str, limit: int = SHOWN) -> dict[str, list[LatestReading]]:
    """A center's newest readings by kind, in the order of their subjects; of a kind with very many the newest."""
    table = schema.latest.c
    rank = sa.func.row_number().over(partition_by=table.kind, order_by=(table.wall_ms.desc(), table.subject))
    held = sa.select(table.kind, table.subject, table.wall_ms, table.body, rank.label("rank"))
    newest = held.where(table.center == code).subquery()
    query = sa.select(newest).where(newest.c.rank <= limit).order_by(newest.c.kind, newest.c.subject)
    rows = conn.execute(query).all()
    kinds = itertools.groupby(rows, key=lambda row: str(row.kind))
    return {
        kind: [LatestReading(r.subject, r.wall_ms, r.body, wire.decode_reading(r.body.encode())) for r in rows]
        for kind, rows in kinds
    }


@dataclass(frozen=True, slots=True)
class Current:
    """How a center stands on one criterion now. `at_ms` is the time of the reading, None without one; `flag` is None
    while nothing has been judged."""

    criterion: Criterion
    subject: str
    verdict: Verdict
    at_ms: int | None
    flag: FlagState | None


def current_verdicts(
    conn: sa.Connection,
    center: CenterLike,
    latest: Mapping[str, Sequence[LatestReading]],
    standards: Standards,
    now_ms: int,
) -> list[Current]:
    """Every criterion of the standard that holds now, with its verdict or the reason why there is none. `latest` is
    what `latest_readings` found."""
    standard = standards.at(now_ms)
    if standard is None:
        return []
    newest: dict[str, _Newest] = {
        kind: [(item.subject, item.wall_ms, item.reading) for item in items] for kind, items in latest.items()
    }
    newest["silence"] = _silence(conn, center, standard, now_ms)
    subjects = {subject for items in newest.values() for subject, *_ in items} | {""}
    flags = load(conn, [center], subjects)[0].flags
    rows = []
    for criterion in standard.criteria:
        for subject, at_ms, reading in newest.get(criterion.reading) or [("", None, None)]:
            asks = criterion.evidence == "witnessed" and at_ms is not None
            witness = server_check.of_latest(conn, center.code, subject, at_ms or 0, now_ms) if asks else None
            verdict = _now(criterion, center, standard, (reading, witness), at_ms, now_ms)
            held = flags.get((criterion.id, subject))
            rows.append(Current(criterion, subject, verdict, at_ms, held.flag if held else None))
    return rows


_Newest = list[tuple[str, int | None, object]]


def _silence(conn: sa.Connection, center: CenterLike, standard: Standard, now_ms: int) -> _Newest:
    heard_ms = conn.scalar(sa.select(schema.pulse.c.heard_ms).where(schema.pulse.c.center == center.code))
    if heard_ms is None:
        return []
    silent_ms = opening_hours.open_ms(opening_hours.parse(center.opening, standard.tz, center.rules), heard_ms, now_ms)
    return [("", now_ms, Silence(silent_ms / 1000))]


def _now(
    criterion: Criterion,
    center: CenterLike,
    standard: Standard,
    pair: tuple[object, Witness | None],
    at_ms: int | None,
    now_ms: int,
) -> Verdict:
    if at_ms is None:
        return Verdict("unknown", Reason("verdict.no_reading"), bound=bound_of(criterion, center))
    if now_ms - at_ms > criterion.fresh_s * 1000:
        reason = Reason.of("verdict.old", age_s=(now_ms - at_ms) // 60_000 * 60, fresh_s=criterion.fresh_s)
        return Verdict("unknown", reason, bound=bound_of(criterion, center))
    verdict = judge(criterion, pair[0], center, pair[1])
    if verdict.word == "unknown":
        return verdict
    if criterion.when == "open_hours" and not opening_hours.is_open(
        opening_hours.parse(center.opening, standard.tz, center.rules), now_ms
    ):
        return replace(verdict, reason=Reason.of("verdict.closed_now", found=verdict.reason))
    return verdict
