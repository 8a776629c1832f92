"""Messages on a device, turned on and off on one's own page; and what the worker shows of them, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, expect

from collector.access.accounts import push_devices
from collector.common.config import AlertsSection, ChannelSection
from collector.store import schema
from tests.collector.desk.alerts.channels.push_service import Device
from tests.helpers.pages import chromium

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
SERVICE = "127.0.0.1:9"
ALERTS = AlertsSection(
    channels=(ChannelSection(name="push", url="push+mailto:desk@example.pk"),), push_services=(SERVICE,)
)

chromium.needed()


@pytest.fixture
def site(store, standards, tmp_path: Path, cast) -> Iterator[Any]:
    with cast.serve(store, standards, tmp_path, alerts=ALERTS) as served:
        yield served


def post(client: httpx.Client, **values: str) -> httpx.Response:
    mark = MARK.search(client.get("/account").text)
    assert mark
    return client.post("/account/push", data={"mark": mark[1], **values}, headers={"user-agent": "Phone <b>"})


def devices(site: Any, key: str = "amna") -> list[push_devices.PushDevice]:
    with site.store.read() as conn:
        return push_devices.of_person(conn, key)


def test_a_device_is_turned_on_tried_and_turned_off_by_its_person(site, cast) -> None:
    with site.client() as client:
        assert post(client, act="add", answer=Device(f"http://{SERVICE}/x").subscription).status_code == 303
        assert "Phone &lt;b&gt;" in client.get("/account").text
    (device,) = devices(site)
    with site.store.read() as conn:
        (row,) = conn.execute(sa.select(schema.alerts)).all()
    assert (row.kind, row.channel, row.address, row.state) == ("test", "push", "amna", "waiting")
    cookie = cast.add_account(site.store, "Zara", "auditor")
    with site.client(logged_in=False) as other:
        other.cookies.set("nabz_session", cookie)
        assert post(other, act="remove", which=device.id).status_code == 303
        assert len(devices(site)) == 1  # another's
    with site.client() as client:
        assert post(client, act="remove", which=device.id).status_code == 303
    assert devices(site) == []


def test_what_is_no_device_is_said_and_nothing_is_sent_to_strangers(site) -> None:
    with site.client() as client:
        for answer in ("", "{}", Device("http://127.0.0.1:10/x").subscription, Device("https://a.pk/").subscription):
            refused = post(client, act="add", answer=answer)
            assert refused.status_code == 403
            assert "could not be taken" in refused.text
        assert client.post("/account/push", data={"mark": "0" * 64, "act": "add"}).status_code == 403
    assert devices(site) == []


def test_without_a_channel_there_is_nothing_to_turn_on(served) -> None:
    with served.client() as client:
        assert "data-push" not in client.get("/account").text
        assert post(client, act="add", answer="{}").status_code == 404


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium.launched() as browser:
        yield browser


@pytest.mark.slow
def test_the_worker_shows_a_message_and_a_service_that_is_away_is_said(browser: Browser, site, cast) -> None:
    context = browser.new_context(base_url=site.url, locale="en-GB")
    context.grant_permissions(["notifications"], origin=site.url)
    context.add_cookies([{"name": "nabz_session", "value": cast.SESSION, "url": site.url}])
    page = context.new_page()
    page.goto("/account")
    tools = context.new_cdp_session(page)
    registered: list[str] = []
    tools.on("ServiceWorker.workerRegistrationUpdated", lambda found: registered.extend(
        one["registrationId"] for one in found["registrations"]
    ))  # fmt: skip
    tools.send("ServiceWorker.enable")
    page.get_by_role("button", name="Turn on here").click()  # this machine's Chromium has no push service
    expect(page.get_by_text("push service cannot be reached")).to_be_visible(timeout=60_000)
    assert registered
    given = json.dumps({"title": "LHR-001: Internet line", "text": "since 12:00", "path": "/incidents/1", "tag": "n-1"})
    tools.send("ServiceWorker.deliverPushMessage", {"origin": site.url, "registrationId": registered[0], "data": given})
    page.wait_for_function(
        """async () => {
            const registration = await navigator.serviceWorker.getRegistration("/mine");
            const shown = await registration.getNotifications();
            return shown.length === 1 && shown[0].title === "LHR-001: Internet line" && shown[0].body === "since 12:00"
                && shown[0].data.path === "/incidents/1";
        }""",
        timeout=60_000,
    )
    context.close()
