"""Routes, plans and rotas as the database has them, and how far each incident's escalation is."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from collector.common.scope import decode
from collector.desk.incident import OPEN, Incident
from collector.desk.routing import plans as plan_rules
from collector.desk.routing.decide import ARMING, PendingStep, RoutingDecision
from collector.desk.routing.facts import IncidentCenter, IncidentFacts
from collector.desk.routing.plans import SHIPPED, Plan, PlanStep, RoutingError
from collector.desk.routing.rota import Rota, RotaOverride
from collector.desk.routing.routes import AlertRoute
from collector.store import schema, upsert
from collector.store.journal import journaled

LATE_MS = 30_000  # between two looks for whoever joined an incident
BEGUN = -1  # the step of the row that says that a route has begun

_r, _p, _o, _x = schema.routes.c, schema.plan_steps.c, schema.rota_overrides.c, schema.escalations.c
_i = schema.incidents.c
_al, _e, _m, _ce = schema.alerts.c, schema.incident_events.c, schema.incident_members.c, schema.centers.c

# ---------------------------------------------------------------- routes


def routes(conn: sa.Connection) -> tuple[AlertRoute, ...]:
    """In the order of their numbers."""
    rows = conn.execute(sa.select(schema.routes).order_by(_r.id))
    return tuple(
        AlertRoute(row.id, decode(row.scope), row.severity, tuple(row.families.split()), row.hours, row.lang, row.plan)
        for row in rows
    )


def add_route(conn: sa.Connection, route: AlertRoute, by: str, now_ms: int) -> int:
    """Its number."""
    return _added(conn, schema.routes, _route_row(route, by, now_ms))


def change_route(conn: sa.Connection, route: AlertRoute, by: str, now_ms: int) -> None:
    """The one of its number is as this one from now on. Raises RoutingError."""
    mine = sa.update(schema.routes).where(_r.id == route.id)
    if not conn.execute(mine.values(_route_row(route, by, now_ms))).rowcount:
        raise RoutingError("routing.no_route", number=route.id)


def _route_row(route: AlertRoute, by: str, now_ms: int) -> dict[str, object]:
    return {
        "scope": route.scope.encode(), "severity": route.severity, "families": " ".join(route.families),
        "hours": route.hours, "lang": route.lang, "plan": route.plan, "changed_ms": now_ms, "changed_by": by,
    }  # fmt: skip


def remove_route(conn: sa.Connection, number: int) -> None:
    """Raises RoutingError."""
    journaled(conn, schema.routes)
    if not conn.execute(sa.delete(schema.routes).where(_r.id == number)).rowcount:
        raise RoutingError("routing.no_route", number=number)


# ---------------------------------------------------------------- plans


def plans(conn: sa.Connection) -> Mapping[str, Plan]:
    """Also the shipped ones; one of the same name stands in their place."""
    by_name = defaultdict[str, list[PlanStep]](list)
    for row in conn.execute(sa.select(schema.plan_steps).order_by(_p.plan, _p.step)):
        step = PlanStep(row.after_s, plan_rules.parse_targets(row.target), tuple(row.via.split()))
        by_name[row.plan].append(step)
    return {**SHIPPED, **{name: tuple(steps) for name, steps in by_name.items()}}


def set_plan(conn: sa.Connection, name: str, plan: Plan, by: str, now_ms: int) -> None:
    """Raises RoutingError."""
    name, plan = plan_rules.check_name(name), plan_rules.check(plan)
    journaled(conn, schema.plan_steps)
    conn.execute(sa.delete(schema.plan_steps).where(_p.plan == name))
    rows = [
        {"plan": name, "step": number, "after_s": step.after_s, "target": " | ".join(map(str, step.targets)),
         "via": " ".join(step.via), "changed_ms": now_ms, "changed_by": by}
        for number, step in enumerate(plan)
    ]  # fmt: skip
    conn.execute(sa.insert(schema.plan_steps), rows)


def remove_plan(conn: sa.Connection, name: str) -> None:
    """Raises RoutingError, also for one that a route goes by, unless a shipped one is behind it."""
    if name not in SHIPPED and any(route.plan == name for route in routes(conn)):
        raise RoutingError("routing.plan_used", text=name[: plan_rules.MAX_SHOWN])
    journaled(conn, schema.plan_steps)
    if not conn.execute(sa.delete(schema.plan_steps).where(_p.plan == name)).rowcount:
        raise RoutingError("routing.not_own", text=name[: plan_rules.MAX_SHOWN])


# ---------------------------------------------------------------- rotas


def rotas(conn: sa.Connection) -> tuple[Rota, ...]:
    """With their overrides, in the order of their numbers."""
    changes = defaultdict[int, list[RotaOverride]](list)
    for row in conn.execute(sa.select(schema.rota_overrides).order_by(_o.id)):
        changes[row.rota].append(RotaOverride(row.person, row.from_ms, row.to_ms, row.reason, row.id))
    rows = conn.execute(sa.select(schema.rotas).order_by(schema.rotas.c.id))
    return tuple(
        Rota(
            row.name, tuple(json.loads(row.members)), row.from_ms, row.turn_s, decode(row.scope), row.hours,
            row.on_holidays, tuple(changes[row.id]), row.id,
        )
        for row in rows
    )  # fmt: skip


def rota(conn: sa.Connection, number: int) -> Rota:
    """Raises RoutingError."""
    entry = next((one for one in rotas(conn) if one.id == number), None)
    if entry is None:
        raise RoutingError("routing.no_rota", "rota", number=number)
    return entry


def add_rota(conn: sa.Connection, made: Rota, by: str, now_ms: int) -> int:
    """Its number."""
    return _added(conn, schema.rotas, _rota_row(made, by, now_ms))


def change_rota(conn: sa.Connection, made: Rota, by: str, now_ms: int) -> None:
    """The one of its number is as this one from now on, its overrides stay. Raises RoutingError."""
    mine = sa.update(schema.rotas).where(schema.rotas.c.id == made.id)
    if not conn.execute(mine.values(_rota_row(made, by, now_ms))).rowcount:
        raise RoutingError("routing.no_rota", "rota", number=made.id)


def _rota_row(made: Rota, by: str, now_ms: int) -> dict[str, object]:
    return {
        "name": made.name, "scope": made.scope.encode(), "members": json.dumps(made.members, ensure_ascii=False),
        "from_ms": made.from_ms, "turn_s": made.turn_s, "hours": made.hours, "on_holidays": made.on_holidays,
        "changed_ms": now_ms, "changed_by": by,
    }  # fmt: skip


def remove_rota(conn: sa.Connection, number: int) -> None:
    """With its overrides. Raises RoutingError."""
    rota(conn, number)
    for table in (schema.rotas, schema.rota_overrides):
        journaled(conn, table)
    conn.execute(sa.delete(schema.rota_overrides).where(_o.rota == number))
    conn.execute(sa.delete(schema.rotas).where(schema.rotas.c.id == number))


def add_override(conn: sa.Connection, number: int, made: RotaOverride, by: str, now_ms: int) -> int:
    """Its number. Raises RoutingError."""
    rota(conn, number)
    if not made.from_ms < made.to_ms:
        raise RoutingError("routing.override_span", "to_time")
    row = {
        "rota": number, "person": made.person, "from_ms": made.from_ms, "to_ms": made.to_ms, "reason": made.reason,
        "recorded_ms": now_ms, "recorded_by": by,
    }  # fmt: skip
    return _added(conn, schema.rota_overrides, row)


def remove_override(conn: sa.Connection, number: int) -> int:
    """Its rota. Raises RoutingError."""
    rota_id = conn.scalar(sa.select(_o.rota).where(_o.id == number))
    if rota_id is None:
        raise RoutingError("routing.no_override", number=number)
    journaled(conn, schema.rota_overrides)
    conn.execute(sa.delete(schema.rota_overrides).where(_o.id == number))
    return int(rota_id)


# ---------------------------------------------------------------- incidents


def facts_of(conn: sa.Connection, incident: Incident, now_ms: int) -> IncidentFacts:
    """With the homes of all centers that are or were part of it: who was told hears of its end."""
    columns = (_ce.center.label("code"), _ce.owner, _ce.isp, _ce.district, _ce.province)
    members = sa.select(_m.center).where(_m.incident == incident.id)
    homes = [IncidentCenter(*row) for row in conn.execute(sa.select(*columns).where(_ce.center.in_(members)))]
    hearers = sa.select(_al.person, _al.channel).join(schema.incident_events, _e.id == _al.event)
    hearers = hearers.where(_e.incident == incident.id, _al.person != "").order_by(_al.id)
    begun = sa.select(_x.route).where(_x.incident == incident.id)
    until_ms = incident.snoozed_until_ms
    return IncidentFacts(
        incident.id, incident.severity, incident.family, incident.state, until_ms is not None and until_ms > now_ms,
        homes, {row.person: row.channel for row in conn.execute(hearers)}, frozenset(conn.scalars(begun)),
    )  # fmt: skip


def due_steps(conn: sa.Connection, now_ms: int) -> dict[tuple[int, int], list[PendingStep]]:
    """{(incident, armed_ms): steps} whose time has come; those of an incident that armed again meanwhile are stale."""
    rows = conn.execute(sa.select(schema.escalations).where(_x.done_ms.is_(None), _x.due_ms <= now_ms)).all()
    by_incident = defaultdict[tuple[int, int], list[PendingStep]](list)
    for row in rows:
        by_incident[row.incident, row.armed_ms].append(PendingStep(row.route, row.step, row.due_ms))
    return by_incident


def widened(conn: sa.Connection, now_ms: int) -> list[int]:
    """Incidents of many centers that others have joined, or left, since their latecomers were looked for."""
    is_group = _i.scope.not_in(("center", "collector")) & _i.state.in_(OPEN)
    since = (_i.changed_ms > _x.due_ms) & (_x.due_ms <= now_ms - LATE_MS) & (_x.step == BEGUN)
    query = sa.select(_x.incident).join(schema.incidents, _i.id == _x.incident).where(is_group, since)
    return list(conn.scalars(query.distinct()))


def mark_looked(conn: sa.Connection, incident: int, now_ms: int) -> None:
    mine = (_x.incident == incident) & (_x.step == BEGUN)
    conn.execute(sa.update(schema.escalations).where(mine).values(due_ms=now_ms))


def armed_event(conn: sa.Connection, incident: int) -> int | None:
    """The event that began its escalation last."""
    mine = (_e.incident == incident) & _e.act.in_(sorted(ARMING))
    event_id: int | None = conn.scalar(sa.select(sa.func.max(_e.id)).where(mine))
    return event_id


def next_due_ms(conn: sa.Connection) -> int | None:
    due_ms: int | None = conn.scalar(sa.select(sa.func.min(_x.due_ms)).where(_x.done_ms.is_(None)))
    return due_ms


def mark_done(conn: sa.Connection, incident: int, armed_ms: int, steps: Iterable[PendingStep], now_ms: int) -> None:
    for one in steps:
        mine = (_x.incident == incident) & (_x.armed_ms == armed_ms) & (_x.route == one.route) & (_x.step == one.step)
        conn.execute(sa.update(schema.escalations).where(mine).values(done_ms=now_ms))


def drop_pending(conn: sa.Connection, incident: int, now_ms: int) -> None:
    """Nothing of an earlier beginning is still to come."""
    mine = (_x.incident == incident) & _x.done_ms.is_(None)
    conn.execute(sa.update(schema.escalations).where(mine).values(done_ms=now_ms))


def put(conn: sa.Connection, incident: int, armed_ms: int, decision: RoutingDecision) -> None:
    """Which routes have begun, and which steps are to come."""
    known = {"incident": incident, "armed_ms": armed_ms}
    over = {"step": BEGUN, "due_ms": armed_ms, "done_ms": armed_ms}
    rows: list[dict[str, object]] = [{**known, "route": route, **over} for route in decision.begun]
    rows += [
        {**known, "route": one.route, "step": one.step, "due_ms": one.due_ms, "done_ms": None}
        for one in decision.pending
    ]
    upsert(conn, schema.escalations, rows)


def _added(conn: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> int:
    journaled(conn, table)
    key = conn.execute(sa.insert(table).values(row)).inserted_primary_key
    assert key is not None
    return int(key[0])
