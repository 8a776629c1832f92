"""Files that are given with an incident: each is an event of it, and its bytes are kept by their hash."""

from __future__ import annotations

import hashlib

import pytest
import sqlalchemy as sa

from collector.common.scope import Scope
from collector.desk import files, work
from collector.desk.files import MAX_FILES
from collector.desk.incident import WorkError
from collector.desk.view import queries
from collector.store import schema
from collector.store.journal import MARKS
from tests.collector.desk.test_work import STANDARDS, Room, do

PHOTO = b"\xff\xd8\xff\xe0JFIF of a pole"
DIGEST = hashlib.sha256(PHOTO).hexdigest()


def held(room: Room, scope: Scope | None = None) -> list[tuple[str, str, bool]]:
    with room.store.read() as conn:
        facts = queries.whole(conn, STANDARDS, room.now_ms, 1, *([scope] if scope else []))
    return [(one["name"], one["added_by"], one["is_lost"]) for one in facts["files"]]


def test_a_file_is_an_event_that_has_its_line_and_is_told_to_nobody(room: Room) -> None:
    room.change("LHR-1")
    with room.store.write() as conn:
        work.attach(conn, 1, "C:\\pole.html", PHOTO, "Ayesha", "it fell", room.now_ms)
        assert {name for name, _ in conn.info[MARKS]} == {"incident_events", "incidents"}
        assert files.get(conn, 1, DIGEST)[1] == PHOTO
    assert held(room) == [("pole.html.jpg", "Ayesha", False)]
    assert room.acts()[-1] == "attached"
    assert room.acts(told=True) == ["opened"]
    room.change("LHR-1", "clear")
    do(room, work.attach, 1, "after.csv", b"a,b\n1,2\n", "Bilal", "")
    assert [name for name, _, _ in held(room)] == ["pole.html.jpg", "after.csv"]


def test_bytes_that_a_copy_lacked_are_given_again_and_others_are_not_handed_out(room: Room) -> None:
    room.change("LHR-1")
    do(room, work.attach, 1, "pole.jpg", PHOTO, "Ayesha", "")
    with pytest.raises(WorkError, match=r"has it already, as pole\.jpg"):
        do(room, work.attach, 1, "again.jpg", PHOTO, "Ayesha", "")
    with room.store.write() as conn:
        conn.execute(sa.update(schema.attachment_bodies).values(body=b"another"))
        with pytest.raises(WorkError, match=r"not in this database"):
            files.get(conn, 1, DIGEST)
    do(room, work.attach, 1, "again.jpg", PHOTO, "Ayesha", "")
    with room.store.write() as conn:
        conn.execute(sa.delete(schema.attachment_bodies))
    assert held(room) == [("pole.jpg", "Ayesha", True)]
    do(room, work.attach, 1, "again.jpg", PHOTO, "Ayesha", "")
    assert held(room) == [("pole.jpg", "Ayesha", False)]
    assert room.acts().count("attached") == 1


@pytest.mark.parametrize(
    ("body", "number", "why"),
    [(b"", 0, "is empty"), (b"a" * 4_000_001, 0, "over 4 MB"), (b"<svg>", 0, "must be a JPEG"),
     (PHOTO, MAX_FILES, "takes 20")],
)  # fmt: skip
def test_what_is_not_taken_says_why(body: bytes, number: int, why: str) -> None:
    with pytest.raises(WorkError, match=why):
        files.check("pole.jpg", body, number)


def test_whoever_sees_a_part_of_an_incident_sees_no_files_of_it(room: Room) -> None:
    room.change("LHR-1")
    do(room, work.attach, 1, "pole.jpg", PHOTO, "Ayesha", "")
    with room.store.write() as conn:
        conn.execute(sa.insert(schema.incident_members).values(
            incident=1, center="LHR-2", criterion="internet.loss", subject="", joined_ms=room.now_ms,
            severity="serious",
        ))  # fmt: skip
        owner = {code: conn.scalar(sa.select(schema.centers.c.owner).where(schema.centers.c.center == code))
                 for code in ("LHR-1", "LHR-2")}  # fmt: skip
        conn.execute(sa.update(schema.centers).where(schema.centers.c.center == "LHR-2").values(owner="Another Trust"))
    assert owner["LHR-1"] is not None
    assert held(room, Scope(owner=frozenset({str(owner["LHR-1"])}))) == []
    assert len(held(room)) == 1
