"""A test of a channel from its page: who may, whom it reaches, how many, what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.access.accounts import activity, contacts
from collector.access.accounts.activity import ActFilter
from collector.access.accounts.contacts import Contact
from collector.access.accounts.policy import Account
from collector.acts.channels import MOST, WITHIN_MIN
from collector.common.config import AlertsSection, ChannelSection
from collector.desk.alerts import queue
from collector.desk.alerts.channel import SendFailed
from collector.store import schema

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = "<script>alert(1)</script>"
PROBLEM = "535 wrong password"


@pytest.fixture
def site(store, standards, cast, tmp_path) -> Iterator[Any]:
    sms = ChannelSection(name="text messages", url="json://127.0.0.1:9/{telephone}")
    alerts = AlertsSection(channels=(ChannelSection(name="box", url="json://127.0.0.1:9/"), sms))
    with cast.serve(store, standards, tmp_path, alerts=alerts) as served:
        yield served


def press(client: httpx.Client, channel: str, person: str = "") -> httpx.Response:
    mark = MARK.search(client.get("/alerts").text)
    assert mark
    return client.post("/alerts", data={"mark": mark[1], "channel": channel, "person": person})


def finished(site: Any, channel: str, problem: SendFailed | None) -> None:
    """What the outbox does: claims what is due, and writes how it went."""
    now_ms = site.now[-1]
    with site.store.write() as conn:
        message = queue.claim(conn, now_ms, channel)
        assert message is not None
        queue.finish(conn, message, problem, now_ms)


def shown_tests(page: str) -> str:
    return page.partition('id="tests"')[2].partition("</section>")[0]


def test_a_test_waits_is_sent_or_refused_and_its_page_says_so(site) -> None:
    with site.client() as client:
        assert press(client, "box").headers["location"] == "/alerts#tests"
        page = client.get("/alerts").text
        assert ("waiting" in shown_tests(page), 'http-equiv="refresh"' in page) == (True, True)
        finished(site, "box", None)
        page = client.get("/alerts").text
        assert ("sent" in shown_tests(page), 'http-equiv="refresh"' in page) == (True, False)
        press(client, "box")
        finished(site, "box", SendFailed(f"{PROBLEM} {HOSTILE}", permanent=True))
        page, urdu = (shown_tests(client.get(f"/alerts?lang={lang}").text) for lang in ("en", "ur"))
    assert "failed" in page
    assert PROBLEM in page
    assert HOSTILE not in page
    assert "ناکام" in urdu
    with site.store.read() as conn:
        acts = activity.page(conn, ActFilter(act="channel_tested"), 10)
    assert [(row["person"], row["subject"]) for row in acts] == [("Amna", "channel box")] * 2


def test_a_channel_that_sends_to_persons_needs_one_with_an_address(site, cast) -> None:
    with site.client() as client:
        refused = press(client, "text messages", HOSTILE)
        assert refused.status_code == 400
        assert 'aria-describedby="test-2-why"' in refused.text
        said = refused.text.partition('id="test-2-why"')[2].partition("</p>")[0]
        assert "has no telephone" in re.sub(r"<[^>]+>", "", said)
        assert HOSTILE not in refused.text
        with site.store.write() as conn:
            contact = Contact("person", "Amna", telephone="+923001234567")
            contacts.keep(conn, contact, Account("Amna", "admin", key="amna"), cast.NOW_MS)
        assert press(client, "text messages", "amna").status_code == 303
    with site.store.read() as conn:
        row = conn.execute(sa.select(schema.alerts)).one()
    assert (row.kind, row.person, row.address, row.state) == ("test", "amna", "+923001234567", "waiting")


def test_a_channel_is_tested_some_times_only_and_others_still_can_be(site, cast) -> None:
    with site.client() as client:
        answers = [press(client, "box") for _ in range(MOST + 1)]
        assert [answer.status_code for answer in answers] == [303] * MOST + [400]
        assert f"{MOST}" in answers[-1].text.partition('role="alert"')[2].partition("</p>")[0]
        assert press(client, "nowhere").status_code == 400
        site.now.append(cast.NOW_MS + WITHIN_MIN * 60_000 + 1)
        assert press(client, "box").status_code == 303
    with site.store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.alerts)) == MOST + 1


def test_only_admins_have_the_form(site, cast) -> None:
    cookie = cast.add_account(site.store, "Bilal", "desk")
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        page = client.get("/alerts")
        assert (page.status_code, "<form method" in page.text.partition("<main")[2]) == (200, False)
        assert client.post("/alerts", data={"channel": "box"}).status_code == 403
    with site.client() as client:
        assert client.post("/alerts", data={"channel": "box", "mark": "0" * 64}).status_code == 403
