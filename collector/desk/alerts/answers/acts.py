"""What an answer does to an incident, in the name of the person whom the message went to.

Whoever is told of an incident may look after it and comment. Who assigns or resolves it decides about all its centers:
that needs an account with all of them in its scope, as on the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from collector.access import users
from collector.access.accounts.policy import POLICY
from collector.desk import work
from collector.desk.alerts import links
from collector.desk.incident import Incident, WorkError
from collector.desk.routing import directory
from collector.desk.routing.recipients import Recipient
from collector.desk.view import queries

AnswerAct = Literal["ack", "assign", "resolve", "note"]
AnswerWay = Literal["link", "button", "mail", "sms"]
ANSWER_ACTS: tuple[AnswerAct, ...] = get_args(AnswerAct)
OF_ALL: tuple[AnswerAct, ...] = ("assign", "resolve")  # acts that decide about every center of an incident


@dataclass(frozen=True)
class Answer:
    """`owner`: to whom it is assigned; empty: to whoever answers. `way` is how it came, for the activity log."""

    act: AnswerAct
    note: str
    owner: str = ""
    way: AnswerWay = "link"


def by_link(conn: sa.Connection, secret: str, answer: Answer, now_ms: int) -> Incident:
    """The incident after it; the link is used up, unless the act cannot be. Raises WorkError."""
    with conn.begin_nested():
        link = links.use(conn, secret, now_ms)
        person = next(one for one in directory.people(conn) if one.key == link.person)
        return perform(conn, person, link.incident, answer, now_ms)


def perform(conn: sa.Connection, person: Recipient, number: int, answer: Answer, now_ms: int) -> Incident:
    """Raises WorkError."""
    if answer.act in OF_ALL and not _may_decide(conn, person, number):
        raise WorkError(f"incident {number}: is not {person.name}'s to {answer.act} alone; acknowledge or comment")
    done = ACTS[answer.act](conn, number, person, answer, now_ms)
    users.record(
        conn, "incident_worked", person.name, now_ms, subject=str(number),
        reason=f"{answer.act} by {answer.way} {answer.note}".strip(),
    )  # fmt: skip
    return done


def _may_decide(conn: sa.Connection, person: Recipient, number: int) -> bool:
    is_own = person.role != "operator" or not person.scope.is_all
    return person.role in POLICY["incident.work"].roles and is_own and queries.is_within(conn, number, person.scope)


AnswerWork = Callable[[sa.Connection, int, Recipient, Answer, int], Incident]


def _ack(conn: sa.Connection, number: int, person: Recipient, answer: Answer, now_ms: int) -> Incident:
    return work.acknowledge(conn, number, person.name, answer.note, now_ms)


def _assign(conn: sa.Connection, number: int, person: Recipient, answer: Answer, now_ms: int) -> Incident:
    """To an account, as nobody else could work on it."""
    wanted = users.key_of(answer.owner or person.name)
    owner = next((one for one in directory.people(conn) if one.key == wanted), None)
    if owner is None:
        raise WorkError(f"assign: {answer.owner[:40]!r} is no account; see /people")
    return work.assign(conn, number, owner.name, person.name, answer.note, now_ms)


def _resolve(conn: sa.Connection, number: int, person: Recipient, answer: Answer, now_ms: int) -> Incident:
    return work.resolve(conn, number, person.name, answer.note, now_ms)


def _note(conn: sa.Connection, number: int, person: Recipient, answer: Answer, now_ms: int) -> Incident:
    return work.note(conn, number, person.name, answer.note, now_ms)


ACTS: Mapping[AnswerAct, AnswerWork] = {"ack": _ack, "assign": _assign, "resolve": _resolve, "note": _note}
