"""Digests, each made once: daily for officers of the desk, weekly for whoever runs centers, in Urdu."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from agent.common.words import plain
from collector.common.scope import Scope
from collector.desk.alerts.channel import Channel
from collector.desk.alerts.digest import CenterRisk, DigestFacts, DigestKind, OpenIncident, RaisedFlag, digest
from collector.desk.risk import rows as month_risks
from collector.desk.routing import directory
from collector.desk.routing.decide import channel_for
from collector.desk.routing.due import DueTime, due_ms
from collector.desk.routing.facts import PersonalChannel
from collector.desk.routing.recipients import Recipient
from collector.desk.view import queries
from collector.judging.flags.backup import battery
from collector.judging.outages import mains_cuts, summary
from collector.register import centers
from collector.standard import Standards
from collector.standard.criteria import EVERYONE, Criterion, Standard
from collector.store import schema

DAY_MS = 86_400_000
RISK_DAYS = 60  # a battery that lasts longer is not at risk yet
FORECASTS = 200  # centers whose batteries are looked at for one digest
ROLES: Mapping[DigestKind, tuple[str, ...]] = {"daily": ("desk", "admin"), "weekly": ("operator", "contact")}
WHY: Mapping[DigestKind, Reason] = {
    "daily": Reason.of("route.digest_daily"), "weekly": Reason.of("route.digest_weekly"),
}  # fmt: skip

_f, _ce, _d = schema.flags.c, schema.centers.c, schema.digests.c


@dataclass(frozen=True)
class DigestRun:
    """What one look for due digests works with; `times` has those that are sent at all."""

    channels: Sequence[Channel]
    times: Mapping[DigestKind, DueTime]
    standards: Standards
    base_url: str
    now_ms: int

    @property
    def personal(self) -> list[PersonalChannel]:
        return [PersonalChannel(one.name, one.address) for one in self.channels if one.address is not None]


def make_due(read: Callable[[], Any], write: Callable[[], Any], run: DigestRun) -> int:
    """Makes the digests that are due, one transaction each; `read` and `write` open them. Returns how many messages."""
    if not run.personal:
        return 0
    with read() as conn:
        holidays = directory.holidays(conn, run.now_ms)
        due = {kind: at_ms for kind, time in run.times.items() if (at_ms := due_ms(time, run.now_ms, holidays))}
        waiting = [(kind, at_ms, one) for kind, at_ms in due.items() for one in _waiting(conn, kind, at_ms)]
    made = 0
    for kind, at_ms, person in waiting:
        with write() as conn:
            made += _make(conn, run, kind, at_ms, person)
    return made


def _waiting(conn: sa.Connection, kind: DigestKind, at_ms: int) -> Iterator[Recipient]:
    """Who gets this digest and has not yet."""
    made = set(conn.scalars(sa.select(_d.person).where(_d.kind == kind, _d.due_ms == at_ms)))
    return (one for one in directory.people(conn) if one.role in ROLES[kind] and one.key not in made)


def _make(conn: sa.Connection, run: DigestRun, kind: DigestKind, at_ms: int, person: Recipient) -> int:
    row = {"kind": kind, "person": person.key, "due_ms": at_ms, "made_ms": run.now_ms}
    conn.execute(sa.insert(schema.digests), [row])
    channel = channel_for(person, run.personal)
    if channel is None:
        return 0
    facts = facts_of(conn, reach_of(person), run.standards, run.now_ms)
    if not facts.centers or (kind == "daily" and facts.is_quiet):
        return 0
    langs = [person.lang] if kind == "daily" else list(dict.fromkeys(["ur", person.lang]))
    words = digest(kind, facts, run.base_url, [plain(lang) for lang in langs])
    alert = {
        "kind": "digest", "change": None, "event": None, "center": EVERYONE, "channel": channel.name,
        "title": words.title, "text": words.text, "state": "waiting", "attempts": 0, "next_ms": run.now_ms,
        "made_ms": run.now_ms, "person": person.key, "address": person.addresses[channel.address],
        "why": encode(WHY[kind]),
    }  # fmt: skip
    conn.execute(sa.insert(schema.alerts), [alert])
    return 1


def reach_of(person: Recipient) -> Scope:
    """The centers that a digest is about."""
    if not person.owner:
        return person.scope
    return Scope(owner=frozenset({person.owner}), district=person.scope.district, province=person.scope.province)


# ---------------------------------------------------------------- facts


def facts_of(conn: sa.Connection, scope: Scope, standards: Standards, now_ms: int) -> DigestFacts:
    """What is open and at risk in a scope now."""
    mine = [_ce[name].in_(values) for name, values in scope.parts.items()]
    names = {row.center: row.name for row in conn.execute(sa.select(_ce.center, _ce.name).where(*mine))}
    standard = standards.at(now_ms)
    flags, risks, silent = _flags(conn, names, standard)
    forecasts = list(_batteries(conn, names, standard, now_ms)) if len(names) <= FORECASTS else []
    rows = queries.listing(conn, standards, now_ms, scope=scope)
    incidents = [_open(one, names) for one in rows if not one["is_snoozed"] and one["family"] != "month"]
    months = list(_months(conn, names, standard))
    known = {(one.center, one.criterion.id) for one in months}  # which says more than that it is close to its limit
    near = [one for one in risks if (one.center, one.criterion.id) not in known]
    return DigestFacts(len(names), len(silent), incidents, flags, [*months, *forecasts, *near])


def _months(conn: sa.Connection, names: Mapping[str, str], standard: Standard | None) -> Iterator[CenterRisk]:
    """Of each center the criterion of the running month that has the fewest days left."""
    by_id: Mapping[str, Criterion] = standard.by_id if standard else {}
    for code, risks in month_risks.of_centers(conn, names).items():
        first = next((one for one in risks if one.criterion in by_id), None)
        if first is not None:
            yield CenterRisk(code, names[code], by_id[first.criterion], first.days_left, of_month=True)


def _open(one: dict[str, Any], names: Mapping[str, str]) -> OpenIncident:
    return OpenIncident(
        one["id"], one["scope"], names.get(one["place"], one["place"]), (one["cause"] or {"name": ""})["name"],
        one["family"], one["lasted_s"], one["owner"], one["priority"],
    )  # fmt: skip


def _flags(
    conn: sa.Connection, names: Mapping[str, str], standard: Standard | None
) -> tuple[list[RaisedFlag], list[CenterRisk], set[str]]:
    """Raised flags, those that are close to it, and the centers that are silent, of which nothing else is known."""
    by_id: Mapping[str, Criterion] = standard.by_id if standard else {}
    is_near = (_f.verdict == "watch") & (_f.state == "clear")
    query = sa.select(_f.center, _f.criterion, _f.since_ms, _f.state)
    rows = conn.execute(query.where(_f.state.in_(("raised", "recovering")) | is_near)).all()
    known = [(row, by_id[row.criterion]) for row in rows if row.center in names and row.criterion in by_id]
    silent = {row.center for row, criterion in known if criterion.reading == "silence" and row.state != "clear"}
    flags, risks = list[RaisedFlag](), list[CenterRisk]()
    for row, criterion in known:
        if criterion.severity == "notice" or (row.center in silent and criterion.reading != "silence"):
            continue
        if row.state == "clear":
            risks.append(CenterRisk(row.center, names[row.center], criterion))
        else:
            flags.append(RaisedFlag(row.center, names[row.center], criterion, row.since_ms))
    return flags, risks, silent


def _batteries(
    conn: sa.Connection, names: Mapping[str, str], standard: Standard | None, now_ms: int
) -> Iterator[CenterRisk]:
    """Batteries whose trend falls below what the standard asks within RISK_DAYS."""
    criterion = (
        next((one for one in standard.criteria if summary.BACKUP_FIELD in one.fields), None) if standard else None
    )
    if criterion is None:
        return
    for code, center in centers.some_centers(conn, set(names)).items():
        asked_s = summary.backup_asked_s(center, standard)
        below = [battery(cuts, asked_s).below_ms for cuts in mains_cuts.cuts_of(conn, code).values()]
        soonest = min((at_ms for at_ms in below if at_ms is not None), default=None)
        if soonest is not None and soonest - now_ms <= RISK_DAYS * DAY_MS:
            yield CenterRisk(code, names[code], criterion, max(0, (soonest - now_ms) // DAY_MS))
