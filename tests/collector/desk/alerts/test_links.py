"""One-time links: bound to a person and an incident, used once, and gone from the message that was sent."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from collector.access.accounts import directory
from collector.common.scope import EVERYWHERE
from collector.desk.alerts import links, queue
from collector.desk.alerts.answers import acts
from collector.desk.alerts.answers.acts import Answer
from collector.desk.incident import WorkError
from collector.store import Store, schema
from tests.collector.desk.alerts.test_personal import NOON, Town


@pytest.fixture
def town(either_store: Store) -> Town:
    town = Town(either_store)
    town.opens("LHR-001")
    town.route()
    return town


def secret_of(town: Town) -> str:
    return str(town.rows()[-1].text).rpartition("http://x/a/")[2]


def test_a_message_has_a_link_that_acknowledges_once_in_the_persons_name(town: Town) -> None:
    secret = secret_of(town)
    assert links.SECRET.fullmatch(secret)
    with town.store.write() as conn:
        assert links.find(conn, secret, NOON) == links.AckLink(1, "ayesha", "Ayesha")
        done = acts.by_link(conn, secret, Answer("ack", "on my way"), NOON)
        assert (done.state, done.owner) == ("acknowledged", "Ayesha")
        assert links.find(conn, secret, NOON) is None
        with pytest.raises(WorkError, match="was used"):
            acts.by_link(conn, secret, Answer("ack", "again"), NOON)


def test_it_ends_and_goes_with_its_person(town: Town) -> None:
    secret = secret_of(town)
    with town.store.write() as conn:
        assert links.find(conn, secret, NOON + links.LASTS_MS - 1) is not None
        assert links.find(conn, secret, NOON + links.LASTS_MS) is None
        directory.remove(conn, "Ayesha", "Root", NOON)
        assert links.find(conn, secret, NOON) is None


@pytest.mark.parametrize("secret", ["", "x", "A" * 22, "ä" * 22, "../../etc", "A" * 23])
def test_a_secret_that_is_none_opens_nothing(town: Town, secret: str) -> None:
    with town.store.write() as conn:
        assert links.find(conn, secret, NOON) is None
        with pytest.raises(WorkError):
            acts.by_link(conn, secret, Answer("ack", "x"), NOON)


def test_the_database_holds_no_secret_once_the_message_is_sent(town: Town) -> None:
    secret = secret_of(town)
    with town.store.write() as conn:
        due = queue.claim(conn, NOON, "sms")
        assert due is not None
        assert secret in due.message.text
        queue.finish(conn, due, None, NOON)
    with town.store.read() as conn:
        kept = str(conn.execute(sa.select(schema.links)).all())
    assert secret not in str(town.rows()[-1].text) + kept


def test_an_officer_assigns_and_resolves_by_link_and_the_others_hear_of_it(town: Town) -> None:
    with town.store.write() as conn:
        directory.add(conn, "Omar", "-", "desk", EVERYWHERE, "Root", 1)
    town.contact("Omar", telephone="+923001234568")
    town.opens("LHR-002")
    town.route()
    mine = {row.person: str(row.text).rpartition("/a/")[2] for row in town.rows() if row.event == 2}
    with town.store.write() as conn:
        with pytest.raises(WorkError, match="is no account"):
            acts.by_link(conn, mine["ayesha"], Answer("assign", "", "Nobody"), NOON)
        given = acts.by_link(conn, mine["ayesha"], Answer("assign", "you are nearer", "omar"), NOON)
        assert (given.owner, given.state) == ("Omar", "new")
    assert town.route() == 1
    heard = town.rows()[-1]
    assert (heard.person, heard.title) == ("omar", "LHR-002: Ayesha has assigned it (Internet line)")
    assert "Note: you are nearer" in str(heard.text)
    with town.store.write() as conn:
        assert acts.by_link(conn, mine["omar"], Answer("resolve", "fuse changed"), NOON).state == "resolved"
    assert town.route() == 1
    assert (town.rows()[-1].person, town.rows()[-1].title) == ("ayesha", "LHR-002: closed by Omar (Internet line)")


def test_an_act_that_cannot_be_leaves_the_link(town: Town) -> None:
    secret = secret_of(town)
    with town.store.write() as conn:
        for wrong in (Answer("note", ""), Answer("resolve", "")):
            with pytest.raises(WorkError):
                acts.by_link(conn, secret, wrong, NOON)
        assert acts.by_link(conn, secret, Answer("note", "on site"), NOON).state == "new"
        assert links.find(conn, secret, NOON) is None
