"""The register is history: every fact of a center holds from a day, and was recorded at a time by a person.

A row of `facts` is one value of one column of the register. What holds on a day is the row that begins last until
then, of two that begin together the one recorded later. A fact that begins before the day on which it is recorded is
back-dated: it holds when a second person has confirmed it. So are opening hours from that day on that would have been
others until then: by whoever may change them alone, each bad morning would be closed. Nothing is deleted; what is taken
back is withdrawn.
`centers` is what the facts come to now. A column without rows is what `centers` says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from collector.register.center import Center, from_row
from collector.register.opening_hours import parse, spans_between
from collector.store import bulk_insert, schema
from collector.store.journal import journaled, leaves

FactSource = Literal["migrated", "registered", "import", "set"]
Values = Mapping[str, object]
Timeline = tuple[tuple[int, Values], ...]  # (from when, all values of that time), oldest first

MOST = 500  # bound values of one statement

_f = schema.facts.c


class FactError(Exception):
    """A fact cannot be recorded, confirmed or withdrawn; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One row."""

    id: int
    center: str
    name: str
    value: object
    from_ms: int
    recorded_ms: int
    recorded_by: str
    reason: str
    source: FactSource
    import_id: int | None
    evidence: tuple[Mapping[str, object], ...]
    is_backdated: bool
    confirmed_ms: int | None
    confirmed_by: str
    withdrawn_ms: int | None
    withdrawn_by: str
    withdrawn_why: str

    @property
    def state(self) -> Literal["holds", "waiting", "withdrawn"]:
        if self.withdrawn_ms is not None:
            return "withdrawn"
        return "waiting" if self.is_backdated and self.confirmed_ms is None else "holds"

    def is_known(self, known_ms: int | None = None) -> bool:
        """Whether it counted then, by what had been recorded, confirmed and withdrawn until then; now for None."""
        if known_ms is None:
            return self.state == "holds"
        since_ms = self.confirmed_ms if self.is_backdated else 0 if self.source == "migrated" else self.recorded_ms
        return since_ms is not None and since_ms <= known_ms and (self.withdrawn_ms or known_ms + 1) > known_ms


@dataclass(frozen=True)
class FactChange:
    """A value that a center is to have."""

    center: str
    name: str
    value: object


@dataclass(frozen=True, kw_only=True)
class Recording:
    """How changes are recorded. `from_ms` is when a day begins, `second` the person who has confirmed them already."""

    from_ms: int
    now_ms: int
    today_ms: int
    by: str
    reason: str = ""
    source: FactSource = "set"
    import_id: int | None = None
    evidence: tuple[Mapping[str, object], ...] = ()
    second: str = ""
    changes_past: bool = False  # hours of today that are over would be otherwise

    @property
    def is_backdated(self) -> bool:
        is_past = self.from_ms < self.today_ms or self.changes_past
        return self.source not in ("registered", "migrated") and is_past

    @property
    def holds(self) -> bool:
        return not self.is_backdated or bool(self.second)


# ---------------------------------------------------------------- pure


def timeline(facts: Iterable[Fact], known_ms: int | None = None) -> Timeline:
    """What held from when on. What a name's first fact says also held before it."""
    by_name: dict[str, list[Fact]] = defaultdict(list)
    for fact in sorted((fact for fact in facts if fact.is_known(known_ms)), key=lambda fact: (fact.from_ms, fact.id)):
        by_name[fact.name].append(fact)
    edges = sorted({fact.from_ms for own in by_name.values() for fact in own})
    return tuple((edge, {name: _held(own, edge).value for name, own in by_name.items()}) for edge in edges)


def _held(own: Sequence[Fact], at_ms: int) -> Fact:
    """The fact of a name that holds; `own` are in the order of their beginnings."""
    first = [fact for fact in own if fact.from_ms == own[0].from_ms][-1]
    return next((fact for fact in reversed(own) if fact.from_ms <= at_ms), first)


def in_force(facts: Iterable[Fact], name: str, at_ms: int) -> Fact | None:
    """The fact of that name that holds at a time, of those that are known now; None where there is none."""
    own = [fact for fact in facts if fact.name == name and fact.is_known()]
    return _held(sorted(own, key=lambda fact: (fact.from_ms, fact.id)), at_ms) if own else None


