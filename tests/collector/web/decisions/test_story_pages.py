"""The form on a center's page that decides about a second story."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from collector.common.scope import Scope
from collector.ingest import stories, taking
from collector.store import schema
from tests.collector.web.decisions.test_dispute_pages import HOSTILE, logged_in, send

CODE, OTHER, SPOOL = "LHE-0001", "LHE-0002", "0" * 32
FORM = {"device": "gtwin", "spool": SPOOL, "act": "take", "reason": HOSTILE}


@pytest.fixture
def site(served, cast) -> Any:
    cast.insert(served.store, schema.centers, [cast.center_row(CODE, 0), cast.center_row(OTHER, 0)])
    at = {"first_ms": cast.NOW_MS - cast.DAY_MS, "last_ms": cast.NOW_MS}
    story = {"center": CODE, "device": "gtwin", "spool": SPOOL, "batches": 3, "state": "held", **at}
    cast.insert(served.store, schema.second_stories, [story])
    return served


def story_of(site) -> dict[str, Any]:
    with site.store.read() as conn:
        return stories.held(conn, CODE)[0]


@pytest.mark.parametrize(("act", "state"), [("take", "taken"), ("refuse", "refused")])
def test_an_auditor_decides_with_a_reason_that_all_may_read(site, cast, act: str, state: str) -> None:
    page, path = f"/centers/{CODE}", f"/centers/{CODE}/story"
    with logged_in(site, cast, "Sara", "auditor") as client:
        assert "count for nothing until a person decides" in client.get(page).text
        assert send(client, page, path, **FORM | {"act": act}).status_code == 303
        after = client.get(page).text
        assert f'action="{path}"' not in after
        assert HOSTILE not in after
        assert "Sara" in after
        assert send(client, page, path, **FORM).status_code == 400
    found = story_of(site)
    assert (found["state"], found["decided_by"], found["reason"]) == (state, "Sara", HOSTILE)
    with site.store.read() as conn:
        (decision,) = conn.execute(sa.select(schema.decisions).where(schema.decisions.c.act == f"story_{state}"))
        assert taking.due(conn) == ([("gtwin", SPOOL)] if state == "taken" else [])
    assert (decision.person, decision.is_proven, decision.subject) == ("Sara", True, SPOOL)


@pytest.mark.parametrize(
    ("page", "change"),
    [(CODE, {"reason": " "}), (CODE, {"spool": "x"}), (CODE, {"act": "eat"}), (OTHER, {})],
)
def test_what_is_no_decision_is_refused(site, cast, page: str, change: dict[str, str]) -> None:
    with logged_in(site, cast, "Sara", "auditor") as client:
        assert send(client, f"/centers/{CODE}", f"/centers/{page}/story", **FORM | change).status_code == 400
    assert story_of(site)["state"] == "held"


def test_only_auditors_within_their_scope_see_the_form(site, cast) -> None:
    path = f"/centers/{CODE}/story"
    with logged_in(site, cast, "Dana", "desk") as client:
        assert f'action="{path}"' not in client.get(f"/centers/{CODE}").text
        assert send(client, "/contacts", path, **FORM).status_code == 403
    with logged_in(site, cast, "Away", "auditor", Scope(province=frozenset({"Sindh"}))) as client:
        assert send(client, "/contacts", path, **FORM).status_code == 404
    assert story_of(site)["state"] == "held"
