"""Months are reported: each center's, some days after its end, and again when it has been changed by what came late.

First a row says that the month is due, then, when transactions that began before are over, the report is made from the
readings and kept in the row. What comes meanwhile is told to the row, and then the report is made anew.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.logs import Event
from collector.common import months
from collector.judging import reopening
from collector.judging.reopening import CLOSE_MS, SETTLE_MS, Why
from collector.log import inclusion
from collector.log.notes import NoteKey
from collector.register import centers, facts
from collector.register.centers import Center
from collector.register.dated import DatedCenter, histories, with_past
from collector.reports import revisions
from collector.reports.day_sheets import DaySheet, uncollected
from collector.reports.monthly import ReportError, build, build_some, period
from collector.reports.revisions import Revision
from collector.standard import Standards
from collector.store import Store, schema, upsert
from collector.store.jobs.shards import WHOLE, Shard
from collector.store.journal import leaves
from collector.store.months import raw_from

NOT_MADE = Event(
    __name__, "error", "reports_failed", "reports of a month cannot be made; it is tried again in an hour", key="month",
    fields="error",
)  # fmt: skip

AT_ONCE = 16  # centers whose reports are made in one pass over the month
AROUND = ("revision", "proof", "adoption")  # parts that come to a report after it was closed
REPORTED = "reported_until_ms"  # in `about`: months before have their rows
LATER_MS = 3_600_000  # a report that cannot be made is tried again then

_r = schema.reports.c


@dataclass(frozen=True)
class DueRevision:
    """A revision to be made. `marks` tells whether more has come since it was read."""

    center: str
    from_ms: int
    number: int
    marks: int


def begin(store: Store, standards: Standards, now_ms: int) -> int:
    """Rows for the months that are over; returns how many months."""
    begun = 0
    with store.keep() as conn:
        if (month := _next_month(conn)) is None:
            return 0
        while (to_ms := months.month_after(month)) + CLOSE_MS <= now_ms:
            if standards.at(to_ms - 1) is not None:  # else there is nothing to hold a month against
                _begin_month(conn, month, to_ms, now_ms)
            month, begun = to_ms, begun + 1
        upsert(conn, schema.about, [{"name": REPORTED, "value": str(month)}])
    return begun


def _next_month(conn: sa.Connection) -> int | None:
    """The first month without rows; None while nobody is enrolled. Of months whose readings have been let go before
    they were reported nothing can be told."""
    until_ms = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == REPORTED))
    if until_ms is not None:
        return int(until_ms)
    first_ms = conn.scalar(sa.select(sa.func.min(schema.devices.c.enrolled_ms)))
    if first_ms is None:
        return None
    gone_ms = raw_from(conn)
    whole_ms = months.month_after(months.month_of(gone_ms - 1)) if gone_ms else 0
    return max(months.month_of(first_ms), whole_ms)


def _begin_month(conn: sa.Connection, from_ms: int, to_ms: int, now_ms: int) -> None:
    d, c = schema.devices.c, schema.centers.c
    values = [from_ms, 1, now_ms, reopening.text_of(Why()), 0, now_ms + SETTLE_MS]
    names = ["center", "from_ms", "revision", "opened_ms", "why", "marks", "look_ms"]
    chosen = sa.select(d.center, *(sa.literal(value) for value in values)).distinct()
    known = chosen.join_from(schema.devices, schema.centers, d.center == c.center).where(d.enrolled_ms < to_ms)
    conn.execute(sa.insert(schema.reports).from_select(names, known))


def reported_until(conn: sa.Connection) -> int:
    """From here on readings are needed: a month is not reported yet, or is being revised."""
    until_ms = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == REPORTED))
    open_ms = conn.scalar(sa.select(sa.func.min(_r.from_ms)).where(_r.closed_ms.is_(None)))
    return min(int(item) for item in (until_ms, open_ms, 2**53) if item is not None)


# ---------------------------------------------------------------- making them


Supersede = Callable[[sa.Connection, str, int, int, int], object]  # center, month, revision, now


def finish(
    store: Store, standards: Standards, now_ms: int, most: int = AT_ONCE, shard: Shard = WHOLE,
    supersede: Supersede = lambda *_: None,
) -> int:  # fmt: skip
    """Makes some of the reports that are due, of one month; returns how many it looked at. `supersede` is called in the
    transaction that closes another revision than the first."""
    with store.read() as conn, uncollected():
        due = _due(conn, now_ms, most, shard)
        made = _made(conn, due, standards, now_ms) if due else {}
    for item in due:
        with store.keep() as conn:
            is_closed = _settle(conn, item, made.get(item.center), now_ms)
            if is_closed and item.number > 1:
                supersede(conn, item.center, item.from_ms, item.number, now_ms)
    return len(due)


def _due(conn: sa.Connection, now_ms: int, most: int, shard: Shard) -> list[DueRevision]:
    query = sa.select(_r.center, _r.from_ms, _r.revision, _r.marks).where(_r.look_ms <= now_ms, *shard.mine(_r.center))
    rows = [DueRevision(*row) for row in conn.execute(query.order_by(_r.from_ms, _r.center).limit(most))]
    return [row for row in rows if row.from_ms == rows[0].from_ms]


def _made(
    conn: sa.Connection, due: Sequence[DueRevision], standards: Standards, now_ms: int
) -> dict[str, dict[str, Any]]:
    """The reports of one month by center; what cannot be made is missing."""
    month_ms = due[0].from_ms
    if month_ms < raw_from(conn):
        return {}
    registered = centers.some_centers(conn, [item.center for item in due])
    judged = [as_reported(conn, center, month_ms) for center in registered.values()]
    try:
        return build_some(conn, judged, months.named(month_ms), standards, now_ms, anew=False)
    except ReportError as error:
        NOT_MADE.log(month=months.named(month_ms), error=error)
        return {}


def as_reported(conn: sa.Connection, center: Center, from_ms: int) -> DatedCenter:
    """A center as it was in the month. Of before there were facts the first report knows better than the register what
    it was then: of that time the register has only what it was later."""
    dated = histories(conn, [center])[center.code]
    first = conn.execute(
        sa.select(_r.body, _r.closed_ms).where(_r.center == center.code, _r.from_ms == from_ms, _r.revision == 1)
    ).one_or_none()
    if first is None or first.body is None:
        return dated
    then = revisions.unpacked(first.body)["center"]
    own = facts.facts_of(conn, [center.code])[center.code]
    end_ms = months.month_after(from_ms)
    known = (fact for fact in own if fact.is_known() and fact.from_ms < end_ms)
    stated = {fact.name for fact in known if fact.source != "migrated" or fact.recorded_ms <= first.closed_ms}
    kept = {name: value for name, value in then.items() if name not in ("code", *stated)}
    past = tuple((at_ms, {**values, **kept}) for at_ms, values in dated.past)
    return with_past(replace(center, **kept), past)


def _settle(conn: sa.Connection, due: DueRevision, report: Mapping[str, Any] | None, now_ms: int) -> bool:
    """Closes the revision, unless more has come since the report was made; returns whether. One that says the same as
    the one before is none."""
    mine = (_r.center == due.center) & (_r.from_ms == due.from_ms) & (_r.revision == due.number)
    mine &= (_r.marks == due.marks) & _r.closed_ms.is_(None)
    old = revisions.report_of(conn, due.center, due.from_ms, due.number - 1) if due.number > 1 else None
    if report is None and (old is None or due.from_ms >= raw_from(conn)):
        conn.execute(sa.update(schema.reports).where(mine).values(look_ms=now_ms + LATER_MS))
        return False
    if report is not None and old is not None and operator.eq(*revisions.of_one_form(old, report)):
        conn.execute(sa.delete(schema.reports).where(mine))
        return False
    new = report if report is not None else old
    assert new is not None
    changed = {"readings_gone": True} if report is None else revisions.differences(old, report) if old else {}
    values = {
        "look_ms": None,
        "closed_ms": now_ms,
        "changed": msgspec.json.encode(changed).decode(),
        "sha256": sha256_of(new),
        "body": revisions.packed(new),
    }
    if not conn.execute(sa.update(schema.reports).where(mine).values(values)).rowcount:
        return False
    month, digest = months.named(due.from_ms), values["sha256"]
    name = f"{month} {due.number}"
    leaves.add(conn, "report", due.center, name, now_ms, month=month, revision=due.number, sha256=digest)
    return True


def sha256_of(report: Mapping[str, Any]) -> str:
    """Of the report's JSON without spaces, its revision and proof left out."""
    own = {name: part for name, part in report.items() if name not in AROUND}
    return hashlib.sha256(msgspec.json.encode({**own, "revision": None})).hexdigest()


