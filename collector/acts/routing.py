"""Routes, escalation plans and rotas as commands and pages change them: the rows, and the log of acts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from collector.access import users
from collector.access.users import key_of
from collector.acts.person import ActingPerson
from collector.common.messages import one_line
from collector.desk.routing import directory, plans, routes, tables
from collector.desk.routing.plans import PlanStep, RoutingError
from collector.desk.routing.rota import Rota, RotaOverride
from collector.desk.routing.routes import AlertRoute

MAX_REASON = 200
SHORTEST_TURN_S = 60


def keep_route(conn: sa.Connection, route: AlertRoute, families: Iterable[str], who: ActingPerson) -> int:
    """A new route, or another one in the place of that number; its number. Raises RoutingError."""
    made, number = routes.check(route, tables.plans(conn), families=families), route.id
    if number:
        tables.change_route(conn, made, who.name, who.now_ms)
    else:
        number = tables.add_route(conn, made, who.name, who.now_ms)
    _record(conn, f"route {number}", "changed" if route.id else "added", who)
    return number


def remove_route(conn: sa.Connection, number: int, who: ActingPerson) -> None:
    """Raises RoutingError."""
    tables.remove_route(conn, number)
    _record(conn, f"route {number}", "removed", who)


def set_plan(conn: sa.Connection, name: str, steps: Iterable[PlanStep], who: ActingPerson) -> None:
    """In place of the one of this name. Raises RoutingError."""
    plan = plans.check(steps)
    tables.set_plan(conn, name, plan, who.name, who.now_ms)
    words = (f"{plans.span_text(step.after_s)} {' | '.join(map(str, step.targets))}" for step in plan)
    _record(conn, f"plan {name}", "; ".join(words), who)


def remove_plan(conn: sa.Connection, name: str, who: ActingPerson) -> None:
    """Raises RoutingError."""
    tables.remove_plan(conn, name)
    _record(conn, f"plan {name}", "removed", who)


def keep_rota(conn: sa.Connection, rota: Rota, members: Sequence[str], who: ActingPerson) -> int:
    """A new rota of these people, or another one in the place of that number, with its overrides; its number. Raises
    RoutingError."""
    plans.check_name(rota.name)
    routes.check_hours(rota.hours)
    if not members:
        raise RoutingError("routing.no_members", "member-0")
    keys = tuple(account_key(conn, name, "member-0") for name in members)
    made, number = dataclasses.replace(rota, members=keys, turn_s=max(SHORTEST_TURN_S, rota.turn_s)), rota.id
    if number:
        tables.change_rota(conn, made, who.name, who.now_ms)
    else:
        number = tables.add_rota(conn, made, who.name, who.now_ms)
    _record(conn, f"rota {number} {made.name}", " ".join(keys), who)
    return number


def remove_rota(conn: sa.Connection, number: int, who: ActingPerson) -> None:
    """Raises RoutingError."""
    tables.remove_rota(conn, number)
    _record(conn, f"rota {number}", "removed", who)


def override(
    conn: sa.Connection, number: int, person: str, span: tuple[int, int], reason: str, who: ActingPerson
) -> int:
    """Somebody stands in, or nobody is on duty (no name), for a while; its number. Raises RoutingError."""
    key, why = account_key(conn, person, "person") if person else "", one_line(reason, MAX_REASON)
    if not why.strip():
        raise RoutingError("routing.no_reason", "reason")
    made = tables.add_override(conn, number, RotaOverride(key, *span, why), who.name, who.now_ms)
    _record(conn, f"rota {number}", f"{key or 'nobody'}: {why}", who)
    return made


def remove_override(conn: sa.Connection, number: int, who: ActingPerson) -> None:
    """The turn is as the rota, or an earlier override, has it. Raises RoutingError."""
    rota = tables.remove_override(conn, number)
    _record(conn, f"rota {rota}", f"override {number}: removed", who)


def account_key(conn: sa.Connection, name: str, field: str) -> str:
    """Of an account, however its name is written. Raises RoutingError."""
    key = key_of(name)
    if key not in {one.key for one in directory.people(conn) if one.role != "contact"}:
        raise RoutingError("routing.no_person", field, text=name[: plans.MAX_SHOWN])
    return key


def _record(conn: sa.Connection, subject: str, reason: str, who: ActingPerson) -> None:
    users.record(
        conn, "routing_changed", who.name, who.now_ms, is_proven=who.is_proven, subject=subject, reason=reason
    )  # fmt: skip
