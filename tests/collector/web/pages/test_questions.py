"""The desk's questions by form: those of the list, once while open, with the answer on the page."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.remote.questions import KINDS
from collector.store import schema

CODE = "KHI-0001"
MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')


@pytest.fixture
def site(served, cast) -> Any:
    """With a gateway that answers questions."""
    cast.insert(served.store, schema.centers, [cast.center_row(CODE)])
    device = cast.device_row(CODE)
    cast.insert(served.store, schema.devices, [device])
    report = {"center": CODE, "device": device["device"], "digest": "", "state": "applied", "failed": "", "why": ""}
    cast.insert(served.store, schema.device_settings, [report | {"at_ms": cast.NOW_MS}])
    return served


def ask(client: httpx.Client, kind: str, mark: str | None = None) -> httpx.Response:
    own = MARK.search(client.get(f"/centers/{CODE}").text)
    assert own
    return client.post(f"/centers/{CODE}/question", data={"mark": own[1] if mark is None else mark, "kind": kind})


def rows(site: Any) -> list[Any]:
    with site.store.read() as conn:
        return list(conn.execute(sa.select(schema.questions)))


def test_a_question_is_put_once_and_its_answer_stands_on_the_page(site) -> None:
    with site.client() as client:
        page = client.get(f"/centers/{CODE}").text
        assert all(f'<option value="{kind}">' in page for kind in KINDS)
        answer = ask(client, "trace")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/centers/{CODE}#questions")
        ask(client, "trace")
        (row,) = rows(site)
        assert (row.kind, row.center, bool(row.asked_by)) == ("trace", CODE, True)
        assert "no answer yet" in client.get(f"/centers/{CODE}").text
        with site.store.write() as conn:
            conn.execute(sa.update(schema.questions).values(answer="<b>hops</b>", answered_ms=row.asked_ms + 1))
        page = client.get(f"/centers/{CODE}").text
        assert "&lt;b&gt;hops" in page
        with site.store.read() as conn:
            acts = conn.execute(sa.text("SELECT act, reason FROM decisions WHERE act = 'question_asked'")).all()
        assert [tuple(act) for act in acts] == [("question_asked", "trace")] * 2


def test_what_is_on_no_list_or_of_another_page_is_not_asked(site) -> None:
    with site.client() as client:
        assert ask(client, "rm -rf").status_code == 409
        assert ask(client, "doctor", mark="0" * 64).status_code == 403
    assert rows(site) == []
