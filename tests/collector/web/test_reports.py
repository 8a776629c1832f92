"""Months as they were reported, on a center's page: which revision stands, what it replaces and why."""

from __future__ import annotations

import types
from typing import Any

import msgspec
import pytest

from collector.reports import revisions
from collector.reports.revisions import Why
from collector.store import Store, schema

CHANGED = {
    "criteria": [
        {"criterion": "internet.loss", "subject": "wan", "name": "Loss", "name_ur": "ضیاع",
         "was": {"verdict": "not enough data"}, "now": {"verdict": "watch"}},
        {"criterion": "internet.jitter", "subject": "", "name": "Jitter", "name_ur": "لرزش",
         "was": {"verdict": "meets"}, "now": {"verdict": "meets"}},
    ],
    "minutes": {},
}  # fmt: skip


@pytest.fixture
def reported(served: Any, store: Store, cast: types.ModuleType) -> Any:
    cast.add_fleet(store, 2)
    month_ms = revisions.month_of(cast.NOW_MS - 40 * 86_400_000)
    why = Why(readings=1440, first_ms=month_ms, last_ms=month_ms + 86_400_000, devices=("g1<b>",))
    known = {"center": "KHI-0001", "from_ms": month_ms, "marks": 0, "body": b""}
    cast.insert(store, schema.reports, [
        {**known, "revision": 1, "opened_ms": month_ms, "closed_ms": month_ms, "why": "{}", "changed": "{}"},
        {**known, "revision": 2, "opened_ms": cast.NOW_MS, "closed_ms": cast.NOW_MS,
         "why": revisions.text_of(why), "changed": msgspec.json.encode(CHANGED).decode()},
        {**known, "revision": 1, "opened_ms": month_ms, "closed_ms": None, "why": "{}", "changed": "{}",
         "from_ms": revisions.month_after(month_ms)},
    ])  # fmt: skip
    return served


def test_the_page_says_which_revision_stands_what_it_replaces_and_why(reported: Any) -> None:
    with reported.client() as client:
        page = client.get("/centers/KHI-0001").text
    assert 'Revision <bdi dir="ltr">2</bdi>' in page
    assert 'replaces revision <bdi dir="ltr">1</bdi> · <bdi dir="ltr">1,440</bdi> late readings' in page
    assert 'of gateway <bdi dir="ltr">g1&lt;b&gt;</bdi>' in page
    assert "Not enough data, now Too close to tell" in page
    assert "Jitter:" not in page
    assert page.count("being made") == 1


def test_the_page_says_it_in_urdu(reported: Any) -> None:
    with reported.client() as client:
        page = client.get("/centers/KHI-0001?lang=ur").text
    assert 'نظرثانی <bdi dir="ltr">1</bdi> کی جگہ' in page
    assert "تاخیر سے آئی ریڈنگز" in page
    assert "پہلے معلومات ناکافی، اب واضح نہیں" in page


def test_a_center_without_reports_shows_none(served: Any, store: Store, cast: types.ModuleType) -> None:
    cast.add_fleet(store, 1)
    with served.client() as client:
        assert "Month reports" not in client.get("/centers/KHI-0001").text
