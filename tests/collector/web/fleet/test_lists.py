"""The list of centers: a bar of the last day, filters that name a value, files to take along, views that are kept."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import sqlalchemy as sa

from collector.common.scope import Scope
from collector.judging.current import ranks_of
from collector.store import center_states, schema
from collector.web.fleet import lists

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = '=HYPERLINK("http://evil.example")<script>alert(1)</script>'
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@pytest.fixture
def site(served, cast, standards) -> Any:
    """Centers in every state, their rows made an hour before now; the first has a hostile name."""
    cast.add_fleet(served.store, 40)
    with served.store.write() as conn:
        conn.execute(sa.update(schema.centers).where(schema.centers.c.center == "LHE-0000").values(name=HOSTILE))
        center_states.settle(conn, ranks_of(standards.at(cast.NOW_MS)), cast.NOW_MS - 5 * cast.HOUR_MS)
    return served


def table(client: httpx.Client, query: str = "") -> list[dict[str, str]]:
    text = client.get(f"/centers.csv{query}").content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_a_search_within_the_page_is_answered_with_the_list_alone(site) -> None:
    with site.client() as client:
        whole = client.get("/?q=LHE-0000").text
        part = client.get("/?q=LHE-0000", headers={"hx-request-type": "partial"}).text
    assert part.strip() in re.sub(r"(?m)^ +", "", whole) or part.strip() in whole
    assert part.lstrip().startswith('<div id="list"')
    assert "<html" in whole
    assert "<html" not in part


def test_each_row_has_a_bar_of_its_last_day_that_says_so_in_words(site) -> None:
    with site.client() as client:
        page = client.get("/?q=LHE-0000").text
        urdu = client.get("/?q=LHE-0000&lang=ur").text
        fine = client.get("/?q=KHI-0007").text
    assert 'aria-label="Last 24 hours: Silent 6' in page
    assert (
        '<rect class="none" x="0" width="18" height="10"/><rect class="silent" x="18" width="6" height="10"/>' in page
    )
    assert re.search("خاموش .?6", urdu)
    # Meets in its opening hours, from 11:06 to 16:06 of a Wednesday; nothing is known of the hours before.
    assert '<rect class="meets" x="18" width="6" height="10"/>' in fine


def test_hours_outside_of_the_opening_are_closed_unless_something_was_wrong(site, cast) -> None:
    with site.store.write() as conn:
        conn.execute(sa.update(schema.center_states).values(hours_ranks="5" * 12 + "1" * 12))
    with site.client() as client:
        page = client.get("/?q=KHI-0007").text
    bar = re.search(r'<svg class="hours".*?</svg>', page)
    assert bar
    assert [name for name, _ in re.findall(r'class="(\w+)" x="(\d+)"', bar[0])] == ["meets", "closed", "below", "meets"]


@pytest.mark.parametrize("is_current", [True, False], ids=["of their rows", "of the board"])
def test_what_changed_last_comes_first_when_sorted_by_since(site, is_current: bool) -> None:
    """Those that are closed now have no such time: they come last."""
    if not is_current:
        with site.store.write() as conn:
            conn.execute(sa.delete(schema.about).where(schema.about.c.name == center_states.RANKS))
    with site.client() as client:
        rows = table(client, "?sort=since")
        assert 'href="/?sort=since' in client.get("/").text
    since = [row["state_since"] for row in rows]
    assert {"below", "waiting", "paused", "closed"} <= {row["state"] for row in rows}
    assert len({*since}) > 3
    assert since == sorted(since, reverse=True)


def test_a_row_that_was_made_before_shows_what_has_changed_since_and_its_ages(site, cast) -> None:
    def row() -> str:
        page = client.get("/?q=LHE-0000").text.replace("\u00a0", " ")
        return re.search(r'<tr id="c-LHE-0000".*?</tr>', page, re.DOTALL)[0]

    with site.client() as client:
        before = row()
        assert row() == before
        site.now.append(cast.NOW_MS + cast.HOUR_MS)
        assert (">2 h<" in before, ">3 h<" in row()) == (True, True)
        assert "Silent 6 h" in before
        assert "Silent 7 h" in row()
        with site.store.write() as conn:
            c = schema.centers.c
            conn.execute(sa.update(schema.centers).where(c.center == "LHE-0000").values(isp="Another"))
            conn.execute(sa.update(schema.pulse).values(heard_ms=cast.NOW_MS - 50 * cast.MINUTE_MS))
            conn.execute(
                sa.update(schema.flags)
                .where(schema.flags.c.center == "LHE-0000")
                .values(since_ms=cast.NOW_MS - 30 * cast.MINUTE_MS)
            )
            center_states.refresh(conn, ["LHE-0000"], site.now[-1])
        after = row()
        assert "Another" in after
        assert re.search(r"Nothing heard since <time[^>]*>(<bdi[^>]*>)?2026-11-18 15:16", after)
        assert ("1 h 50 min" in after, "1 h 30 min" in after) == (True, True)
        assert "کوئی خبر نہیں" in client.get("/?q=LHE-0000&lang=ur").text


def test_a_filter_may_name_an_owner_a_provider_a_city_a_district_a_feeder_an_exchange(site) -> None:
    with site.client() as client:
        everybody = table(client)
        for column in ("owner", "isp", "city", "district", "feeder", "exchange", "province"):
            value = everybody[7][column]
            found = table(client, f"?{httpx.QueryParams({column: value})}")
            assert found == [row for row in everybody if row[column] == value]
            assert value in client.get(f"/?{httpx.QueryParams({column: value})}").text
        assert table(client, "?isp=nobody") == []


def test_what_is_shown_can_be_taken_along_and_runs_nothing(site) -> None:
    with site.client() as client:
        rows = table(client, "?state=silent")
        assert [row["state"] for row in rows] == ["silent", "silent"]
        assert {row["name"] for row in rows} >= {f"'{HOSTILE}"}
        assert client.get("/centers.csv").headers["content-disposition"] == 'attachment; filename="centers.csv"'
        book = client.get("/centers.xlsx?state=silent&lang=ur")
    files = zipfile.ZipFile(io.BytesIO(book.content))
    sheet = ElementTree.fromstring(files.read("xl/worksheets/sheet1.xml"))
    texts = files.read("xl/sharedStrings.xml").decode()
    assert len(sheet.findall(f".//{SHEET}row")) == 3
    assert sheet.findall(f".//{SHEET}f") == []
    assert "=HYPERLINK" in texts
    assert "حالت" in texts
    assert sheet.find(f".//{SHEET}sheetView").get("rightToLeft") == "1"


def test_files_hold_what_is_in_the_scope_alone(site, cast) -> None:
    cookie = cast.add_account(site.store, "Quetta", "auditor", Scope(province=frozenset({"Balochistan"})))
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        assert {row["province"] for row in table(client)} == {"Balochistan"}
        book = client.get("/centers.xlsx").content
    texts = zipfile.ZipFile(io.BytesIO(book)).read("xl/sharedStrings.xml").decode()
    assert "Balochistan" in texts
    assert "Punjab" not in texts


def keep(client: httpx.Client, **values: str) -> httpx.Response:
    mark = MARK.search(client.get("/account").text)
    assert mark
    return client.post("/views", data={"mark": mark[1], **values})


def test_a_view_is_kept_for_its_person_and_removed_again(site, cast) -> None:
    other = cast.add_account(site.store, "Bina", "desk")
    with site.client() as client:
        kept = keep(client, name=f"Sindh {HOSTILE}"[:40], query="page=3&state=below&province=Sindh&lang=ur&x=1")
        assert kept.headers["location"] == "/?state=below&province=Sindh"
        page = client.get(kept.headers["location"]).text
        assert 'href="/?state=below&amp;province=Sindh" aria-current="true"' in page
        assert "<script>alert" not in page
        assert keep(client, name=" ", query="").status_code == 400
        assert keep(client, name="x", act="burn").status_code == 400
        client.cookies.set("nabz_session", other)
        assert "Sindh =HYPER" not in client.get("/").text
        keep(client, name=f"Sindh {HOSTILE}"[:40], act="remove")  # another's view stands
        client.cookies.set("nabz_session", cast.SESSION)
        assert "Sindh =HYPER" in client.get("/").text
        keep(client, name=f"Sindh {HOSTILE}"[:40], act="remove")
        assert "Sindh =HYPER" not in client.get("/").text


def test_a_person_keeps_no_more_views_than_a_page_can_show(site) -> None:
    with site.client() as client:
        answers = [keep(client, name=f"view {n}", query="q=a").status_code for n in range(lists.MAX_VIEWS + 1)]
    assert answers == [303] * lists.MAX_VIEWS + [409]


def test_columns_are_left_out_as_the_address_says_and_a_view_keeps_them(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/?without=isp.owner.nonsense&state=below").text
        assert '<table class="centers dense no-owner no-isp">' in page
        assert 'name="without" value="owner.isp"' in page
        assert re.search(r'href="/\?without=owner&amp;state=below"[^>]*aria-checked="false">[^<]*rovider', page)
        assert "no-" not in client.get("/").text.partition("<table")[2][:60]
    assert lists.view_of("without=isp.owner&page=3") == "without=isp.owner"
