"""Every fact of a center holds from a day, was recorded at a time by a person, and can be taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from agent.common.center_time import TZ
from collector.__main__ import main
from collector.register import centers, dated, facts, imports, owners
from collector.register.facts import Fact, FactError, Recording
from collector.store import Store, migrate

HEAD = "center,name,tier,seats_promised,isp,opening,owner,feeder,city"
LINE = "LHR-1,Johar Town,two,20,ISP-A,Mon-Sat 09:00-21:00,Rehman & Sons,F-7,Lahore"
DAY = 86_400_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


NOW = at("2026-10-28T15:00")
AYESHA = imports.Origin(by="Ayesha", reason="as the inspector saw it")


def imported(
    store: Store, *lines: str, now_ms: int = NOW, day: str = "", origin: imports.Origin = AYESHA
) -> centers.Import:
    with store.write() as conn:
        return imports.do_import(conn, lines, now_ms, dated.day_ms(day) if day else None, origin)


def on(store: Store, day: str, known: str = "", code: str = "LHR-1") -> centers.Center:
    with store.read() as conn:
        found = dated.facts_at(conn, code, at(day), at(known) if known else None)
    assert found is not None
    return found


def how(day: str, now_ms: int = NOW, second: str = "") -> Recording:
    return Recording(
        from_ms=dated.day_ms(day),
        now_ms=now_ms,
        today_ms=dated.today_ms(now_ms),
        by="Ayesha",
        reason="x",
        second=second,
    )


@pytest.fixture
def store(either_store: Store) -> Store:
    imported(either_store, HEAD, LINE, now_ms=at("2026-09-01T10:00"))
    return either_store


# ---------------------------------------------------------------- what holds when


def test_a_file_of_five_columns_touches_those_and_leaves_what_was(store: Store) -> None:
    done = imported(store, "center,name,tier,seats_promised,opening", "LHR-1,Johar Town,two,30,Mon-Sat 10:00-16:00")
    assert {item.column for item in done.differences} == {"seats_promised", "opening"}
    before, after = on(store, "2026-10-27"), on(store, "2026-10-28")
    assert (before.seats_promised, before.opening) == (20, "Mon-Sat 09:00-21:00")
    assert replace(after, seats_promised=20, opening=before.opening) == before
    assert (after.isp, after.owner, after.city, after.feeder) == ("ISP-A", "Rehman & Sons", "Lahore", "F-7")


def test_what_was_known_then_is_told_apart_from_what_is_known_now(store: Store) -> None:
    with store.write() as conn:
        fact = centers.set_fact(conn, "LHR-1", "contract_down_mbps", "50", how("2026-10-01"))
    assert fact.state == "waiting"
    assert on(store, "2026-10-15").contract_down_mbps is None
    with store.write() as conn:
        with pytest.raises(FactError, match="another person must confirm"):
            facts.confirm(conn, [fact], " AYESHA ", NOW + DAY)
        facts.confirm(conn, [fact], "Bilal", NOW + DAY)
        with pytest.raises(FactError, match="nothing of this waits"):
            facts.confirm(conn, facts.by_ids(conn, [fact.id]), "Chand", NOW + DAY)
    assert on(store, "2026-10-15").contract_down_mbps == 50
    assert on(store, "2026-09-30").contract_down_mbps is None
    assert on(store, "2026-10-15", known="2026-10-29T10:00").contract_down_mbps is None
    with store.read() as conn:
        own = facts.facts_of(conn, ["LHR-1"])["LHR-1"]
        assert dated.facts_at(conn, "LHR-1", NOW, at("2026-08-31")) is None
    october = at("2026-10-01"), at("2026-11-01")
    assert [(one.name, one.recorded_by, one.confirmed_by) for one in facts.backdated(own, *october)] == [
        ("contract_down_mbps", "Ayesha", "Bilal")
    ]
    assert facts.backdated(own, at("2026-09-01"), at("2026-10-01")) == []


def test_an_owner_has_the_centers_that_were_his_on_the_day(store: Store) -> None:
    imported(store, HEAD, LINE.replace("LHR-1", "LHR-2"), now_ms=at("2026-09-01T11:00"))
    with store.write() as conn:
        owners.put(conn, "Rehman  & sons", "Ayesha", NOW, phone="042 111")
        sold = centers.set_fact(conn, "LHR-2", "owner", "Malik Brothers", how("2026-10-28"))
        assert sold.state == "holds"
        then = [one.code for one in owners.centers_on(conn, "rehman & sons", at("2026-10-27"))]
        now = [one.code for one in owners.centers_on(conn, "rehman & sons", at("2026-10-28"))]
        listed = [(row["name"], row["phone"], row["centers"]) for row in owners.listed(conn)]
    assert (then, now) == (["LHR-1", "LHR-2"], ["LHR-1"])
    assert listed == [("Malik Brothers", "", ["LHR-2"]), ("Rehman  & sons", "042 111", ["LHR-1"])]


def test_a_step_of_the_lifecycle_keeps_who_decided_it_why_and_on_what(store: Store) -> None:
    evidence = ({"name": "visit.pdf", "sha256": "0" * 64, "size": 7},)
    with store.write() as conn:
        centers.move(conn, "LHR-1", "inspected", NOW, "Ayesha", "visited", evidence)
        centers.move(conn, "LHR-1", "declared", NOW + DAY, "Bilal", "seats and UPS as asked")
        steps = [fact for fact in facts.facts_of(conn, ["LHR-1"])["LHR-1"] if fact.name == "lifecycle"]
    assert [(one.value, one.recorded_by, one.reason, one.evidence) for one in steps[1:]] == [
        ("inspected", "Ayesha", "visited", evidence), ("declared", "Bilal", "seats and UPS as asked", ()),
    ]  # fmt: skip
    assert on(store, "2026-10-28").lifecycle == "inspected"
    assert on(store, "2026-10-29").lifecycle == "declared"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("seats_promised", "many", "is not a whole number"),
        ("lifecycle", "closed", "a stage is no fact to set"),
        ("generator_kva", "-3", "is not above 0"),
        ("colour", "red", "is no fact; facts are name"),
    ],
)
def test_a_fact_that_is_none_is_refused(sqlite_store: Store, name: str, text: str, sentence: str) -> None:
    imported(sqlite_store, HEAD, LINE)
    with sqlite_store.write() as conn, pytest.raises(centers.CenterError, match=sentence):
        centers.set_fact(conn, "LHR-1", name, text, how("2026-10-28"))


@pytest.mark.parametrize(
    ("day", "opening", "state"),
    [
        ("2026-10-28", "Mon-Sat 09:00-22:00", "holds"),  # the evening is still to come
        ("2026-10-28", "Mon-Sat 12:00-21:00", "waiting"),  # a bad morning would be closed
        ("2026-10-28", "Mon-Sat 08:00-21:00", "waiting"),  # and a good one open
        ("2026-10-29", "Mon-Sat 12:00-21:00", "holds"),
    ],
)
def test_hours_of_today_that_are_over_are_the_past(store: Store, day: str, opening: str, state: str) -> None:
    with store.write() as conn:
        fact = centers.set_fact(conn, "LHR-1", "opening", opening, how(day))
    assert (fact.state, on(store, f"{day}T16:00").opening == opening) == (state, state == "holds")
    if state == "waiting":
        with store.write() as conn, pytest.raises(FactError, match="another person"):
            facts.confirm(conn, [fact], "Ayesha", NOW + 1)
        with store.write() as conn:
            facts.confirm(conn, [fact], "Bilal", NOW + 1)
        assert on(store, f"{day}T10:00").opening == opening


def test_an_import_that_closes_this_morning_waits_whole(store: Store) -> None:
    done = imported(store, "center,isp,opening", "LHR-1,ISP-B,Mon-Sat 12:00-21:00")
    assert done.waits
    assert (on(store, "2026-10-28").isp, on(store, "2026-10-28").opening) == ("ISP-A", "Mon-Sat 09:00-21:00")


# ---------------------------------------------------------------- taking back


def test_an_import_of_today_is_taken_back_by_who_made_it(store: Store) -> None:
    done = imported(store, "center,isp,seats_promised", "LHR-1,ISP-B,30")
    with store.write() as conn:
        undone = imports.undo(conn, done.number or 0, AYESHA, NOW + 1)
        now = centers.get(conn, "LHR-1")
        with pytest.raises(centers.CenterError, match="was taken back by Ayesha already"):
            imports.undo(conn, done.number or 0, AYESHA, NOW + 2)
        listed = [(row["id"], row["facts"], row["undone_by"]) for row in imports.listed(conn)]
    assert (len(undone.facts), now.isp, now.seats_promised) == (2, "ISP-A", 20)
    assert listed[0] == (done.number, 2, "Ayesha")
    assert on(store, "2026-10-28", known="2026-10-28T15:00").isp == "ISP-B"  # that it stood here is still known


def test_what_has_held_for_days_is_taken_back_by_two(store: Store) -> None:
    done = imported(store, "center,isp", "LHR-1,ISP-B")
    later = NOW + 3 * DAY
    with store.write() as conn:
        with pytest.raises(FactError, match="needs two persons by name"):
            imports.undo(conn, done.number or 0, AYESHA, later)
        with pytest.raises(FactError, match="another person must confirm"):
            imports.undo(conn, done.number or 0, replace(AYESHA, second="ayesha"), later)
        imports.undo(conn, done.number or 0, replace(AYESHA, second="Bilal"), later)
    assert on(store, "2026-10-29").isp == "ISP-A"


def test_centers_that_an_import_added_go_with_it_unless_somebody_built_on_them(store: Store) -> None:
    one = imported(store, HEAD, LINE.replace("LHR-1", "LHR-8"), LINE.replace("LHR-1", "LHR-9"))
    two = imported(store, "center,isp", "LHR-9,ISP-B")
    with store.write() as conn:
        with pytest.raises(centers.CenterError, match="LHR-9 was changed since"):
            imports.undo(conn, one.number or 0, AYESHA, NOW)
        imports.undo(conn, two.number or 0, AYESHA, NOW)
        assert imports.undo(conn, one.number or 0, AYESHA, NOW).removed == ("LHR-8", "LHR-9")
        assert [center.code for center in centers.all_centers(conn)] == ["LHR-1"]


# ---------------------------------------------------------------- pure


def fact(number: int, from_ms: int, value: str, name: str = "isp", **more: object) -> Fact:
    usual = {
        "id": number, "center": "C", "name": name, "value": value, "from_ms": from_ms, "recorded_ms": number,
        "recorded_by": "", "reason": "", "source": "set", "import_id": None, "evidence": (), "is_backdated": False,
        "confirmed_ms": None, "confirmed_by": "", "withdrawn_ms": None, "withdrawn_by": "", "withdrawn_why": "",
    }  # fmt: skip
    return Fact(**(usual | more))  # type: ignore[arg-type]


rows = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.sampled_from(["isp", "city"]), st.booleans()))


@given(rows, st.integers(0, 9), st.randoms(use_true_random=False))
def test_what_holds_is_the_fact_that_begins_last_and_of_one_day_the_last_recorded(
    made: list[tuple[int, str, str, bool]], at_ms: int, dice: object
) -> None:
    found = [
        fact(n, start, value, name, withdrawn_ms=99 if gone else None)
        for n, (start, value, name, gone) in enumerate(made)
    ]
    line = facts.timeline(found)
    shuffled = sorted(found, key=lambda _: dice.random())  # type: ignore[attr-defined]
    assert facts.timeline(shuffled) == line  # order of rows does not matter
    for name in ("isp", "city"):
        own = [one for one in found if one.name == name and one.withdrawn_ms is None]
        begun = [one for one in own if one.from_ms <= at_ms]
        if begun:
            expected = max(begun, key=lambda one: (one.from_ms, one.id)).value
            assert [values for start, values in line if start <= at_ms][-1][name] == expected


# ---------------------------------------------------------------- data of before


@pytest.fixture
def before(database_url: str) -> Iterator[Store]:
    """A data folder of before facts: a center whose hours and provider had changed, and one that never did."""
    with closing(Store.attach(database_url)) as store:
        with store.write() as conn:
            migrate.upgrade(conn, "0015")
            row = (
                "INSERT INTO centers (center, name, tier, seats_promised, isp, opening, owner, lifecycle, since_ms, "
                "changed_ms) VALUES (:code, 'Town', 'two', 20, 'ISP-B', 'Mon-Sat 10:00-16:00', 'O', 'declared', "
                ":ms, :ms)"
            )
            for code in ("LHR-1", "LHR-2"):
                conn.execute(sa.text(row), {"code": code, "ms": at("2026-09-01T10:00")})
            past = sa.text(
                "INSERT INTO center_facts (center, from_ms, tier, seats_promised, isp, opening, recorded_ms, "
                "recorded_by, waits) VALUES ('LHR-1', :from_ms, 'two', 20, :isp, :opening, :recorded, 'Ayesha', :waits)"
            )
            for day, isp, opening in (("", "ISP-A", "always"), ("2026-10-10", "ISP-B", "Mon-Sat 10:00-16:00")):
                from_ms = dated.day_ms(day) if day else 0
                values = {"from_ms": from_ms, "isp": isp, "opening": opening, "recorded": NOW, "waits": False}
                conn.execute(past, values)
            migrate.upgrade(conn)
        yield store


def test_a_data_folder_of_before_opens_and_its_columns_are_facts(before: Store) -> None:
    assert (on(before, "2026-09-20").isp, on(before, "2026-10-10").isp) == ("ISP-A", "ISP-B")
    assert on(before, "2026-09-20", code="LHR-2").isp == "ISP-B"
    with before.read() as conn:
        found = facts.facts_of(conn, ["LHR-1"])["LHR-1"]
        assert set(sa.inspect(conn).get_table_names()) >= {"facts", "imports", "owners"}
    assert {(one.name, one.from_ms) for one in found if one.source == "migrated"} >= {("owner", at("2026-09-01"))}
    changed = [(one.name, one.recorded_by, one.is_backdated, one.state) for one in found if one.source == "import"]
    assert changed == [("isp", "Ayesha", True, "holds"), ("opening", "Ayesha", True, "holds")]
    imported(before, "center,isp", "LHR-2,ISP-C")
    assert (on(before, "2026-10-27", code="LHR-2").isp, on(before, "2026-10-28", code="LHR-2").isp) == (
        "ISP-B",
        "ISP-C",
    )


# ---------------------------------------------------------------- the commands


def test_the_commands_set_show_and_take_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "db")]
    (tmp_path / "a.csv").write_text(f"{HEAD}\n{LINE}\n")

    def answer(*words: str) -> object:
        capsys.readouterr()
        assert main([*words, "--json", *data]) == 0
        return json.loads(capsys.readouterr().out)

    answer("center", "import", str(tmp_path / "a.csv"))
    made = answer("center", "fact", "set", "LHR-1", "cabins", "4", "--reason", "counted", "--by", "Ayesha")
    assert (made["value"], made["state"], made["reason"]) == (4, "holds", "counted")  # type: ignore[index]
    assert [one["value"] for one in answer("center", "history", "LHR-1", "--fact", "cabins")] == [None, 4]  # type: ignore[attr-defined]
    assert answer("center", "facts", "LHR-1")["cabins"] == 4  # type: ignore[index]
    waits = answer(
        "center", "fact", "set", "LHR-1", "isp", "ISP-Z", "--from", "2026-01-01", "--reason", "bill", "--by", "Ayesha"
    )
    assert [one["id"] for one in answer("center", "fact", "waiting")] == [waits["id"]]  # type: ignore[attr-defined, index]
    assert main(["center", "fact", "withdraw", str(waits["id"]), "--reason", "typing", *data]) == 0  # type: ignore[index]
    assert answer("center", "fact", "waiting") == []
    assert main(["center", "import", "--undo", "1", *data]) == 2
    assert main(["center", "import", "--undo", "7", "--reason", "x", *data]) == 1
    assert answer("owner", "show", "rehman & sons")["centers"] == ["LHR-1"]  # type: ignore[index]
    assert main(["center", "move", "LHR-1", "closed", *data]) == 2
    assert "needs a reason; give --reason TEXT" in capsys.readouterr().err
    assert answer("center", "move", "LHR-1", "closed", "--reason", "sold", "--evidence", str(tmp_path / "a.csv"))
    assert [row["file"] for row in answer("center", "imports")] == ["a.csv"]  # type: ignore[attr-defined]