def unproven(report: Mapping[str, Any], key: NoteKey | None) -> Iterator[str]:
    """Pure. Why a report, as `told` gave it and whoever kept it since, is not the one in the log that `key` signs."""
    try:
        proof = msgspec.convert(report["proof"], inclusion.InclusionProof)
        stated = {"center": report["center"]["code"], "month": report["month"], "sha256": sha256_of(report)}
    except (KeyError, TypeError, ValueError):  # msgspec.ValidationError is a ValueError
        yield "report: carries no proof that it is in the transparency log"
        return
    yield from inclusion.wrong(proof, key)
    for name, value in {"kind": "report", **stated}.items():
        if proof.facts.get(name) != value:
            yield f"report: its {name} is {value}, the leaf in the log says {proof.facts.get(name)!s:.80}"


# ---------------------------------------------------------------- what people are shown


def told(conn: sa.Connection, code: str, month: str, standards: Standards, now_ms: int) -> dict[str, Any]:
    """A center's month as it was reported, or as the readings tell it while no report stands; `revision` says which.
    `adoption` says how far the two persons are who adopt its standard. Of what is in the transparency log `proof` is
    the proof.

    Raises ReportError, centers.CenterError.
    """
    center = centers.get(conn, code)
    span = period(month, TZ, now_ms)
    known = revisions.revisions_of(conn, center.code, span.from_ms)
    closed = [entry for entry in known if entry.closed_ms is not None]
    if closed and (closed[-1] is known[-1] or span.from_ms < raw_from(conn)):
        report = revisions.report_of(conn, center.code, span.from_ms, closed[-1].number)
    else:
        report = _plain(build(conn, as_reported(conn, center, span.from_ms), month, standards, now_ms, anew=False))
    changed = _changed(conn, center.code, span.from_ms, known, report)
    given = revisions.recipients_of(conn, center.code, span.from_ms)
    number = next((entry.number for entry in reversed(closed) if entry.sha256 == sha256_of(report)), None)
    proof = inclusion.proof_of(conn, "report", center.code, f"{month} {number}") if number is not None else None
    adopted = adoption_of(conn, str(report.get("standard", {}).get("sha256", "")))
    whole = {**report, "revision": _revision(known, changed, given), "adoption": adopted}
    return whole if proof is None else {**whole, "proof": msgspec.to_builtins(proof)}