def key_of(name: str) -> str:
    """The same for every way of writing one name: large or small, with more spaces."""
    return " ".join(name.split()).casefold()


def another(first: str, second: str) -> str:
    """The second person's name. Raises FactError where both are one, or one has none."""
    if not key_of(first) or not key_of(second):
        raise FactError("a fact of the past needs two persons by name; give --by NAME and --second NAME")
    if key_of(first) == key_of(second):
        raise FactError(f"{first} recorded it; another person must confirm what holds from a past day")
    return second


def with_hours_over(how: Recording, changes: Iterable[FactChange], held: Mapping[str, Center]) -> Recording:
    """As these changes need it: opening hours that are over are the past, though their day is not."""
    pairs = ((held[i.center].at(how.now_ms).opening, str(i.value)) for i in changes if i.name == "opening")
    return replace(how, changes_past=any(_over(one, how) != _over(other, how) for one, other in pairs))


def is_over(fact: Fact, now_ms: int, today_ms: int) -> bool:
    """Whether time that is over would be otherwise without it."""
    return fact.from_ms < today_ms or (fact.name == "opening" and fact.from_ms <= now_ms)


def _over(opening: str, how: Recording) -> list[tuple[int, int]]:
    return list(spans_between(parse(opening), how.from_ms, max(how.from_ms, how.now_ms)))


# ---------------------------------------------------------------- asking


def facts_of(conn: sa.Connection, codes: Iterable[str]) -> dict[str, list[Fact]]:
    """Every fact of these centers, withdrawn ones too, by center in the order of recording."""
    by_center: dict[str, list[Fact]] = defaultdict(list)
    names = sorted(set(codes))
    for first in range(0, len(names), MOST):
        mine = _f.center.in_(names[first : first + MOST])
        for row in conn.execute(sa.select(schema.facts).where(mine).order_by(_f.id)):
            by_center[row.center].append(_fact(row))
    return by_center


def waiting(conn: sa.Connection) -> list[Fact]:
    """What waits for a second person, the oldest first."""
    mine = _f.is_backdated & _f.confirmed_ms.is_(None) & _f.withdrawn_ms.is_(None)
    return [_fact(row) for row in conn.execute(sa.select(schema.facts).where(mine).order_by(_f.id))]


def backdated(facts: Iterable[Fact], from_ms: int, to_ms: int) -> list[Fact]:
    """Pure. The facts recorded after the day from which they hold that hold at any time of this period."""
    by_name: dict[str, list[Fact]] = defaultdict(list)
    for fact in sorted((fact for fact in facts if fact.is_known()), key=lambda fact: (fact.from_ms, fact.id)):
        by_name[fact.name].append(fact)
    held = (
        fact
        for own in by_name.values()
        for fact in own
        if from_ms < fact.from_ms < to_ms or fact is _held(own, from_ms)
    )
    return sorted((fact for fact in held if fact.is_backdated and fact.from_ms < to_ms), key=lambda fact: fact.id)


def of_import(conn: sa.Connection, number: int) -> list[Fact]:
    return [_fact(row) for row in conn.execute(sa.select(schema.facts).where(_f.import_id == number).order_by(_f.id))]


def by_ids(conn: sa.Connection, ids: Iterable[int]) -> list[Fact]:
    """Raises FactError where there is none."""
    wanted = sorted(set(ids))
    rows = [_fact(row) for row in conn.execute(sa.select(schema.facts).where(_f.id.in_(wanted)).order_by(_f.id))]
    if lacking := set(wanted) - {row.id for row in rows}:
        raise FactError(f"fact {min(lacking)}: does not exist; see `nabz-collector center history CODE`")
    return rows


def _fact(row: sa.Row[Any]) -> Fact:
    fields = {name: value for name, value in row._mapping.items() if name != "waits"}
    fields["value"] = msgspec.json.decode(fields["value"])
    fields["evidence"] = tuple(msgspec.json.decode(fields["evidence"]))
    return Fact(**fields)


# ---------------------------------------------------------------- changing


