"""The public page and its badges: off unless a setting says otherwise, and then without a person's data."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from collector.judging.current import ranks_of
from collector.reports.fleet.summary import BodyCenter, BodyCriterion, ReportBody
from collector.store import Store, center_states, schema
from collector.web.fleet.public import svg

OCTOBER_MS = 1_790_794_800_000
HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def public(store: Store, cast, standards, tmp_path: Path) -> Iterator[Any]:
    cast.add_fleet(store, 40)
    with store.write() as conn:
        c = schema.centers.c
        conn.execute(sa.update(schema.centers).where(c.center == "KHI-0001").values(district=HOSTILE))
        center_states.settle(conn, ranks_of(standards.at(cast.NOW_MS)), cast.NOW_MS)
    with cast.serve(store, standards, tmp_path, public_page=True) as site:
        yield site


def test_it_is_not_served_unless_a_setting_says_so(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("KHI-0001")])
    with served.client(logged_in=False) as client:
        assert client.get("/public").status_code == 404
        assert client.get("/public/badge/KHI-0001.svg").status_code == 404


def test_strangers_see_districts_and_methods_and_nobodys_data(public) -> None:
    with public.client(logged_in=False) as client:
        page = client.get("/public").text
        urdu = client.get("/public?lang=ur").text
    rows = re.findall(r"<tr><td>.*?</tr>", page)
    assert len(rows) == 7  # six cities' districts, and one of a hostile name
    assert sum(int(re.findall(r">(\d+)</bdi></td>", row)[0]) for row in rows) == 38  # but for two that are given up
    assert HOSTILE not in page
    assert "Download speed" in page
    assert "Bint-e-Hawa" not in page, "an owner"
    assert "KHI-0001" not in page
    assert 'dir="rtl"' in urdu


def test_everybody_is_answered_from_one_look_a_minute(public, cast) -> None:
    with public.client(logged_in=False) as client:
        before = client.get("/public/badge/KHI-0001.svg").text
        with public.store.write() as conn:
            conn.execute(sa.delete(schema.center_states))
        assert client.get("/public/badge/KHI-0001.svg").text == before


def closed_reports(cast: Any, verdicts: Mapping[str, str], district: str = "Karachi South") -> list[dict[str, Any]]:
    """Reports of October 2026, one a center, all closed."""
    shared = {"from_ms": OCTOBER_MS, "opened_ms": 1, "why": "{}", "marks": 0, "revision": 1, "closed_ms": cast.NOW_MS}
    found = []
    for code, verdict in verdicts.items():
        center = BodyCenter(code=code, name="e-Rozgar", owner="Bint-e-Hawa Trust", district=district, province="Sindh")
        body = ReportBody(
            center=center, ledger={"open": 100, "up": 90}, criteria=(BodyCriterion("internet.loss", verdict),)
        )
        packed = zlib.compress(msgspec.json.encode(body))
        found.append(shared | {"center": code, "body": packed, "sha256": "0" * 64})
    return found


def test_a_month_is_shown_once_all_of_its_reports_are_closed(store: Store, cast, standards, tmp_path: Path) -> None:
    cast.add_fleet(store, 12)
    open_one = {"center": "LHE-0000", "from_ms": OCTOBER_MS + 31 * cast.DAY_MS, "opened_ms": 1, "why": "{}", "marks": 0}
    verdicts = {"KHI-0001": "meets", "KHI-0007": "below"}
    cast.insert(store, schema.reports, closed_reports(cast, verdicts))
    cast.insert(store, schema.reports, closed_reports(cast, {"LHE-0006": "not enough data"}, HOSTILE))
    cast.insert(store, schema.reports, [open_one | {"revision": 1}])
    with cast.serve(store, standards, tmp_path, public_page=True) as site, site.client(logged_in=False) as client:
        page, urdu = client.get("/public?month=2026-10").text, client.get("/public?month=2026-10&lang=ur").text
        for month in ("2026-11", "never", "9" * 90):  # one that is open, and none: the page of now
            now = client.get("/public", params={"month": month, "lang": "en"}).text
            assert "As of" in now
            assert "?month=2026-10" in now
            assert "2026-11</" not in now
    rows = {re.sub("<[^>]+>", " ", row).split("Sindh")[1].strip() for row in re.findall(r"<tr><td>.*?</tr>", page)}
    assert {" ".join(row.split()) for row in rows if row.startswith("Karachi")} == {"Karachi South 2 1 0 1 0 90 %"}
    assert HOSTILE not in page
    assert "KHI-0001" not in page
    assert "Bint-e-Hawa" not in page
    assert "90" in urdu


def test_a_badge_is_an_image_with_the_state_in_a_word(public) -> None:
    with public.client(logged_in=False) as client:
        answer = client.get("/public/badge/KHI-0001.svg")
        assert answer.headers["content-type"] == "image/svg+xml"
        assert answer.headers["cache-control"] == "public, max-age=60"
        words = "".join(ET.fromstring(answer.text).itertext())
        assert "KHI-0001" in words
        assert "Below" in words
        for code in ("KHI-9999", "a b", "x" * 90):
            assert client.get(f"/public/badge/{code}.svg").status_code == 404


def test_a_badge_escapes_what_it_is_given() -> None:
    root = ET.fromstring(svg(HOSTILE, HOSTILE, "of a later version"))
    assert HOSTILE in "".join(root.itertext())
