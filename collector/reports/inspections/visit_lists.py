"""Lists of random visits as rows: published by the hash of their seed, then drawn."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason
from agent.common.words import CodedError
from collector.judging import score
from collector.reports.inspections import draw
from collector.store import schema
from collector.store.journal import journaled, leaves

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
MOST = 1000
LEAST_WEIGHT = 1.0  # of a center of which nothing was found: none is safe
KIND: leaves.LeafKind = "visits"

_v, _c, _l = schema.visit_lists.c, schema.centers.c, schema.log_leaves.c


class VisitError(CodedError):
    """A list is not published or drawn so; its code says why."""

    def __init__(self, code: str, name: str) -> None:
        super().__init__(Reason.of(code, name=name[:32], most=MOST))


@dataclass(frozen=True, kw_only=True)
class VisitList:
    """A row. `weights` and `visits` are empty until it is drawn, and so is the seed."""

    name: str
    number: int
    seed_hash: str
    published_ms: int
    published_by: str
    drawn_ms: int | None
    drawn_by: str
    seed: str
    weights: tuple[tuple[str, float], ...]
    visits: tuple[str, ...]


def listed(conn: sa.Connection) -> list[VisitList]:
    """The newest first."""
    rows = conn.execute(sa.select(*_COLUMNS).order_by(_v.published_ms.desc(), _v.name))
    return [_visit_list(row) for row in rows]


def get(conn: sa.Connection, name: str) -> VisitList:
    """Raises VisitError."""
    row = conn.execute(sa.select(*_COLUMNS).where(_v.name == name)).one_or_none()
    if row is None:
        raise VisitError("visits.unknown", name)
    return _visit_list(row)


_COLUMNS = [_v[field.name] for field in fields(VisitList)]


def _visit_list(row: Any) -> VisitList:
    values = dict(row._mapping)
    values["weights"] = tuple((str(code), float(weight)) for code, weight in json.loads(values["weights"]))
    return VisitList(**values | {"visits": tuple(json.loads(values["visits"]))})


def publish(conn: sa.Connection, secret: bytes, name: str, number: int, by: str, now_ms: int) -> VisitList:
    """The hash of the seed becomes a leaf of the log; the seed itself is drawn from the collector's secret and stands
    nowhere. Raises VisitError."""
    if NAME.fullmatch(name) is None or not 1 <= number <= MOST:
        raise VisitError("visits.no_name", name)
    if conn.execute(sa.select(_v.name).where(_v.name == name)).first() is not None:
        raise VisitError("visits.known", name)
    seed_hash = draw.hash_of(draw.seed_of(secret, name))
    row = {"name": name, "number": number, "seed_hash": seed_hash, "published_ms": now_ms, "published_by": by}
    conn.execute(sa.insert(schema.visit_lists).values(row))
    leaves.add(conn, KIND, "", name, now_ms, list=name, number=number, seed_hash=seed_hash)
    journaled(conn, schema.visit_lists, name)
    return get(conn, name)


def draw_list(conn: sa.Connection, secret: bytes, name: str, by: str, now_ms: int) -> VisitList:
    """Once, and only after the log has the hash of the seed under a signed head. Raises VisitError."""
    held = get(conn, name)
    if held.drawn_ms is not None:
        raise VisitError("visits.drawn_already", name)
    if _leaf_numbers(conn, name)[0] is None:
        raise VisitError("visits.not_logged", name)
    seed = draw.seed_of(secret, name)
    if draw.hash_of(seed) != held.seed_hash:
        raise VisitError("visits.other_key", name)
    weights = weights_of(conn, score.month_of(now_ms))
    visits = draw.drawn(seed, weights, held.number)
    values = {"seed": seed, "weights": json.dumps(weights), "visits": json.dumps(visits)}
    conn.execute(sa.update(schema.visit_lists).where(_v.name == name).values(**values, drawn_ms=now_ms, drawn_by=by))
    digest = hashlib.sha256(json.dumps([weights, visits]).encode()).hexdigest()
    leaves.add(conn, KIND, "", name, now_ms, list=name, seed=seed, sha256=digest)
    journaled(conn, schema.visit_lists, name)
    return get(conn, name)


def weights_of(conn: sa.Connection, month: str) -> list[tuple[str, float]]:
    """All centers that are not closed, by code; a center weighs more by its integrity score of the month."""
    scores = {one.center: one.score for one in score.compute(conn, month, score.shipped())}
    codes = conn.scalars(sa.select(_c.center).where(_c.lifecycle != "closed").order_by(_c.center))
    return [(str(code), round(LEAST_WEIGHT + scores.get(code, 0.0), 2)) for code in codes]


def facts(conn: sa.Connection, held: VisitList) -> dict[str, Any]:
    """All that anybody needs to redo the draw, with the places of its leaves in the log."""
    published, made = _leaf_numbers(conn, held.name)
    values = {field.name: getattr(held, field.name) for field in fields(VisitList)}
    return values | {"published_leaf": published, "drawn_leaf": made}


def _leaf_numbers(conn: sa.Connection, name: str) -> tuple[int | None, int | None]:
    mine = (_l.kind == KIND) & (_l.name == name)
    numbers: list[int | None] = list(conn.scalars(sa.select(_l.number).where(mine).order_by(_l.id)))
    first, second = [*numbers, None, None][:2]
    return first, second
