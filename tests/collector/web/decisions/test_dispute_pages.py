"""Pages of disputes: an operator files, an auditor decides, and neither sees what is not theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.common.scope import Scope
from collector.reports.disputes import records
from collector.store import schema

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
HOSTILE = "<script>alert(1)</script>"
OWN, OTHER = "LHE-0001", "LHE-0002"


@pytest.fixture
def site(served, cast) -> Any:
    rows = [
        cast.center_row(OWN, 0, owner="Own Trust", name=HOSTILE), cast.center_row(OTHER, 0, owner="Other Trust")
    ]  # fmt: skip
    cast.insert(served.store, schema.centers, rows)
    return served


@contextmanager
def logged_in(site, cast, name: str, role: str, scope: Scope = Scope()) -> Iterator[httpx.Client]:  # noqa: B008
    cookie = cast.add_account(site.store, name, role, scope)
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        yield client


def send(client: httpx.Client, page: str, path: str, **values: str) -> httpx.Response:
    mark = MARK.search(client.get(page).text)
    assert mark
    return client.post(path, data={"mark": mark[1], **values})


OPERATOR = Scope(owner=frozenset({"Own Trust"}))
FILING = {"center": OWN, "month": "2026-11", "day": "2026-11-05", "criterion": "", "text": HOSTILE, "test": "1"}


def test_from_my_center_to_a_decision(site, cast) -> None:
    with logged_in(site, cast, "Omar", "operator", OPERATOR) as client:
        assert f"/disputes?center={OWN}" in client.get("/mine").text
        form = client.get(f"/disputes?center={OWN}").text
        assert "مجھے اعتراض ہے" in form
        assert OTHER not in form
        filed = send(client, "/disputes", "/disputes", **FILING)
        assert filed.status_code == 303
        page = client.get(filed.headers["location"]).text
        assert HOSTILE not in page
        assert 'id="decide"' not in page
    with site.store.read() as conn:
        number = records.listed(conn, Scope())[0].id
        assert records.get(conn, number).wants_test
    with logged_in(site, cast, "Sara", "auditor") as client:
        assert f"/disputes/{number}" in client.get("/disputes").text
        assert re.search(r'href="/disputes">Disputes \(<bdi dir="ltr">1<', client.get("/months").text)
        path = f"/disputes/{number}"
        wrong = send(client, path, path, outcome="upheld", reason="seen <b>", **{"from": "2026-11-05T09:00", "to": ""})
        assert wrong.status_code == 400
        assert "both its beginning and its end" in wrong.text
        assert "seen &lt;b&gt;" in wrong.text  # what was typed is kept
        tested = send(
            client, path, path, act="test", witness="Hamid", test_from="2026-12-01T09:00", test_to="2026-12-01T17:00"
        )
        assert tested.status_code == 303
        assert "Hamid" in client.get(path).text
        times = {"from": "2026-11-05T09:00", "to": "2026-11-05T11:00"}
        assert send(client, path, path, outcome="partly", reason="seen", **times).status_code == 303
        after = client.get(path).text
        assert "Upheld in part" in after
        assert 'id="decide"' not in after
    with site.store.read() as conn:
        held = records.get(conn, number)
        assert (held.decided_by, held.state) == ("Sara", "decided")
        acts = conn.scalars(sa.select(schema.decisions.c.act).where(schema.decisions.c.act.like("dispute%"))).all()
        assert acts == ["dispute_filed", "dispute_test", "dispute_decided"]


def test_an_operator_disputes_only_what_is_theirs_and_sees_nothing_of_others(site, cast) -> None:
    with logged_in(site, cast, "Omar", "operator", OPERATOR) as client:
        assert send(client, "/disputes", "/disputes", **{**FILING, "center": OTHER}).status_code == 404
        refused = send(client, "/disputes", "/disputes", **{**FILING, "day": "2026-10-05"})
        assert refused.status_code == 400
        assert 'value="2026-10-05"' in refused.text
    with logged_in(site, cast, "Zed", "operator", Scope(owner=frozenset({"Other Trust"}))) as client:
        filed = send(client, "/disputes", "/disputes", **{**FILING, "center": OTHER})
    with logged_in(site, cast, "Omar Two", "operator", OPERATOR) as client:
        theirs = filed.headers["location"]
        assert client.get(theirs).status_code == 404
        number = theirs.rpartition("/")[2]
        assert send(client, "/disputes", "/disputes", act="withdraw", number=number).status_code == 404
        assert theirs not in client.get("/disputes").text
        for strange in ("x", "0", "99999999999999999999", "1%00"):
            assert client.get(f"/disputes/{strange}").status_code == 404
    with site.store.read() as conn:
        assert records.get(conn, int(number)).state == "filed"


def test_whoever_filed_takes_it_back(site, cast) -> None:
    with logged_in(site, cast, "Omar", "operator", OPERATOR) as client:
        page = send(client, "/disputes", "/disputes", **FILING).headers["location"]
        number = page.rpartition("/")[2]
        assert send(client, page, "/disputes", act="withdraw", number=number).status_code == 303
        assert "واپس لیا گیا" in client.get(page).text


def attach(client: httpx.Client, number: int, name: str, body: bytes) -> httpx.Response:
    mark = MARK.search(client.get(f"/disputes/{number}").text)
    assert mark
    values = {"mark": mark[1], "number": str(number)}
    return client.post("/disputes/files", data=values, files={"file": (name, body, "text/html")})


def test_a_file_goes_with_a_dispute_and_is_handed_out_as_a_file(site, cast) -> None:
    photo = b"\xff\xd8\xff" + b"x" * 200_000  # longer than other requests may be
    with logged_in(site, cast, "Omar", "operator", OPERATOR) as client:
        number = int(send(client, "/disputes", "/disputes", **FILING).headers["location"].rpartition("/")[2])
        assert attach(client, number, 'mast"><b>.html', photo).status_code == 303
        refused = attach(client, number, "page.jpg", b"<script>alert(1)</script>")
        assert (refused.status_code, 'id="why"' in refused.text) == (400, True)
        page = client.get(f"/disputes/{number}").text
        assert '<img class="given"' in page
        assert "<b>.html" not in page
        path = re.search(rf'href="(/disputes/{number}/files/[0-9a-f]+)"', page)
        assert path
        found = client.get(path[1])
        assert found.content == photo
        assert found.headers["content-type"] == "image/jpeg"
        assert found.headers["content-disposition"].startswith("attachment; filename*=UTF-8''mast")
        assert "default-src 'none'; sandbox" in found.headers["content-security-policy"]
        assert found.headers["x-content-type-options"] == "nosniff"
        assert client.get(f"/disputes/{number}/files/0123456789abcdef").status_code == 404
    with logged_in(site, cast, "Sara", "auditor") as client:
        assert client.get(path[1]).content == photo
    with logged_in(site, cast, "Bilal", "operator", Scope(owner=frozenset({"Other Trust"}))) as client:
        assert client.get(path[1]).status_code == 404