def record(conn: sa.Connection, changes: Sequence[FactChange], how: Recording, held: Mapping[str, Center]) -> None:
    """Adds the changes. `held` are the centers as `centers` has them: of a name that has no fact yet, that is kept as
    what was before. The caller applies what holds now (`collector.register.dated.apply`)."""
    if how.is_backdated and how.second:
        another(how.by, how.second)
    known = {(fact.center, fact.name) for own in facts_of(conn, held).values() for fact in own}
    before = Recording(from_ms=0, now_ms=how.now_ms, today_ms=how.today_ms, by="", source="migrated")
    base = [item for item in changes if (item.center, item.name) not in known and item.center in held]
    rows = [_row(FactChange(i.center, i.name, held[i.center].facts()[i.name]), before) for i in base]
    _insert(conn, [*rows, *(_row(item, how) for item in changes)], how.now_ms)


def register(conn: sa.Connection, centers: Iterable[Center], how: Recording) -> None:
    """The first facts of new centers: all that is stated."""
    stated = (
        FactChange(center.code, name, value)
        for center in centers
        for name, value in center.facts().items()
        if name != "center" and value not in ("", None)
    )
    _insert(conn, list(map(partial(_row, how=how), stated)), how.now_ms)


def _insert(conn: sa.Connection, rows: Sequence[dict[str, object]], now_ms: int) -> None:
    """With their leaves in the transparency log, and their lines in the journal."""
    last = conn.scalar(sa.select(sa.func.max(_f.id))) or 0
    bulk_insert(conn, schema.facts, rows)
    for number in conn.scalars(sa.select(_f.id).where(_f.id > last)):
        journaled(conn, schema.facts, number)
    leaves.add_rows(conn, "facts", (_NEW | row for row in rows), now_ms)


def _row(change: FactChange, how: Recording) -> dict[str, object]:
    confirmed = how.is_backdated and bool(how.second)
    return {
        "center": change.center, "name": change.name, "value": msgspec.json.encode(change.value).decode(),
        "from_ms": how.from_ms, "recorded_ms": how.now_ms, "recorded_by": how.by, "reason": how.reason,
        "source": how.source, "import_id": how.import_id, "evidence": msgspec.json.encode(how.evidence).decode(),
        "is_backdated": how.is_backdated, "confirmed_ms": how.now_ms if confirmed else None,
        "confirmed_by": how.second if confirmed else "", "waits": how.from_ms > how.now_ms,
    }  # fmt: skip


_NEW = {"withdrawn_ms": None, "withdrawn_by": "", "withdrawn_why": ""}  # as the table has it of a row that is new


def confirm(conn: sa.Connection, facts: Sequence[Fact], by: str, now_ms: int) -> list[Fact]:
    """The second person confirms these of them that wait; returns those. Raises FactError."""
    pending = [fact for fact in facts if fact.state == "waiting"]
    if not pending:
        raise FactError("nothing of this waits for a second person; see `nabz-collector center fact waiting`")
    for fact in pending:
        another(fact.recorded_by, by)
    _update(conn, pending, now_ms, confirmed_ms=now_ms, confirmed_by=by)
    return pending


def withdraw(conn: sa.Connection, facts: Sequence[Fact], by: str, why: str, now_ms: int) -> None:
    """They hold no more, and never did; that they stood here is still known."""
    _update(conn, facts, now_ms, withdrawn_ms=now_ms, withdrawn_by=by, withdrawn_why=why, waits=False)


def _update(conn: sa.Connection, facts: Sequence[Fact], now_ms: int, **values: object) -> None:
    ids = [fact.id for fact in facts]
    for first in range(0, len(ids), MOST):
        mine = _f.id.in_(ids[first : first + MOST])
        conn.execute(sa.update(schema.facts).where(mine).values(**values))
    leaves.add_changed(conn, "facts", schema.facts, ids, now_ms)
    for number in ids:
        journaled(conn, schema.facts, number)


def centers_by_code(conn: sa.Connection, codes: Iterable[str]) -> dict[str, Center]:
    """Those of `codes` that exist, as `centers` has them."""
    by_code: dict[str, Center] = {}
    names, table = sorted(set(codes)), schema.centers
    for first in range(0, len(names), MOST):
        rows = conn.execute(sa.select(table).where(table.c.center.in_(names[first : first + MOST])))
        by_code |= {center.code: center for center in map(from_row, rows)}
    return by_code
