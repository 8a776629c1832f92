"""Versions of the standard are adopted by two persons: one proposes, another adopts, each dated. What was adopted is
named by the digest of its file, so another text is another version. One that nobody adopted holds all the same, as a
new Nabz must judge by something, and is said to be *shipped, not adopted*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

import sqlalchemy as sa

from agent.common.reasons import Reason
from agent.common.words import CodedError
from collector.access import users
from collector.access.users import key_of
from collector.acts.person import ActingPerson
from collector.common.messages import one_line
from collector.standard import Standard
from collector.store import schema
from collector.store.journal import journaled, leaves

AdoptionState = Literal["shipped", "proposed", "adopted"]
MAX_REASON = 2000

_a = schema.adoptions.c


class AdoptionError(CodedError):
    """A version is not proposed or adopted so; its code says why."""

    def __init__(self, code: str, standard: str) -> None:
        super().__init__(Reason.of(code, standard=standard[:64]))


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """A row."""

    digest: str
    standard: str
    valid_from_ms: int
    proposed_ms: int
    proposed_by: str
    reason: str
    adopted_ms: int | None
    adopted_by: str


@dataclass(frozen=True)
class VersionState:
    """A version that is known here, and how far its adoption is."""

    version: Standard
    state: AdoptionState
    adoption: Adoption | None


def states_of(conn: sa.Connection, versions: Iterable[Standard]) -> list[VersionState]:
    """The newest version first."""
    rows = conn.execute(sa.select(*(_a[field.name] for field in fields(Adoption))))
    known = {row.digest: Adoption(**row._mapping) for row in rows}
    ordered = sorted(versions, key=lambda version: version.valid_from_ms, reverse=True)
    return [VersionState(version, _state(known.get(version.digest)), known.get(version.digest)) for version in ordered]


def _state(adoption: Adoption | None) -> AdoptionState:
    if adoption is None:
        return "shipped"
    return "adopted" if adoption.adopted_ms is not None else "proposed"


def propose(conn: sa.Connection, version: Standard, reason: str, who: ActingPerson) -> None:
    """Raises AdoptionError."""
    (held,) = states_of(conn, [version])
    if held.adoption is not None:
        raise AdoptionError("adoption.known", version.id)
    if not reason.strip():
        raise AdoptionError("adoption.no_reason", version.id)
    row = {
        "digest": version.digest, "standard": version.id, "valid_from_ms": version.valid_from_ms,
        "proposed_ms": who.now_ms, "proposed_by": who.name, "reason": one_line(reason, MAX_REASON),
    }  # fmt: skip
    conn.execute(sa.insert(schema.adoptions).values(row))
    _note(conn, "standard_propose", version, who)


def adopt(conn: sa.Connection, version: Standard, who: ActingPerson) -> None:
    """By another person than who proposed it. Raises AdoptionError."""
    (held,) = states_of(conn, [version])
    if held.adoption is None or held.state == "adopted":
        raise AdoptionError("adoption.adopted" if held.adoption else "adoption.not_proposed", version.id)
    if not key_of(who.name) or key_of(who.name) == key_of(held.adoption.proposed_by):
        raise AdoptionError("adoption.own", version.id)
    mine = sa.update(schema.adoptions).where(_a.digest == version.digest)
    conn.execute(mine.values(adopted_ms=who.now_ms, adopted_by=who.name))
    _note(conn, "standard_adopted", version, who)


def _note(conn: sa.Connection, act: users.Act, version: Standard, who: ActingPerson) -> None:
    journaled(conn, schema.adoptions, version.digest)
    row = conn.execute(sa.select(schema.adoptions).where(_a.digest == version.digest)).mappings().one()
    leaves.add_rows(conn, "adoptions", [dict(row)], who.now_ms)
    text = f"sha256 {version.digest}: {row['reason']}"
    users.record(conn, act, who.name, who.now_ms, is_proven=who.is_proven, subject=version.id, reason=text)
