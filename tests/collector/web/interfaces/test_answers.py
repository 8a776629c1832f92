"""Answers by text message: from a signed request of the gateway to the incident of whoever was told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook

from collector.access.accounts import contacts, directory
from collector.access.accounts.policy import Account
from collector.common.config import AlertsSection
from collector.common.scope import EVERYWHERE
from collector.desk import tables
from collector.store import Store, schema
from tests.collector.web.conftest import Served, serve

NOW_MS = 1_795_000_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TELEPHONE = "+923001234567"


@pytest.fixture
def desk(store: Store, standards: Any, tmp_path: Path) -> Iterator[Served]:
    """A gateway of text messages is set up, and Noor was told of two incidents by it."""
    (tmp_path / "sms.secret").write_text(SECRET)
    alerts = AlertsSection(sms_secret_file=tmp_path / "sms.secret")
    _fill(store)
    with serve(store, standards, tmp_path, alerts=alerts) as site:
        yield site


def _fill(store: Store) -> None:
    with store.write() as conn:
        directory.add(conn, "Noor", "-", "desk", EVERYWHERE, "Root", 1)
        given = {"kind": "person", "name": "Noor", "telephone": "0300 1234567"}
        contacts.keep(conn, contacts.parse(given, EVERYWHERE), Account("Root", "admin", key="root"), 1)
        for place in ("F-7", "F-8"):
            incident = tables.add(
                conn,
                {"scope": "feeder", "place": place, "family": "power", "severity": "serious", "began_ms": NOW_MS,
                 "opened_ms": NOW_MS, "changed_ms": NOW_MS, "centers": 12, "most": 12, "announced": 12,
                 "announced_ms": NOW_MS},
            )  # fmt: skip
            event = tables.record(conn, incident, "opened", NOW_MS)
            row = {
                "kind": "person", "event": event, "center": "*", "channel": "sms", "title": "t", "text": "x",
                "state": "sent", "attempts": 1, "next_ms": NOW_MS, "made_ms": NOW_MS, "person": "noor",
                "address": TELEPHONE,
            }  # fmt: skip
            conn.execute(sa.insert(schema.alerts).values(row))


def send(
    served: Any, text: str, sender: str = TELEPHONE, secret: str = SECRET, id: str = "m1", age_s: float = 0
) -> Any:
    at, body = datetime.now(UTC) - timedelta(seconds=age_s), json.dumps({"from": sender, "text": text})
    headers = {
        "webhook-id": id, "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, at, body),
    }  # fmt: skip
    return httpx.post(f"{served.url}/answers/sms", content=body, headers=headers, timeout=60)


def test_a_text_message_acknowledges_the_incident_that_it_names(desk: Served) -> None:
    done = send(desk, "ACK 1 on my way")
    assert done.json() == {"incident": 1, "state": "acknowledged"}
    assert send(desk, "ACK 1 on my way").json()["state"] == "known"  # the gateway has repeated it
    assert send(desk, "ok", id="m2").json() == {"incident": 2, "state": "acknowledged"}  # the newest
    assert send(desk, "resolve 1 fuse changed", id="m3").json() == {"incident": 1, "state": "resolved"}
    with desk.store.read() as conn:
        assert [(row["act"], row["person"], row["text"]) for row in tables.events(conn, 1)][:2] == [
            ("closed", "Noor", "fuse changed"), ("acknowledged", "Noor", "on my way"),
        ]  # fmt: skip


def test_who_was_not_told_or_does_not_sign_answers_nothing(desk: Served) -> None:
    other = "whsec_" + "A" * 32
    refused = [
        send(desk, "ACK 1", sender="+923009999999"), send(desk, "ACK 3", id="m2"), send(desk, "", id="m3"),
        send(desk, "ACK 1", secret=other), send(desk, "ACK 1", age_s=3600),
        httpx.post(f"{desk.url}/answers/sms", content=b'{"from": "+923001234567", "text": "ACK 1"}', timeout=60),
    ]  # fmt: skip
    assert [one.status_code for one in refused] == [409, 409, 409, 401, 401, 401]
    with desk.store.read() as conn:
        assert tables.get(conn, 1).state == "new"


def test_without_a_secret_there_is_no_such_gateway(served: Served) -> None:
    assert send(served, "ACK 1").status_code == 404