def adoption_of(conn: sa.Connection, digest: str) -> dict[str, Any]:
    """How far the version of the standard with that document is adopted (collector.acts.adoption)."""
    a = schema.adoptions.c
    row = conn.execute(sa.select(a.adopted_ms).where(a.digest == digest)).one_or_none()
    state = "shipped" if row is None else "proposed" if row.adopted_ms is None else "adopted"
    return {"state": state, "adopted_ms": row.adopted_ms if row else None}


def _changed(
    conn: sa.Connection, code: str, from_ms: int, known: Sequence[Revision], report: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What the newest revision says otherwise than the one before it; of an open one, as far as is known now."""
    if len(known) < 2 or known[-1].closed_ms is not None:
        return known[-1].changed if known else {}
    return revisions.differences(revisions.report_of(conn, code, from_ms, known[-2].number), report)


def _revision(
    known: Sequence[Revision], changed: Mapping[str, Any], given: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """`number` 0: the month has not been reported yet. `closed_ms` None: this is how it looks, it may still change."""
    if not known:
        return {"number": 0, "closed_ms": None, "why": {}, "replaces": None, "changed": {}, "history": []}
    history = [{**_plain(entry), "given": [row for row in given if row["revision"] == entry.number]} for entry in known]
    last, before = history[-1], history[-2] if len(history) > 1 else None
    replaces = {name: before[name] for name in ("number", "closed_ms", "sha256")} if before else None
    own = {name: last[name] for name in ("number", "opened_ms", "closed_ms", "sha256", "why")}
    return {**own, "replaces": replaces, "changed": changed, "history": history}


def _plain(value: Any) -> Any:
    """As it comes back from JSON, so that what is kept and what is just made are the same."""
    return msgspec.json.decode(msgspec.json.encode(value))


def check(conn: sa.Connection, code: str, month: str, standards: Standards, now_ms: int) -> list[str]:
    """Makes a closed report anew from the readings; returns what it says otherwise, nothing when it is the same to the
    bit. Of a report of an older format the sentences are not compared. Raises ReportError where there is nothing to
    compare."""
    kept, anew = closed_and_anew(conn, code, month, standards, now_ms)
    return differing(kept, anew)


def differing(kept: Mapping[str, Any], anew: Mapping[str, Any]) -> list[str]:
    """Pure. The parts that two reports of one month tell otherwise."""
    kept, anew = revisions.of_one_form(kept, anew)
    return [name for name in itertools.chain(kept, anew.keys() - kept.keys()) if kept.get(name) != anew.get(name)]


def closed_and_anew(
    conn: sa.Connection, code: str, month: str, standards: Standards, now_ms: int, sheets: Sequence[DaySheet] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest closed report of a month, and the same made from the readings. `sheets` are those of the center as
    the register has it now; they are made anew where the month was reported for a center as it was. Raises
    ReportError where there is nothing to compare."""
    center, span = centers.get(conn, code), period(month, TZ, now_ms)
    kept = revisions.report_of(conn, center.code, span.from_ms, closed_number(conn, code, month, now_ms))
    if span.from_ms < raw_from(conn):
        raise ReportError(f"month {month}: its readings have been let go; `nabz-collector evidence` still has them")
    then = as_reported(conn, center, span.from_ms)
    same = sheets if then == histories(conn, [center])[center.code] and sheets else None
    return kept, _plain(build_some(conn, [then], month, standards, now_ms, sheets=same)[center.code])


def closed_number(conn: sa.Connection, code: str, month: str, now_ms: int) -> int:
    """The newest closed revision of a month. Raises ReportError where there is none, CenterError."""
    center, span = centers.get(conn, code), period(month, TZ, now_ms)
    closed = [item for item in revisions.revisions_of(conn, center.code, span.from_ms) if item.closed_ms is not None]
    if not closed:
        raise ReportError(f"month {month}: is not reported yet, so there is nothing to compare; see it without --check")
    return closed[-1].number
