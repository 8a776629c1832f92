"""The desk's button: a test now, asked for by this session alone, and what the page says of it."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.speedtests import requests
from collector.speedtests.policy import DESK_A_DAY
from collector.store import Store, schema
from collector.web import auth

NOW_MS = 1_795_000_000_000
CODE = "KHI-0001"
MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')


@pytest.fixture
def site(served, cast) -> Any:
    cast.insert(served.store, schema.centers, [cast.center_row(CODE)])
    cast.insert(served.store, schema.devices, [cast.device_row(CODE)])
    with served.store.write() as conn:
        requests.record_own_server(conn, "http://measure.example", b"k", 1, NOW_MS, runs=True)
    return served


def section(client: httpx.Client, query: str = "") -> str:
    page = client.get(f"/centers/{CODE}{query}").text
    found = re.search(r'<section id="test-now".*?</section>', page, re.DOTALL)
    assert found
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found[0])).split())


def press(client: httpx.Client, mark: str | None = None) -> httpx.Response:
    own = MARK.search(client.get(f"/centers/{CODE}").text)
    assert own
    return client.post(f"/centers/{CODE}/test", data={"mark": own[1] if mark is None else mark})


def rows(store: Store) -> list[Any]:
    with store.read() as conn:
        return list(conn.execute(sa.select(schema.grants)))


def change(store: Store, **values: object) -> None:
    with store.write() as conn:
        conn.execute(sa.update(schema.grants).values(**values))


def test_the_button_asks_for_one_test_and_the_page_says_that_it_waits(site) -> None:
    with site.client() as client:
        assert "The desk has not asked" in section(client)
        answer = press(client)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/centers/{CODE}#test-now")
        press(client)
        (row,) = rows(site.store)
        assert (row.center, row.purpose, row.state, row.device) == (CODE, "desk", "asked", f"g{CODE.lower()}")
        assert "Waiting for its turn" in section(client)
        assert "<button disabled>" in client.get(f"/centers/{CODE}").text


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"state": "granted", "granted_ms": NOW_MS}, "Running"),
        ({"state": "expired", "reason": "no_result", "closed_ms": NOW_MS}, "nothing was heard of a test"),
        ({"state": "expired", "reason": "too_late", "closed_ms": NOW_MS}, "did not come in time"),
        ({"state": "refused", "reason": "server_gone", "closed_ms": NOW_MS}, "takes no more tests"),
        ({"purpose": "retest", "reason": "retest_same_server"}, "at the same server, as there is no other"),
    ],
)
def test_the_page_says_what_became_of_it(site, values: dict[str, Any], sentence: str) -> None:
    with site.client() as client:
        press(client)
        change(site.store, **values)
        assert sentence in section(client)


@pytest.mark.parametrize(
    ("figures", "reason", "sentence"),
    [
        ({"download_mbps": 41.25, "upload_mbps": 9.5}, "result", "41.2 Mbit/s down, 9.5 Mbit/s up"),
        ({"failure": '{"cause":"skipped_on_battery"}'}, "no_figure", "Not tested: on the UPS's battery"),
    ],
)
def test_the_page_shows_the_result(site, cast, figures: dict[str, Any], reason: str, sentence: str) -> None:
    with site.client() as client:
        press(client)
        test_id = rows(site.store)[0].test_id
        cast.add_readings(site.store, CODE, "speed", [{"wall_ms": NOW_MS, "test_id": test_id, **figures}])
        change(site.store, state="done", reason=reason, granted_ms=NOW_MS, closed_ms=NOW_MS)
        assert sentence in section(client).replace("\xa0", " ")


def test_only_a_form_of_this_session_asks(site) -> None:
    with site.client() as client, site.client(logged_in=False) as stranger:
        for mark in ("", "0" * 64, "\N{ARABIC LETTER NOON}"):
            assert press(client, mark).status_code == 403
        refused = stranger.post(f"/centers/{CODE}/test", data={"mark": "x"})
        assert refused.status_code == 401
        own = MARK.search(client.get(f"/centers/{CODE}").text)
        assert own
        other = {"cookie": "nabz_session=9999999999.ab"}
        assert stranger.post(f"/centers/{CODE}/test", data={"mark": own[1]}, headers=other).status_code == 401
    assert rows(site.store) == []


def test_a_mark_is_of_one_session_only() -> None:
    assert auth.form_mark("one") == auth.form_mark("one")
    assert auth.form_mark("one") not in ("one", auth.form_mark("two"), auth.form_mark(None))


def test_why_there_is_no_test_is_said_in_the_readers_language(site) -> None:
    with site.client() as client:
        for _ in range(DESK_A_DAY):
            press(client)
            change(site.store, state="done", reason="result")
        answer = press(client)
        assert answer.headers["location"] == f"/centers/{CODE}?test=too_many#test-now"
        assert "as often as a day allows" in section(client, "?test=too_many")
        assert "جتنی بار" in section(client, "?test=too_many&lang=ur")
        assert "as often" not in section(client, "?test=nonsense&lang=en")


def test_a_center_that_is_none_has_no_button(site) -> None:
    with site.client() as client:
        own = MARK.search(client.get(f"/centers/{CODE}").text)
        assert own
        for code in ("NO-1", "..%2f"):
            assert client.post(f"/centers/{code}/test", data={"mark": own[1]}).status_code == 404
        with site.store.write() as conn:
            conn.execute(sa.delete(schema.devices))
        assert 'id="test-now"' not in client.get(f"/centers/{CODE}").text
