"""A fortnight of a center whose line gets worse, as officers and operators read of it in their mail."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.access.accounts import contacts, directory
from collector.access.accounts.policy import Account
from collector.common.scope import EVERYWHERE, Scope
from collector.desk import follow
from collector.desk.alerts.channels.schemes import make
from collector.desk.alerts.outbox import Outbox
from collector.desk.routing.due import parse_due
from collector.register import dated
from collector.register.centers import Center
from collector.reports import day_store
from collector.reports.day_sheets import Availability, CriterionDay, DaySheet, packed_sheet
from collector.reports.ledger import BUCKETS
from collector.reports.outlook import schedule
from collector.store import Store, schema, upsert
from tests.collector.empty_stores import empty_store
from tests.collector.standard.timeless import timeless_standards
from tests.helpers.programs.mail_server import Mailbox, mail_server

STANDARDS = timeless_standards()
LOSS = STANDARDS.versions[0].by_id["internet.loss"]
FIRST, DAY, HOUR = dated.day_ms("2026-02-01"), 86_400_000, 3_600_000
MONDAY = FIRST + 15 * DAY  # the 16th
TIMES = {"daily": parse_due("Mon-Sat 09:00"), "weekly": parse_due("Mon 09:00", moves=True)}
# Apprise's optional PGP part asks the interpreter for a module that Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def sheet(number: int, met: int) -> tuple[int, DaySheet]:
    """Of a day with 100 samples of loss, so many of which are well."""
    from_ms = FIRST + number * DAY
    found = CriterionDay(
        criterion=LOSS.id, subject="wan1", counted=100, met=met, values=((0.0, met),), slots=(), covered=700
    )
    minutes = {str(name): 0 for name in BUCKETS} | {"up": 720}
    return from_ms, DaySheet(
        center="LHR-1", from_ms=from_ms, to_ms=from_ms + DAY, standards=(), minutes=minutes, before=0, lost=0,
        availability=Availability(), criteria=(found,), seats=(), excused=(), sha256="",
    )  # fmt: skip


def fortnight(conn: sa.Connection, bad: int) -> None:
    """Eight good days, then seven with so many bad samples; the line is below the standard now."""
    sheets = (sheet(number, 100 if number < 8 else 100 - bad) for number in range(15))
    known = {"center": "LHR-1", "marks": 0}
    rows = [
        {**known, "day_ms": at_ms, "made_ms": at_ms + DAY, "body": zlib.compress(packed_sheet(one))}
        for at_ms, one in sheets
    ]
    upsert(conn, schema.day_sheets, rows)
    upsert(conn, schema.about, [{"name": day_store.SHEETS_UNTIL, "value": str(MONDAY)}])
    flag = {
        "center": "LHR-1", "criterion": LOSS.id, "subject": "wan1", "state": "raised", "verdict": "below",
        "since_ms": MONDAY, "judged_until_ms": MONDAY, "memory": "[]", "value": None, "bound": None, "reason": "{}",
        "standard": "s",
    }  # fmt: skip
    conn.execute(sa.insert(schema.flags), [flag])
    follow.adopt(conn, STANDARDS, MONDAY)


def people(conn: sa.Connection) -> None:
    """An officer who reads English, the center's operator, and one of other centers."""
    owners = {"Omar": "Trust", "Zara": "Others"}
    directory.add(conn, "Ayesha", "-", "desk", EVERYWHERE, "Root", 1)
    for name, owner in owners.items():
        directory.add(conn, name, "-", "operator", Scope(owner=frozenset({owner})), "Root", 1)
    for name, lang in (("Ayesha", "en"), ("Omar", "ur"), ("Zara", "ur")):
        given = contacts.parse(
            {"kind": "person", "name": name, "email": f"{name.lower()}@x.pk", "lang": lang}, EVERYWHERE
        )
        contacts.keep(conn, given, Account("Root", "admin", key="root"), 1)


def morning(store: Store, mailbox: Mailbox, now_ms: int) -> dict[str, tuple[str, str]]:
    """The letters that a working collector's outbox sends then."""
    mailbox.got.clear()
    while schedule.look(store, STANDARDS, now_ms - 6 * HOUR):
        pass
    outbox = Outbox(
        store, [make("mail", mailbox.url)], STANDARDS, "https://nabz.example.pk", lambda: now_ms, digest_times=TIMES
    )
    outbox.make_digests()
    outbox.look()
    outbox.stop()
    return mailbox.letters()


def test_a_monday_and_a_tuesday_of_letters(tmp_path: Path) -> None:
    may_miss = round((100 - LOSS.month.share_pct) * 28)
    bad = may_miss // 12  # twelve such days are too many
    left = (may_miss - 7 * bad) // bad
    store = empty_store(tmp_path / "nabz.db")
    shared = {"tier": "three", "seats_promised": 10, "lifecycle": "declared", "opening": "daily 09:00-21:00"}
    with store.write() as conn:
        for code, name, owner in (("LHR-1", "Gulberg", "Trust"), ("KHI-1", "Clifton", "Others")):
            upsert(conn, schema.centers, [Center(code=code, name=name, owner=owner, **shared).row()])  # type: ignore[arg-type]
        people(conn)
        fortnight(conn, bad)
    with mail_server() as mailbox:
        monday = morning(store, mailbox, MONDAY + 9 * HOUR)
        tuesday = morning(store, mailbox, MONDAY + DAY + 9 * HOUR)
    store.close()
    assert set(monday) == {"ayesha@x.pk", "omar@x.pk", "zara@x.pk"}
    assert set(tuesday) == {"ayesha@x.pk"}  # operators are written to once a week
    title, text = monday["ayesha@x.pk"]
    assert title == "1 incidents are open at 2 centers"
    first, risk = text.index("Fix first:"), text.index("At risk:")
    assert text.index("Open:") < first < risk
    assert "- Gulberg: Packet loss. " in text[first:risk]
    assert f"- Gulberg: Packet loss, {left} days left until the month falls short" in text[risk:]
    _, urdu = monday["omar@x.pk"]
    assert "پہلے" in urdu
    assert "مہینہ معیار سے گرنے میں" in urdu
    assert "Gulberg" in urdu
    assert "Packet loss" not in urdu
    assert "سب ٹھیک ہے" in monday["zara@x.pk"][1]
    assert "Gulberg" not in monday["zara@x.pk"][1]
