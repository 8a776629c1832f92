"""Digests: their words, who gets them, and that each is made once."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from agent.common.words import plain
from collector.access.accounts import contacts, directory
from collector.access.accounts.policy import Account
from collector.common.scope import EVERYWHERE, Scope
from collector.desk import follow
from collector.desk.alerts.channel import Channel
from collector.desk.alerts.digest import CenterRisk, DigestFacts, OpenIncident, RaisedFlag, digest
from collector.desk.alerts.digests import DigestRun, facts_of, make_due
from collector.desk.routing.due import parse_due
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards

MONDAY = 1_769_972_400_000  # 2026-02-02 00:00 in Karachi
NINE = MONDAY + 9 * 3_600_000
STANDARDS = timeless_standards()
STANDARD = STANDARDS.versions[0]
LOSS = STANDARD.by_id["internet.loss"]
TIMES = {"daily": parse_due("Mon-Sat 09:00"), "weekly": parse_due("Mon 09:00", moves=True)}


def incident(number: int, priority: float, owner: str = "") -> OpenIncident:
    return OpenIncident(number, "center", f"Center {number}", "isp_down", "line", 7200, owner, priority)


def test_it_says_what_is_open_what_to_fix_first_and_what_is_at_risk() -> None:
    facts = DigestFacts(
        centers=12, silent=1,
        incidents=[incident(1, 5.0), incident(2, 90.0, "Bilal"), *(incident(n, 0.0) for n in range(3, 8))],
        flags=[RaisedFlag("A", "Gulberg", LOSS, 1)],
        risks=[CenterRisk("B", "Johar", LOSS), CenterRisk("C", "Model", LOSS, 9)],
    )  # fmt: skip
    made = digest("daily", facts, "http://x", [plain()])
    lines = made.text.splitlines()
    assert made.title == "7 incidents are open at 12 centers"
    assert lines[:3] == [
        "Not heard: 1 centers", "Open:",
        "- 2 Center 2: Internet line down, for 2 h, Bilal looks after it",
    ]  # fmt: skip
    assert "… and 2 more" in lines
    assert lines.index("Fix first:") < lines.index("At risk:")
    assert lines[lines.index("Fix first:") + 1].startswith("- Gulberg: Packet loss. ")
    assert lines[lines.index("At risk:") + 1] == "- Model: Packet loss, 9 days left"
    assert lines[lines.index("At risk:") + 2] == "- Johar: Packet loss is close to its limit"


def test_a_quiet_week_is_said_in_urdu() -> None:
    made = digest("weekly", DigestFacts(2, 0), "http://x", [plain("ur"), plain("en")])
    assert "سب ٹھیک ہے" in made.text
    assert "All is well" in made.text
    assert made.event == "cleared"


@pytest.fixture
def store(either_store: Store) -> Store:
    """Two centers of two owners; one has a raised flag, the other is close to its limit."""
    with either_store.write() as conn:
        for code, owner in (("A-1", "Trust"), ("B-1", "Others")):
            row = Center(
                code=code, name=f"Center {code}", owner=owner, tier="three", seats_promised=10, opening="always",
                lifecycle="declared",
            ).row()  # fmt: skip
            upsert(conn, schema.centers, [row])
        flag = {
            "criterion": "internet.loss", "subject": "", "since_ms": MONDAY, "judged_until_ms": MONDAY, "memory": "[]",
            "value": None, "bound": None, "reason": "{}", "standard": "s",
        }  # fmt: skip
        rows = [{"center": "A-1", "state": "raised", "verdict": "below", **flag}]
        rows += [{"center": "B-1", "state": "clear", "verdict": "watch", **flag}]
        conn.execute(sa.insert(schema.flags), rows)
        follow.adopt(conn, STANDARDS, MONDAY)
        directory.add(conn, "Ayesha", "-", "desk", EVERYWHERE, "Root", 1)
        directory.add(conn, "Omar", "-", "operator", Scope(owner=frozenset({"Others"})), "Root", 1)
        directory.add(conn, "Audit", "-", "auditor", EVERYWHERE, "Root", 1)
        for name in ("Ayesha", "Omar", "Audit"):
            given = {"kind": "person", "name": name, "email": f"{name}@x.pk"}
            contacts.keep(conn, contacts.parse(given, EVERYWHERE), Account("Root", "admin", key="root"), 1)
        given = {"kind": "owner", "name": "Trust", "email": "trust@x.pk", "lang": "ur"}
        contacts.keep(conn, contacts.parse(given, EVERYWHERE), Account("Root", "admin", key="root"), 1)
    return either_store


def run(store: Store, now_ms: int) -> int:
    channels = [Channel("mail", lambda _message: None, address="email")]
    return make_due(store.read, store.write, DigestRun(channels, TIMES, STANDARDS, "http://x", now_ms))  # type: ignore[arg-type]


def told(store: Store) -> dict[str, str]:
    with store.read() as conn:
        return {row.person: f"{row.title}\n{row.text}" for row in conn.execute(sa.select(schema.alerts))}


def test_each_gets_the_digest_of_their_centers_once(store: Store) -> None:
    assert run(store, NINE - 1) == 0
    assert run(store, NINE) == 3
    assert run(store, NINE + 60_000) == 0
    found = told(store)
    assert set(found) == {"ayesha", "omar", "contact:4"}
    assert "1 incidents are open at 2 centers" in found["ayesha"]
    assert "Center B-1: Packet loss is close to its limit" in found["omar"]
    assert "Center A-1" not in found["omar"]
    assert "Center A-1" in found["contact:4"]
    assert "Fix first" not in found["contact:4"]  # it speaks Urdu alone


def test_the_day_after_officers_get_the_next_one_and_operators_none(store: Store) -> None:
    run(store, NINE)
    assert run(store, NINE + 86_400_000) == 1


def test_a_silent_center_has_no_other_trouble(store: Store) -> None:
    with store.write() as conn:
        row = {
            "center": "A-1", "criterion": "presence.silent", "subject": "", "state": "raised", "since_ms": MONDAY,
            "judged_until_ms": MONDAY, "memory": "[]", "verdict": "below", "value": None, "bound": None,
            "reason": "{}", "standard": "s",
        }  # fmt: skip
        conn.execute(sa.insert(schema.flags), [row])
    with store.read() as conn:
        facts = facts_of(conn, EVERYWHERE, STANDARDS, NINE)
    assert facts.silent == 1
    assert [one.criterion.id for one in facts.flags] == ["presence.silent"]
