"""Messages to persons: sent once, in their language, held back in a storm; a channel that hangs delays nobody else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.access import users
from collector.access.accounts import contacts, directory
from collector.access.accounts.policy import Account
from collector.common.scope import EVERYWHERE, Scope
from collector.desk import tables as desk
from collector.desk import work
from collector.desk.alerts import links, personal, queue
from collector.desk.alerts.channel import AlertMessage, Channel, SendFailed, by_apprise
from collector.desk.alerts.outbox import Outbox
from collector.desk.routing import tables
from collector.desk.routing.plans import PlanStep, parse_targets
from collector.desk.routing.routes import AlertRoute
from collector.desk.symptoms import Symptom
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards
from tests.helpers.waiting import wait_until

NOON = 1_769_972_400_000 + 12 * 3_600_000  # Monday 2026-02-02 12:00 in Karachi
MINUTE = 60_000
STANDARDS = timeless_standards()
ROOT = Account("Root", "admin", key="root")
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@dataclass
class Town:
    """Centers, an officer, a route to her, and incidents that open."""

    store: Store
    sent: list[AlertMessage] = field(default_factory=list)
    now_ms: int = NOON

    def __post_init__(self) -> None:
        self.channels = [Channel("sms", self.sent.append, languages=("en",), address="telephone")]
        with self.store.write() as conn:
            directory.add(conn, "Ayesha", "-", "desk", EVERYWHERE, "Root", 1)
            step = PlanStep(0, parse_targets("role desk"))
            tables.set_plan(conn, "p", (step,), "Root", 1)
            tables.add_route(conn, AlertRoute(plan="p"), "Root", 1)
        self.contact("Ayesha")

    def contact(self, name: str, **facts: str) -> None:
        given = {"kind": "person", "name": name, "telephone": "+923001234567", **facts}
        with self.store.write() as conn:
            contacts.keep(conn, contacts.parse(given, EVERYWHERE), ROOT, 1)

    def opens(self, code: str) -> int:
        center = Center(code=code, name=code, tier="three", seats_promised=10, opening="always", lifecycle="declared")
        with self.store.write() as conn:
            upsert(conn, schema.centers, [center.row()])
            incident = desk.add(
                conn,
                {"scope": "center", "place": code, "family": "line", "severity": "serious", "began_ms": self.now_ms,
                 "opened_ms": self.now_ms, "changed_ms": self.now_ms, "centers": 1, "most": 1, "announced": 1,
                 "announced_ms": self.now_ms},
            )  # fmt: skip
            symptom = Symptom(code, "internet.loss", "", "line", "serious", self.now_ms, None)
            desk.join(conn, incident, [symptom], self.now_ms)
            desk.record(conn, incident, "opened", self.now_ms)
        return incident.id

    def route(self) -> int:
        with self.store.write() as conn:
            return personal.route(conn, self.channels, STANDARDS, "http://x", self.now_ms)

    def secrets(self) -> dict[str, str]:
        """Of each person's message that is sent now, the secret of its link."""
        people, found = {row.id: str(row.person) for row in self.rows()}, {}
        with self.store.write() as conn:
            while (due := queue.claim(conn, self.now_ms, "sms")) is not None:
                found[people[due.id]] = links.secret_in(due.message.text)
        return found

    def rows(self) -> list[sa.Row[tuple[object, ...]]]:
        with self.store.read() as conn:
            return list(conn.execute(sa.select(schema.alerts).order_by(schema.alerts.c.id)))


@pytest.fixture
def town(either_store: Store) -> Town:
    return Town(either_store)


def test_an_event_is_routed_once(town: Town) -> None:
    town.opens("LHR-001")
    assert town.route() == 1
    assert town.route() == 0
    (row,) = town.rows()
    assert (row.person, row.address, row.channel, row.kind) == ("ayesha", "+923001234567", "sms", "person")


def test_events_of_before_a_route_are_not_told_later(town: Town) -> None:
    with town.store.write() as conn:
        tables.remove_route(conn, 1)
    town.opens("LHR-001")
    assert town.route() == 0
    with town.store.write() as conn:
        tables.add_route(conn, AlertRoute(plan="p"), "Root", 2)
    assert town.route() == 0


def test_a_storm_is_fifty_messages_and_a_summary(town: Town) -> None:
    for number in range(60):
        town.opens(f"C-{number:03}")
    town.route()
    states = [row.state for row in town.rows()]
    assert (states.count("waiting"), states.count("summed")) == (51, 10)
    summary = town.rows()[-1]
    assert (summary.kind, summary.title, summary.person) == ("summary", "10 messages were held back", "ayesha")
    town.now_ms += 5 * MINUTE
    town.opens("D-001")
    town.route()
    assert [row.state for row in town.rows()].count("held") == 1  # the next summary waits
    town.now_ms += 5 * MINUTE
    town.route()
    assert town.rows()[-1].title == "1 messages were held back"
    town.now_ms += MINUTE
    town.opens("D-002")
    town.route()
    assert town.rows()[-1].kind == "person"  # the storm is over


def test_one_persons_storm_is_not_anothers(town: Town) -> None:
    with town.store.write() as conn:
        directory.add(conn, "Bilal", "-", "desk", Scope(owner=frozenset({"Nobody"})), "Root", 1)
    town.contact("Bilal")
    for number in range(55):
        town.opens(f"C-{number:03}")
    town.route()
    assert {row.person for row in town.rows()} == {"ayesha"}


def test_each_is_written_in_the_language_of_the_person(town: Town) -> None:
    with town.store.write() as conn:
        directory.add(conn, "Omar", "-", "desk", EVERYWHERE, "Root", 1)
    town.contact("Omar", lang="ur")
    town.opens("LHR-001")
    town.route()
    texts = {row.person: row.text for row in town.rows()}
    assert "You get this" in texts["ayesha"]
    assert "You get this" not in texts["omar"]
    assert "یہ آپ کو اس لیے ملا" in texts["omar"]


