"""A dispute from filing to the revision of the report: what is stored, logged, noted and told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from collector.access.accounts import contacts, directory
from collector.access.accounts.contacts import Contact
from collector.access.accounts.policy import Account
from collector.acts import disputes, notices
from collector.acts.notices import NoticeBoard
from collector.acts.person import ActingPerson
from collector.common.scope import Scope
from collector.desk.routing.facts import PersonalChannel
from collector.judging import reopening
from collector.log import sequencing
from collector.register import calendar
from collector.register.dated import day_ms
from collector.reports import revisions, schedule
from collector.reports.audit import recorded
from collector.reports.disputes import records, witnessed
from collector.reports.disputes.dispute import DisputeError, Filing, Ruling
from collector.store import Store, schema, upsert
from collector.store.journal import MARKS
from tests.collector.reports.test_schedule import CENTER, DAY, DUE, FEBRUARY, MARCH, MINUTE, STANDARDS, day, look, put
from tests.collector.reports.test_schedule import report as reported

MONTH, NOW = "2026-02", DUE + DAY
FILING = Filing(center=CENTER.code, month=MONTH, day="2026-02-02", text="the mast \n fell", wants_test=True)
OMAR, SARA = ActingPerson(name="Omar", now_ms=NOW), ActingPerson(name="Sara", now_ms=NOW + 1, is_proven=True)
BOARD = NoticeBoard((PersonalChannel("sms", "telephone"),), "https://nabz.example")
HOUR = 60 * MINUTE
EXCUSED = (FEBRUARY + DAY + 9 * HOUR, FEBRUARY + DAY + 14 * HOUR)
UPHELD = Ruling(outcome="upheld", reason="the provider confirms it", excused=EXCUSED)


@pytest.fixture
def store(either_store: Store) -> Store:
    """February of one center, reported and closed."""
    device = {"device": "g0", "center": CENTER.code, "public_key": b"", "enrolled_ms": FEBRUARY}
    with either_store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
        upsert(conn, schema.devices, [device])
        operator = Contact("operator", "Omar", telephone="+92 300 0000000", lang="ur", scope=Scope())
        contacts.keep(conn, operator, Account("Amna", "admin", key="amna"), NOW)
    put(either_store, day(FEBRUARY, 2, 120), FEBRUARY)
    look(either_store, DUE)
    return either_store


def filed(store: Store, filing: Filing = FILING) -> int:
    with store.write() as conn:
        return disputes.file(conn, filing, OMAR, STANDARDS, 30).id


def test_an_upheld_dispute_takes_its_time_out_and_is_a_revision_of_the_report(store: Store) -> None:
    before = reported(store, NOW)
    number = filed(store)
    assert reported(store, NOW)["revision"]["number"] == 1  # a filing changes nothing
    with store.write() as conn:
        disputes.decide(conn, number, UPHELD, SARA, BOARD)
    assert look(store, NOW + DAY) == 1
    after = reported(store, NOW + 2 * DAY)
    assert (after["revision"]["number"], after["revision"]["why"]) == (2, {"calendar": 1, "disputes": 1})
    assert (before["ledger"]["excused"], after["ledger"]["excused"]) == (0, 300)
    (row,) = after["disputes"]
    assert (row["outcome"], row["filed_by"], row["decided_by"], row["reason"]) == (
        "upheld", "Omar", "Sara", "the provider confirms it",
    )  # fmt: skip
    (excluded,) = after["exclusions"]
    assert (excluded["code"], excluded["proposed_by"], excluded["approved_by"]) == ("dispute", "Omar", "Sara")
    with store.read() as conn:
        assert schedule.check(conn, CENTER.code, MONTH, STANDARDS, NOW + 2 * DAY) == []


def test_a_refused_dispute_is_in_the_report_too_and_takes_nothing_out(store: Store) -> None:
    number = filed(store)
    with store.write() as conn:
        disputes.decide(conn, number, Ruling(outcome="refused", reason="no sign of it"), SARA, BOARD)
    look(store, NOW + DAY)
    after = reported(store, NOW + 2 * DAY)
    assert (after["revision"]["why"], after["ledger"]["excused"]) == ({"disputes": 1}, 0)
    assert after["disputes"][0]["outcome"] == "refused"


def test_what_is_done_is_in_the_activity_log_the_transparency_log_and_the_journal(store: Store) -> None:
    with store.write() as conn:
        number = disputes.file(conn, FILING, OMAR, STANDARDS, 30).id
        assert ("disputes", (number,)) in conn.info[MARKS]
    with store.write() as conn:
        disputes.decide(conn, number, UPHELD, SARA, BOARD)
        rows = conn.execute(sa.select(schema.decisions).where(schema.decisions.c.act.like("dispute_%"))).all()
        assert [(row.act, row.person, row.is_proven, row.center) for row in rows] == [
            ("dispute_filed", "Omar", False, CENTER.code), ("dispute_decided", "Sara", True, CENTER.code),
        ]  # fmt: skip
        assert rows[0].reason == "2026-02-02: the mast fell"
        assert len(list(sequencing.marks_of(conn, "disputes"))) == 2
        assert list(recorded._rows(conn, "disputes", CENTER.code)) == []
        conn.execute(sa.update(schema.disputes).values(outcome="refused"))
        assert [one.kind for one in recorded._rows(conn, "disputes", CENTER.code)] == ["dispute_edited"]
        conn.execute(sa.delete(schema.disputes))
        assert [one.kind for one in recorded._rows(conn, "disputes", CENTER.code)] == ["dispute_missing"]


def test_the_operator_is_told_in_their_language_and_others_are_not(store: Store) -> None:
    number = filed(store)
    with store.write() as conn:
        other = Contact("operator", "Zed", telephone="+92 300 1", scope=Scope(district=frozenset({"Quetta"})))
        contacts.keep(conn, other, Account("Amna", "admin", key="amna"), NOW)
        directory.add(conn, "Dana", "kept", "desk", Scope(), "root", NOW)
        disputes.decide(conn, number, UPHELD, SARA, BOARD)
        (alert,) = conn.execute(sa.select(schema.alerts)).all()
    assert (alert.kind, alert.state, alert.address, alert.channel) == ("notice", "waiting", "+92 300 0000000", "sms")
    assert "منظور" in alert.text
    assert "the provider confirms it" in alert.text
    assert f"https://nabz.example/disputes/{number}" in alert.text


def test_whoever_holds_a_report_that_was_superseded_is_written_to_once(store: Store) -> None:
    with store.write() as conn:
        sara = Contact("person", "Sara", telephone="+92 300 1", scope=Scope())
        contacts.keep(conn, sara, Account("Amna", "admin", key="amna"), NOW)
        for name in ("Sara", "Dana", "Zed"):
            directory.add(conn, name, "kept", "auditor", Scope(), "root", NOW)
        revisions.give(conn, CENTER.code, FEBRUARY, 1, "sara", NOW)
        revisions.give(conn, CENTER.code, FEBRUARY, 1, "Dana", NOW)  # no channel reaches her
        revisions.give(conn, CENTER.code, FEBRUARY, 1, "A newspaper", NOW, given_by="Amna")
        revisions.give(conn, CENTER.code, MARCH, 1, "Zed", NOW)  # another month
        disputes.decide(conn, disputes.file(conn, FILING, OMAR, STANDARDS, 30).id, UPHELD, SARA, NoticeBoard())

    def tell(conn: sa.Connection, code: str, from_ms: int, number: int, now_ms: int) -> int:
        return notices.tell_holders(conn, BOARD, code, from_ms, number, now_ms)

    at_ms = NOW + DAY
    schedule.begin(store, STANDARDS, at_ms)
    assert schedule.finish(store, STANDARDS, at_ms + reopening.SETTLE_MS, supersede=tell) == 1
    with store.write() as conn:
        (alert,) = conn.execute(sa.select(schema.alerts)).all()
        assert (alert.kind, alert.person, alert.address, alert.state) == ("notice", "sara", "+92 300 1", "waiting")
        assert "You were given revision 1 of the report 2026-02" in alert.text
        assert f"https://nabz.example/centers/{CENTER.code}#months" in alert.text
        revisions.give(conn, CENTER.code, FEBRUARY, 2, "Sara", NOW)
        assert tell(conn, CENTER.code, FEBRUARY, 2, at_ms) == 0  # has the new one


def test_the_same_is_disputed_once_and_again_after_it_is_over(store: Store) -> None:
    number = filed(store)
    with pytest.raises(DisputeError, match=f"dispute {number}"):
        filed(store)
    assert filed(store, replace(FILING, day="")) != number
    with store.write() as conn:
        disputes.withdraw(conn, number, OMAR)
    assert filed(store) > number
    with store.write() as conn, pytest.raises(DisputeError, match="is over"):
        disputes.decide(conn, number, UPHELD, SARA, BOARD)


def test_who_filed_cannot_decide_and_then_nothing_is_written(store: Store) -> None:
    number = filed(store)
    with pytest.raises(DisputeError, match="another person"), store.write() as conn:
        disputes.decide(conn, number, UPHELD, replace(SARA, name=" oMAR "), BOARD)
    with store.read() as conn:
        assert records.get(conn, number).state == "filed"
        assert calendar.listed(conn, FEBRUARY, MARCH) == []
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.alerts)) == 0


def test_a_month_is_disputed_in_time_counted_from_its_newest_report(store: Store) -> None:
    closed_ms = DUE + reopening.SETTLE_MS
    with store.write() as conn:
        assert records.until_ms(conn, CENTER.code, MONTH, 30) == closed_ms + 30 * DAY
        assert records.until_ms(conn, CENTER.code, "2026-03", 30) is None
        late = replace(OMAR, now_ms=closed_ms + 30 * DAY + 1)
        with pytest.raises(DisputeError, match="until 2026-04-0"):
            disputes.file(conn, FILING, late, STANDARDS, 30)


# ---------------------------------------------------------------- a test before a witness

WINDOW = (day_ms("2026-03-20") + 9 * HOUR, day_ms("2026-03-20") + 17 * HOUR)
SECRET = b"of these tests"


def arranged(store: Store) -> int:
    number = filed(store)
    server = {"name": "pie", "url": "http://pie", "public_key": b"", "tests_at_once": 2, "joined_ms": 1}
    with store.write() as conn:
        conn.execute(sa.insert(schema.measure_servers).values(**server))
        disputes.arrange_test(conn, number, "Sara  Malik", WINDOW, replace(SARA, now_ms=NOW), BOARD)
    return number


def heard(store: Store, now_ms: int) -> None:
    with store.write() as conn:
        pulse = {"center": CENTER.code, "device": "g0", "heard_ms": now_ms, "due_ms": now_ms}
        upsert(conn, schema.pulse, [pulse])


def drawn(store: Store, now_ms: int) -> list[str]:
    heard(store, now_ms)
    with store.write() as conn:
        return witnessed.draw(conn, SECRET, now_ms)


def test_a_witnessed_test_comes_once_at_its_moment_within_the_window(store: Store) -> None:
    number = arranged(store)
    with store.read() as conn:
        held = records.get(conn, number)
        at_ms = witnessed.moment_ms(SECRET, held.test_id, *WINDOW)
        assert (held.state, held.witness, held.test_by) == ("test", "Sara Malik", "Sara")
        assert witnessed.result(conn, held) is None
        assert not witnessed.is_waiting(conn, WINDOW[0] - 1)
        assert witnessed.is_waiting(conn, at_ms)
    assert WINDOW[0] <= at_ms <= WINDOW[1] - witnessed.TAIL_MS
    assert drawn(store, at_ms - 1) == []
    assert drawn(store, at_ms) == [CENTER.code]
    assert drawn(store, at_ms + MINUTE) == []
    with store.read() as conn:
        turn = witnessed.result(conn, held)
        assert (turn["purpose"], turn["reason"], turn["device"], turn["state"]) == (
            "retest",
            "witnessed",
            "g0",
            "asked",
        )


def test_a_center_that_is_dark_at_the_moment_has_what_is_left_of_the_window(store: Store) -> None:
    arranged(store)
    with store.write() as conn:
        assert witnessed.draw(conn, SECRET, WINDOW[1] - HOUR) == []
    assert drawn(store, WINDOW[1] - 30 * MINUTE) == [CENTER.code]
    assert drawn(store, WINDOW[1]) == []


def test_moments_are_spread_over_the_window_and_known_by_the_secret_alone() -> None:
    moments = [witnessed.moment_ms(SECRET, f"t{n}", *WINDOW) for n in range(200)]
    part = (WINDOW[1] - WINDOW[0] - witnessed.TAIL_MS) / 4
    counts = [sum(WINDOW[0] + i * part <= at <= WINDOW[0] + (i + 1) * part for at in moments) for i in range(4)]
    assert min(counts) > 25
    assert moments != [witnessed.moment_ms(b"other", f"t{n}", *WINDOW) for n in range(200)]
