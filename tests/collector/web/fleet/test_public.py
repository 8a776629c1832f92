"""The public page and its badges: off unless a setting says otherwise, and then without a person's data."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from collector.judging.current import ranks_of
from collector.store import Store, center_states, schema
from collector.web.fleet.public import svg

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
