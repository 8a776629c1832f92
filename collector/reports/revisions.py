"""Revisions of a center's month as they are kept: who was given one, what one says otherwise than the last."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from collector.common.months import named
from collector.judging.reopening import Why, why_of
from collector.store import schema, upsert
from collector.store.journal import journaled

_r = schema.reports.c


@dataclass(frozen=True)
class Revision:
    """One row. `closed_ms` is None while it is being made; `changed` is what `differences` found."""

    number: int
    opened_ms: int
    closed_ms: int | None
    why: Why
    changed: Mapping[str, Any]
    sha256: str


def revisions_of(conn: sa.Connection, code: str, from_ms: int) -> list[Revision]:
    """All revisions of a center's month, oldest first, without their reports."""
    query = sa.select(_r.revision, _r.opened_ms, _r.closed_ms, _r.why, _r.changed, _r.sha256)
    rows = conn.execute(query.where(_r.center == code, _r.from_ms == from_ms).order_by(_r.revision))
    return [_revision(row) for row in rows]


def newest_of(conn: sa.Connection, code: str, limit: int) -> list[tuple[str, Revision]]:
    """The last months that a center was reported for, newest first, each with its newest revision."""
    n = schema.reports.alias()
    last = sa.select(sa.func.max(n.c.revision)).where(n.c.center == _r.center, n.c.from_ms == _r.from_ms)
    query = sa.select(_r.from_ms, _r.revision, _r.opened_ms, _r.closed_ms, _r.why, _r.changed, _r.sha256)
    mine = query.where(_r.center == code, _r.revision == last.scalar_subquery())
    return [(named(row.from_ms), _revision(row)) for row in conn.execute(mine.order_by(_r.from_ms.desc()).limit(limit))]


def _revision(row: Any) -> Revision:
    changed = msgspec.json.decode(row.changed)
    return Revision(row.revision, row.opened_ms, row.closed_ms, why_of(row.why), changed, row.sha256)


def give(
    conn: sa.Connection, code: str, from_ms: int, number: int, person: str, now_ms: int, *, given_by: str = ""
) -> None:
    """Records who was given a revision: by somebody as a file, or by the pages to whoever fetched it there."""
    row = {
        "center": code, "from_ms": from_ms, "revision": number, "person": person[:128],
        "means": "file" if given_by else "page", "given_by": given_by, "at_ms": now_ms,
    }  # fmt: skip
    key = tuple(row[column.name] for column in schema.report_recipients.primary_key)
    mine = [column == value for column, value in zip(schema.report_recipients.primary_key, key, strict=True)]
    is_new = conn.execute(sa.select(sa.literal(1)).select_from(schema.report_recipients).where(*mine)).first() is None
    upsert(conn, schema.report_recipients, [row])
    if is_new:  # that it was fetched again says nothing more
        journaled(conn, schema.report_recipients, *key)


def recipients_of(conn: sa.Connection, code: str, from_ms: int | None = None) -> list[dict[str, Any]]:
    """Who was given which revision of a month, or of all months; the last ones last."""
    g = schema.report_recipients.c
    query = sa.select(g.from_ms, g.revision, g.person, g.means, g.given_by, g.at_ms).where(g.center == code)
    mine = query if from_ms is None else query.where(g.from_ms == from_ms)
    return [dict(row) for row in conn.execute(mine.order_by(g.at_ms, g.person)).mappings()]


def given_by_month(conn: sa.Connection, code: str) -> dict[str, list[dict[str, Any]]]:
    """`recipients_of` by the names of the months."""
    by_month: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in recipients_of(conn, code):
        by_month[named(row["from_ms"])].append(row)
    return by_month


def report_of(conn: sa.Connection, code: str, from_ms: int, number: int) -> dict[str, Any]:
    """The report of a closed revision, as it was made."""
    query = sa.select(_r.body).where(_r.center == code, _r.from_ms == from_ms, _r.revision == number)
    return unpacked(conn.execute(query).scalar_one())


def packed(report: Mapping[str, Any]) -> bytes:
    return zlib.compress(msgspec.json.encode(report))


def unpacked(body: bytes) -> dict[str, Any]:
    report: dict[str, Any] = msgspec.json.decode(zlib.decompress(body))
    return report


# ---------------------------------------------------------------- what it changes

SHOWN = ("verdict", "samples", "met_pct", "median", "coverage_pct")
# Where formats differ in the form of reasons and in their buckets: what a report of one format cannot be asked to tell
# as another does.
_FORM = frozenset({"format", "reason", "reasons", "not_counted", "names", "evidence", "ledger"})


_ADDING = 4  # formats since then only add parts


def _same_form(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    one, other = int(old.get("format", 1)), int(new.get("format", 1))
    return one == other or min(one, other) >= _ADDING


def _without_format(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in report.items() if name != "format"}


def comparable(value: Any) -> Any:
    """A report, or a part of one, without what its format alone makes different."""
    if isinstance(value, Mapping):
        return {name: comparable(part) for name, part in value.items() if name not in _FORM}
    return [comparable(part) for part in value] if isinstance(value, list | tuple) else value


def of_one_form(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Any, Any]:
    """Both reports so that they can be compared: as they are, or as far as the older format goes."""
    if old.get("format") == new.get("format"):
        return old, new
    if _same_form(old, new):
        return _without_format(old), _as_far(_without_format(old), new)
    return comparable(old), _as_far(comparable(old), comparable(new))


def _as_far(old: Any, new: Any) -> Any:
    """What `new` says of what `old` speaks of."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {name: _as_far(part, new.get(name)) for name, part in old.items()}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_as_far(one, other) for one, other in zip(old, new, strict=True)]
    return new


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Pure. The criteria and the minutes of the ledger that two reports tell otherwise, old and new side by side."""
    before, after = (_by_row(report) for report in of_one_form(old, new))
    named = _by_row(old) | _by_row(new)
    criteria = [
        {
            **{name: named[key][name] for name in _NAMES if name in named[key]},
            "was": _shown(before.get(key)),
            "now": _shown(after.get(key)),
        }
        for key in [*before, *(key for key in after if key not in before)]
        if before.get(key) != after.get(key)
    ]
    minutes = {
        name: {"was": old["ledger"][name], "now": count}
        for name, count in new["ledger"].items()
        if _same_form(old, new) and old["ledger"][name] != count
    }
    return {"criteria": criteria, "minutes": minutes}


_NAMES = ("criterion", "subject", "name", "name_ur", "names")


def _by_row(report: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(row["criterion"], row["subject"]): row for row in report["criteria"]}


def _shown(row: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: None if row is None else row[name] for name in SHOWN}
