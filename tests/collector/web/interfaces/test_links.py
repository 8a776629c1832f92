"""The page behind a one-time link: it shows before it acts, and acts once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from collector.accounts import directory
from collector.alerts import links
from collector.desk import tables
from collector.scope import EVERYWHERE

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
    assert "<bdi>Noor</bdi>: I look after it" in shown.text
    assert "<b>F-7</b>" not in shown.text
    assert "<bdi>Noor</bdi> looks after it now" in done.text
    assert (again.status_code, gone.status_code, foreign.status_code) == (409, 404, 403)
    with served.store.read() as conn:
        assert tables.get(conn, 1).owner == "Noor"
        assert tables.events(conn, 1)[0]["text"] == "the technician is on his way"
