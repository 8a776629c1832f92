"""One-time links: bound to a person and an incident, used once, and made when their message is sent."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from collector.access.accounts import directory
from collector.common.scope import EVERYWHERE
from collector.desk.alerts import links, queue
from collector.desk.alerts.answers import acts
from collector.desk.alerts.answers.acts import Answer
from collector.desk.alerts.channel import SendFailed
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
    return list(town.secrets().values())[-1]


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


def test_the_database_never_holds_the_secret_of_a_link(town: Town) -> None:
    (before,) = town.rows()
    with town.store.write() as conn:
        assert conn.execute(sa.select(schema.links)).all() == []  # none before it is sent
        first = queue.claim(conn, NOON, "sms")
        assert first is not None
        queue.finish(conn, first, SendFailed("timeout"), NOON)
        again = queue.claim(conn, NOON + 60_000, "sms")
        assert again is not None
        queue.finish(conn, again, None, NOON)
        kept = str(conn.execute(sa.select(schema.links)).all())
    secrets = [links.secret_in(one.message.text) for one in (first, again)]
    assert all(links.SECRET.fullmatch(secret) and secret != links.PLACE for secret in secrets)
    assert len(set(secrets)) == 2  # each attempt has its own
    assert not any(secret in str(town.rows()) + kept for secret in secrets)
    assert town.rows()[0].text == before.text
    assert len(first.message.text) == len(str(before.text))  # a text message costs what was counted


def test_an_officer_assigns_and_resolves_by_link_and_the_others_hear_of_it(town: Town) -> None:
    with town.store.write() as conn:
        directory.add(conn, "Omar", "-", "desk", EVERYWHERE, "Root", 1)
    town.contact("Omar", telephone="+923001234568")
    town.opens("LHR-002")
    town.route()
    mine = town.secrets()
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