def test_an_escalation_that_waited_is_not_sent_once_somebody_acts(town: Town) -> None:
    with town.store.write() as conn:
        steps = (PlanStep(0, parse_targets("role desk")), PlanStep(60, parse_targets("role desk")))
        tables.set_plan(conn, "p", steps, "Root", 1)
    number = town.opens("LHR-001")
    town.route()
    town.now_ms += MINUTE
    assert town.route() == 1
    with town.store.write() as conn:
        work.acknowledge(conn, number, "Ayesha", "on my way", town.now_ms)
        first = queue.claim(conn, town.now_ms, "sms")
        assert first is not None
        assert queue.claim(conn, town.now_ms, "sms") is None
    assert town.rows()[-1].problem == "somebody looked after it before this could be sent"


def test_a_channel_that_hangs_delays_no_other_person(town: Town) -> None:
    import threading

    stuck = threading.Event()

    def hang(_message: AlertMessage) -> None:
        stuck.wait(20)

    with town.store.write() as conn:
        directory.add(conn, "Omar", "-", "desk", EVERYWHERE, "Root", 1)
    town.contact("Omar", telephone="", email="omar@example.pk")
    mail: list[AlertMessage] = []
    channels = [
        Channel("sms", hang, address="telephone"),
        Channel("mail", mail.append, address="email"),
    ]
    outbox = Outbox(town.store, channels, STANDARDS, "http://x", lambda: town.now_ms)
    town.opens("LHR-001")
    try:
        outbox.tick()
        wait_until(lambda: bool(mail))
        assert mail[0].address == "omar@example.pk"
    finally:
        stuck.set()
        outbox.stop()


def test_a_number_that_is_refused_is_made_up_for_by_the_next_channel(town: Town) -> None:
    """The gateway of text messages says that there is no such number: she hears by e-mail at once, and only once."""

    def refuse(_message: AlertMessage) -> None:
        raise SendFailed("no such number", permanent=True)

    town.contact("Ayesha", telephone="+923000000000", email="ayesha@example.pk")
    mail: list[AlertMessage] = []
    channels = [
        Channel("sms", refuse, address="telephone"), Channel("mail", mail.append, address="email"),
        Channel("wa", mail.append, address="whatsapp"),
    ]  # fmt: skip
    outbox = Outbox(town.store, channels, STANDARDS, "http://x", lambda: town.now_ms)
    town.opens("LHR-001")
    try:
        outbox.tick()
        wait_until(lambda: bool(mail))
        wait_until(lambda: town.rows()[-1].state == "sent")
    finally:
        outbox.stop()
    assert [(row.channel, row.state, row.person) for row in town.rows()] == [
        ("sms", "failed", "ayesha"), ("mail", "sent", "ayesha")
    ]  # fmt: skip
    assert mail[0].address == "ayesha@example.pk"
    assert links.secret_in(mail[0].text)


def test_a_channel_with_a_place_sends_to_persons(tmp_path: Path) -> None:
    made = by_apprise("sms", "json://127.0.0.1:1/{telephone}")
    assert made.address == "telephone"
    assert by_apprise("box", "json://127.0.0.1:1/").address is None
    with pytest.raises(ValueError, match="2 kinds"):
        by_apprise("x", "json://127.0.0.1:1/{telephone}/{email}")
    with pytest.raises(SendFailed):
        made.send(AlertMessage("title", "text", address="+923001234567"))


def test_people_are_accounts_with_contacts_and_contacts_of_operators(town: Town) -> None:
    from collector.desk.routing.directory import people

    with town.store.write() as conn:
        directory.add(conn, "Gone", "-", "desk", EVERYWHERE, "Root", 1)
        directory.remove(conn, "Gone", "Root", 2)
        given = {"kind": "owner", "name": "Trust", "person": "Hawa", "telephone": "0300 1234567", "lang": "ur"}
        contacts.keep(conn, contacts.parse(given, EVERYWHERE), ROOT, 1)
        found = {one.key: one for one in people(conn)}
    assert set(found) == {"ayesha", "contact:2"}
    hawa = found["contact:2"]
    assert (hawa.name, hawa.role, hawa.owner, hawa.lang) == ("Hawa", "contact", "Trust", "ur")
    assert hawa.addresses == {"telephone": "+923001234567"}
    assert users.key_of(" AYESHA ") in found


def test_programs_get_facts_of_each_event_whatever_the_storm_and_the_end_of_what_is_quiet(town: Town) -> None:
    town.channels.append(Channel("am", town.sent.append, languages=("en",), is_structured=True))
    numbers = [town.opens(f"C-{number:03}") for number in range(60)]
    with town.store.write() as conn:
        queue.queue(conn, town.channels, STANDARDS, "http://x", town.now_ms)
    town.route()
    opened = [json.loads(row.facts) for row in town.rows() if row.channel == "am"]  # type: ignore[arg-type]
    assert [one["incident"]["id"] for one in opened] == numbers
    assert opened[0]["act"] == "opened"
    assert opened[0]["incident"]["url"] == "http://x/incidents/1"
    with town.store.write() as conn:
        work.snooze(conn, 1, town.now_ms + 10 * MINUTE, "Ayesha", "work", town.now_ms)
        desk.record(conn, desk.get(conn, 1), "resolved", town.now_ms)
    before = len(town.rows())
    town.route()
    (ended,) = town.rows()[before:]
    assert (ended.channel, json.loads(ended.facts)["act"]) == ("am", "resolved")  # type: ignore[arg-type]
