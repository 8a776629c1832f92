"""The map: the list's centers and filters, said once, and boundaries that a person gives."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from collector.common.scope import Scope
from collector.judging.current import ranks_of
from collector.store import center_states, schema
from collector.store.queries import STATES
from collector.web.fleet.map_page import LASTS_MS, Bodies, lines_of
from tests.collector.web.fleet.test_lists import table

HOSTILE = "<script>alert(1)</script>"
LINE = {"type": "LineString", "coordinates": [[66.9, 24.8], [67.1, 24.9]]}
FEATURES = [{"type": "Feature", "geometry": LINE, "properties": more} for more in ({"x": HOSTILE}, {"disputed": True})]
FILE = {"type": "FeatureCollection", "features": FEATURES}


@pytest.fixture(params=["board", "rows"])
def site(served, cast, standards, request) -> Any:
    """Forty centers, all but one of a known place; asked of the board, or of the rows of states."""
    cast.add_fleet(served.store, 40)
    with served.store.write() as conn:
        c = schema.centers.c
        conn.execute(sa.update(schema.centers).values(latitude=30.0, longitude=70.0))
        conn.execute(sa.update(schema.centers).where(c.center == "LHE-0000").values(name=HOSTILE))
        conn.execute(sa.update(schema.centers).where(c.center == "KHI-0007").values(latitude=None, longitude=None))
        if request.param == "rows":
            center_states.settle(conn, ranks_of(standards.at(cast.NOW_MS)), cast.NOW_MS)
    return served


def test_it_has_the_centers_of_the_table_under_the_same_filters_the_worst_last(site) -> None:
    with site.client() as client:
        for query in ("", "?state=below", "?province=Sindh", "?q=lahore", "?isp=PTCL&state=meets"):
            found = client.get(f"/map.json{query}").json()
            wanted = {row["center"]: row["state"] for row in table(client, query)}
            wanted.pop("KHI-0007", None)
            assert dict(zip(found["codes"], (STATES[rank] for rank in found["rank"]), strict=True)) == wanted
            assert found["rank"] == sorted(found["rank"], reverse=True)
        assert HOSTILE not in client.get("/map").text


def test_what_a_browser_has_already_is_not_sent_again(site, cast) -> None:
    with site.client() as client:
        first = client.get("/map.json")
        again = client.get("/map.json", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        with site.store.write() as conn:
            conn.execute(sa.update(schema.centers).where(schema.centers.c.center == "KHI-0007").values(latitude=1.0))
            known = {"longitude": 1.0, "changed_ms": cast.NOW_MS}  # as the register notes it
            conn.execute(sa.update(schema.centers).where(schema.centers.c.center == "KHI-0007").values(known))
        assert client.get("/map.json", headers={"if-none-match": first.headers["etag"]}).status_code == 200


def test_a_map_is_encoded_once_until_something_moves() -> None:
    bodies, made = Bodies(), iter([b"first", b"second", b"third", b"fourth"])

    def get(key: str, version: int, now_ms: int) -> bytes:
        return gzip.decompress(bodies.get(key, version, now_ms, lambda: next(made)).data)

    assert [get("Sindh", 1, 0), get("Sindh", 1, LASTS_MS - 1)] == [b"first", b"first"]
    assert get("Punjab", 1, 1) == b"second", "another filter's"
    assert get("Sindh", 2, 2) == b"third", "something had moved"
    assert get("Sindh", 2, 3 + LASTS_MS) == b"fourth", "it had lasted long enough"


def test_it_goes_compressed_to_those_who_read_that(site) -> None:
    with site.client() as client:
        packed, plain = (client.get("/map.json", headers={"accept-encoding": name}) for name in ("gzip", "identity"))
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


def test_it_has_the_centers_of_the_scope_alone(site, cast) -> None:
    cookie = cast.add_account(site.store, "Quetta", "desk", Scope(province=frozenset({"Balochistan"})))
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        assert {code[:3] for code in client.get("/map.json").json()["codes"]} == {"UET"}


def test_boundaries_are_the_lines_of_the_file_and_which_are_disputed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "lines.json"
    path.write_text(json.dumps(FILE))
    lines = json.loads(lines_of(path))
    assert [one["geometry"] for one in lines["features"]] == [LINE, LINE]
    assert [one["properties"]["disputed"] for one in lines["features"]] == [False, True]
    assert HOSTILE not in json.dumps(lines)


def test_without_a_file_the_outlines_of_the_provinces_are_drawn(served) -> None:
    with served.client() as client:
        answer = client.get("/map/boundaries.json")
        assert client.get("/map/boundaries.json", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert answer.headers["content-encoding"] == "gzip"
    assert {one["properties"]["disputed"] for one in answer.json()["features"]} == {False, True}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type": "FeatureCollection"}', '{"type":"Topology","features":[]}'])
def test_a_file_that_has_no_lines_is_refused_and_the_map_works(
    store, standards, cast, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lines.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        lines_of(path)
    cast.add_fleet(store, 20)
    with cast.serve(store, standards, tmp_path, boundaries=path) as site, site.client() as client:
        assert client.get("/map/boundaries.json").status_code == 404
        assert client.get("/map").status_code == 200
    assert "lines.json" in caplog.text


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.json"
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ValueError, match="over 16 MiB"):
        lines_of(path)
