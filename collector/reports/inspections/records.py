"""What an inspector saw at a center, answer by answer of the form: grade E4. Photos stay with whoever took them; here
are their hashes, so that none can be exchanged later."""

from __future__ import annotations

import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.reasons import Reason
from agent.common.words import CodedError
from collector.common.messages import one_line
from collector.register.center import Center
from collector.standard.criteria import FormItem
from collector.store import schema
from collector.store.journal import journaled, leaves

GRADE = "E4"
MAX_TEXT, MAX_PHOTOS, MAX_COUNT = 500, 100, 10_000_000
SHA256 = re.compile(r"[0-9a-f]{64}")
Answer = int | bool | str
YES, NO = ("yes", "1", "true"), ("no", "0", "false")

_i = schema.inspections.c


class InspectionError(CodedError):
    """It is not recorded so; its code says why."""

    def __init__(self, code: str, /, **params: str | int) -> None:
        super().__init__(Reason.of(code, **params))


class Photo(msgspec.Struct, frozen=True):
    """A file by its hash; the file itself is kept by whoever took it."""

    name: str
    sha256: str
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A row."""

    inspection: str
    center: str
    visit_list: str
    standard: str
    digest: str
    inspected_ms: int
    recorded_ms: int
    recorded_by: str
    answers: Mapping[str, Answer]
    photos: tuple[Photo, ...]
    remarks: str
    withdrawn_ms: int | None = None
    withdrawn_by: str = ""
    withdrawn_why: str = ""


# ---------------------------------------------------------------- pure


def parse(form: Sequence[FormItem], given: Mapping[str, str]) -> dict[str, Answer]:
    """Answers as people write them, by the items of the form; what was not looked at is left out. Raises
    InspectionError."""
    unknown = sorted(given.keys() - {item.id for item in form})
    if unknown:
        raise InspectionError("inspection.no_item", item=unknown[0][:64])
    answers: dict[str, Answer] = {}
    for item in form:
        text = " ".join(given.get(item.id, "").split())
        if text:
            answers[item.id] = _answer(item, text)
    if not answers:
        raise InspectionError("inspection.empty")
    return answers


def _answer(item: FormItem, text: str) -> Answer:
    if item.answer == "text":
        return one_line(text, MAX_TEXT)
    if item.answer == "yes_no":
        if text.lower() not in YES + NO:
            raise InspectionError("inspection.no_answer", item=item.id, wanted="yes, no")
        return text.lower() in YES
    if not (text.isascii() and text.isdigit() and int(text[:12]) <= MAX_COUNT):
        raise InspectionError("inspection.no_answer", item=item.id, wanted="0, 1, 2 …")
    return int(text)


def photos_of(lines: Iterable[str]) -> tuple[Photo, ...]:
    """From lines as `sha256sum` writes them: a hash, spaces, a name. Raises InspectionError."""
    photos: list[Photo] = []
    for line in filter(None, (line.strip() for line in lines)):
        digest, _, name = line.partition(" ")
        if SHA256.fullmatch(digest) is None or len(photos) >= MAX_PHOTOS:
            raise InspectionError("inspection.no_photo", limit=MAX_PHOTOS)
        photos.append(Photo(one_line(name.lstrip(" *"), 100), digest))
    return tuple(photos)


def compared(form: Sequence[FormItem], answers: Mapping[str, Answer], center: Center) -> list[dict[str, Any]]:
    """Each answer beside what the register has and what the form asks of this center."""
    rows = []
    for item in form:
        if item.id not in answers:
            continue
        answer, bound = answers[item.id], item.bound_of(center)
        met = None
        if bound is not None and not isinstance(answer, str):
            met = answer >= bound if item.at_least is not None else answer <= bound
        registered = getattr(center, item.fact) if item.fact else None
        names = dict(item.name.texts)
        rows.append({"item": item.id, "names": names, "answer": answer, "registered": registered, "bound": bound,
                     "is_met": met})  # fmt: skip
    return rows


# ---------------------------------------------------------------- rows


def of_centers(conn: sa.Connection, codes: Iterable[str], from_ms: int, to_ms: int) -> dict[str, list[Inspection]]:
    """Those of a time that were not withdrawn, by center."""
    wanted, by_center = set(codes), defaultdict[str, list[Inspection]](list)
    mine = _i.inspected_ms.between(from_ms, to_ms - 1) & _i.withdrawn_ms.is_(None)
    for row in conn.execute(sa.select(schema.inspections).where(mine).order_by(_i.inspected_ms, _i.inspection)):
        if row.center in wanted:
            by_center[row.center].append(_inspection(row))
    return by_center


def listed(conn: sa.Connection, center: str = "", limit: int = 200) -> list[Inspection]:
    """The newest first, withdrawn ones too."""
    query = sa.select(schema.inspections).order_by(_i.inspected_ms.desc(), _i.inspection).limit(limit)
    return [_inspection(row) for row in conn.execute(query.where(_i.center == center) if center else query)]


def get(conn: sa.Connection, name: str) -> Inspection:
    """Raises InspectionError."""
    row = conn.execute(sa.select(schema.inspections).where(_i.inspection == name)).one_or_none()
    if row is None:
        raise InspectionError("inspection.unknown", number=name[:32])
    return _inspection(row)


def _inspection(row: Any) -> Inspection:
    values = dict(row._mapping)
    values["answers"] = msgspec.json.decode(values["answers"])
    values["photos"] = msgspec.json.decode(values["photos"], type=tuple[Photo, ...])
    return Inspection(**values)


def record(conn: sa.Connection, one: Inspection) -> None:
    row = {field.name: getattr(one, field.name) for field in fields(Inspection)}
    row |= {name: msgspec.json.encode(row[name]).decode() for name in ("answers", "photos")}
    conn.execute(sa.insert(schema.inspections).values(row))
    _note(conn, one.inspection, one.recorded_ms)


def withdraw(conn: sa.Connection, one: Inspection, by: str, why: str, now_ms: int) -> None:
    """Raises InspectionError."""
    if one.withdrawn_ms is not None or not why.strip():
        raise InspectionError("inspection.not_withdrawn", number=one.inspection)
    values = {"withdrawn_ms": now_ms, "withdrawn_by": by, "withdrawn_why": one_line(why, MAX_TEXT)}
    conn.execute(sa.update(schema.inspections).where(_i.inspection == one.inspection).values(values))
    _note(conn, one.inspection, now_ms)


def _note(conn: sa.Connection, name: str, now_ms: int) -> None:
    journaled(conn, schema.inspections, name)
    row = conn.execute(sa.select(schema.inspections).where(_i.inspection == name)).mappings().one()
    leaves.add_rows(conn, "inspections", [dict(row)], now_ms)


def new_name() -> str:
    return secrets.token_hex(8)
