"""The page behind a one-time link: it shows before it acts, and acts once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.access.accounts import directory
from collector.common.scope import EVERYWHERE
from collector.desk import tables
from collector.desk.alerts import links
from collector.desk.symptoms import Symptom
from collector.register.centers import Center
from collector.store import schema

NOW_MS = 1_795_000_000_000


@pytest.fixture
def secret(served) -> str:
    with served.store.write() as conn:
        tables.add(
            conn,
            {"scope": "feeder", "place": "<b>F-7</b>", "family": "power", "severity": "serious", "began_ms": NOW_MS,
             "opened_ms": NOW_MS, "changed_ms": NOW_MS, "centers": 12, "most": 12, "announced": 12,
             "announced_ms": NOW_MS},
        )  # fmt: skip
        directory.add(conn, "Noor", "-", "operator", EVERYWHERE.__class__(owner=frozenset({"Trust"})), "Root", 1)
        return links.make(conn, 1, "noor", "", NOW_MS).rpartition("/")[2]


def test_whoever_has_the_link_acknowledges_without_logging_in(served: Any, secret: str) -> None:
    with httpx.Client(base_url=served.url) as client:
        shown = client.get(f"/a/{secret}")
        assert client.get(f"/a/{secret}?lang=ur").status_code == 200  # looking uses nothing up
        done = client.post(f"/a/{secret}?lang=en", data={"note": "the technician is on his way"})
        again = client.post(f"/a/{secret}")
        gone = client.get(f"/a/{secret}")
        foreign = client.post(f"/a/{secret}", headers={"sec-fetch-site": "cross-site"})
    assert "You answer as <bdi>Noor</bdi>." in shown.text
    assert "<b>F-7</b>" not in shown.text
    assert "<bdi>Noor</bdi> looks after it now" in done.text
    assert (again.status_code, gone.status_code, foreign.status_code) == (409, 404, 403)
    with served.store.read() as conn:
        assert tables.get(conn, 1).owner == "Noor"
        assert tables.events(conn, 1)[0]["text"] == "the technician is on his way"


def test_it_comments_once_and_refuses_what_the_person_may_not(served: Any, secret: str) -> None:
    """An operator is told of the feeder's incident, and does not decide about it for all."""
    with served.store.write() as conn:
        theirs = Center(
            code="LHR-9", name="x", owner="Others", tier="three", seats_promised=1, opening="always",
            lifecycle="declared",
        )  # fmt: skip
        conn.execute(sa.insert(schema.centers).values(theirs.row()))
        tables.join(conn, tables.get(conn, 1), [Symptom("LHR-9", "internet.loss", "", "line", "serious", 1)], NOW_MS)
    with httpx.Client(base_url=served.url) as client:
        refused = client.post(f"/a/{secret}?lang=en", data={"act": "resolve", "note": "x"})
        strange = client.post(f"/a/{secret}?lang=en", data={"act": "snooze", "note": "x"})
        empty = client.post(f"/a/{secret}?lang=en", data={"act": "note", "note": " "})
        done = client.post(f"/a/{secret}?lang=en", data={"act": "note", "note": "fuse <b>blown</b>"})
        again = client.post(f"/a/{secret}", data={"act": "note", "note": "more"})
    assert (refused.status_code, strange.status_code, empty.status_code) == (409, 400, 409)
    assert "is not Noor" in refused.text
    assert "Your note is in the incident" in done.text
    assert again.status_code == 409
    with served.store.read() as conn:
        assert [(row["act"], row["text"]) for row in tables.events(conn, 1)] == [("noted", "fuse <b>blown</b>")]
        assert tables.get(conn, 1).state == "new"
