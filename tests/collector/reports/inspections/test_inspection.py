"""What inspectors saw: by the form of the standard, photos by hash, in the month's report as E4."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.__main__ import main
from collector.acts import inspections as acts
from collector.acts.person import ActingPerson
from collector.register.centers import Center
from collector.reports.audit import recorded
from collector.reports.inspections import records
from collector.reports.inspections.records import InspectionError
from collector.standard import StandardError, form, read
from collector.store import Store, schema, upsert
from tests.collector.empty_stores import empty_store
from tests.collector.reports.test_schedule import CENTER, DAY, DUE, FEBRUARY, STANDARDS, day, look, put
from tests.collector.reports.test_schedule import report as reported

EXAMPLE = (Path(form.__file__).parent / "example-2026-3.toml").read_bytes()
OWN = b"""
[[inspection]]
id = "desks"
answer = "count"
at_least = { one = 9, two = 6, three = 3 }
[inspection.name]
en = "Desks"
ur = "\xd9\x85\xdb\x8c\xd8\xb2"
"""
SARA = ActingPerson(name="Sara", now_ms=DUE + DAY, is_proven=True)
SEEN = FEBRUARY + 2 * DAY


@pytest.fixture
def store(tmp_path: Path):
    store = empty_store(tmp_path / "nabz.db")
    with store.write() as conn:
        upsert(conn, schema.centers, [replace(CENTER, cabins=4).row()])
        upsert(
            conn, schema.devices, [{"device": "g0", "center": CENTER.code, "public_key": b"", "enrolled_ms": FEBRUARY}]
        )
    yield store
    store.close()


def inspected(store: Store, **given: str) -> str:
    photo = records.photos_of(["a" * 64 + "  hall.jpg"])
    with store.write() as conn:
        return acts.inspect(conn, STANDARDS, CENTER.code, SEEN, given, photo, SARA, remarks="cold \n hall").inspection


def test_an_inspection_stands_in_the_month_beside_the_register_and_what_is_asked(store: Store) -> None:
    put(store, day(FEBRUARY, 2, 120), FEBRUARY)
    look(store, DUE)
    assert "inspections" not in reported(store)
    name = inspected(store, cabins="0", seat_price="9000", generator="no")
    look(store, DUE + DAY)
    found = reported(store, DUE + 2 * DAY)
    assert found["revision"]["why"] == {"inspections": 1}
    (one,) = found["inspections"]
    assert (one["grade"], one["recorded_by"], one["remarks"], one["photos"]) == ("E4", "Sara", "cold hall", ["a" * 64])
    rows = {row["item"]: (row["answer"], row["registered"], row["bound"], row["is_met"]) for row in one["answers"]}
    assert rows == {
        "cabins": (0, 4, 1.0, False), "seat_price": (9000, None, 10000.0, True), "generator": (False, None, None, None),
    }  # fmt: skip
    with store.write() as conn:
        acts.withdraw(conn, name, "another center", SARA)
    look(store, DUE + 2 * DAY)
    assert "inspections" not in reported(store, DUE + 3 * DAY)


def test_each_act_is_logged_and_a_row_that_is_edited_is_named(store: Store) -> None:
    name = inspected(store, cabins="2")
    with store.write() as conn:
        assert list(recorded._rows(conn, "inspections", CENTER.code)) == []
        acts.withdraw(conn, name, "wrong", SARA)
        assert list(recorded._rows(conn, "inspections", CENTER.code)) == []
        acts_done = conn.scalars(sa.select(schema.decisions.c.act).order_by(schema.decisions.c.id)).all()
        assert acts_done == ["inspected", "inspection_gone"]
        conn.execute(sa.update(schema.inspections).values(answers='{"cabins":9}'))
        found = {one.kind for one in recorded._rows(conn, "inspections", CENTER.code)}
        assert found == {"inspection_edited", "inspection_missing"}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"colour": "red"}, "no_item"), ({}, "empty"), ({"cabins": "  "}, "empty"), ({"cabins": "-1"}, "no_answer"),
        ({"cabins": "9" * 30}, "no_answer"), ({"cabins": "٣"}, "no_answer"), ({"generator": "maybe"}, "no_answer"),
    ],
)  # fmt: skip
def test_what_is_no_answer_of_the_form_is_refused(given: dict[str, str], code: str) -> None:
    with pytest.raises(InspectionError) as caught:
        records.parse(form.shipped(), given)
    assert caught.value.reason.code == f"inspection.{code}"


@pytest.mark.parametrize("line", ["x", "A" * 64 + " a", "a" * 63 + " a", "<script>"])
def test_a_photo_is_a_hash_and_a_name(line: str) -> None:
    with pytest.raises(InspectionError):
        records.photos_of([line])
    assert records.photos_of(["", f"{'a' * 64} *hall.jpg "])[0].name == "hall.jpg"


def test_a_version_brings_its_own_form_and_others_have_the_shipped_one() -> None:
    own = read(EXAMPLE + OWN, "own.toml")
    assert [item.id for item in form.form_of(own)] == ["desks"]
    center = Center(code="C", name="", tier="two", seats_promised=1, lifecycle="declared", opening="always")
    assert form.form_of(own)[0].bound_of(center) == 6
    assert form.form_of(read(EXAMPLE, "x")) is form.shipped()


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        (b'answer = "count"', b'answer = "colour"', "must be one of count"),
        (b'answer = "count"', b'answer = "yes_no"', "only of a number"),
        (b'id = "desks"', b"", "is missing"),
        (b'id = "desks"', b'id = "desks"\nfact = "owner"', "must be one of seats_promised"),
        (b'en = "Desks"\n', b"", "en: is missing"),
        (b'id = "desks"', b'id = "desks"\nsize = 3', "size: is not a key"),
        (b"[[inspection]]", OWN + b"[[inspection]]", "used by two inspection tables"),
    ],
)  # fmt: skip
def test_every_mistake_of_a_form_is_named(before: bytes, after: bytes, mistake: str) -> None:
    with pytest.raises(StandardError, match=mistake):
        read(EXAMPLE + OWN.replace(before, after), "own.toml")


def test_by_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "hall.jpg"
    photo.write_bytes(b"picture")
    common = ("--data", str(tmp_path))
    words = ["inspection", "record", CENTER.code, "cabins=3", "--at", "2026-02-03T11:00", "--photo", str(photo)]
    assert main([*words, *common]) == 0
    assert main([*words[:3], "cabins", *words[4:], *common]) == 2
    assert main([*words[:5], "2126-02-03T11:00", *common]) == 1
    with store.read() as conn:
        (one,) = records.listed(conn)
    assert one.photos[0].sha256 == hashlib.sha256(b"picture").hexdigest()
    capsys.readouterr()
    assert main(["inspection", "form", *common]) == 0
    assert "cabins" in capsys.readouterr().out
    assert main(["inspection", "withdraw", one.inspection, "--reason", "x", *common]) == 0
    assert main(["inspection", "list", *common]) == 0
    assert "withdrawn" in capsys.readouterr().out
