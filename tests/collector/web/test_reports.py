"""Months as they were reported, on a center's page: which revision stands, what it replaces and why."""

from __future__ import annotations

import types
from typing import Any

import msgspec
import pytest

from collector.common import months
from collector.judging import reopening
from collector.judging.reopening import Why
from collector.register.centers import get
from collector.reports import revisions
from collector.reports.monthly import build
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

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
    month_ms = months.month_of(cast.NOW_MS - 40 * 86_400_000)
    why = Why(readings=1440, first_ms=month_ms, last_ms=month_ms + 86_400_000, devices=("g1<b>",))
    known = {"center": "KHI-0001", "from_ms": month_ms, "marks": 0}
    cast.insert(store, schema.reports, [
        {**known, "revision": 1, "opened_ms": month_ms, "closed_ms": month_ms, "why": "{}", "changed": "{}"},
        {**known, "revision": 2, "opened_ms": cast.NOW_MS, "closed_ms": cast.NOW_MS,
         "why": reopening.text_of(why), "changed": msgspec.json.encode(CHANGED).decode()},
        {**known, "revision": 1, "opened_ms": month_ms, "closed_ms": None, "why": "{}", "changed": "{}",
         "from_ms": months.month_after(month_ms)},
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


# ---------------------------------------------------------------- as files


@pytest.fixture
def closed(served: Any, store: Store, cast: types.ModuleType) -> Any:
    """A month of KHI-0001 that is closed, with a report as collectors make it."""
    cast.add_fleet(store, 2)
    month_ms = months.month_of(cast.NOW_MS - 40 * 86_400_000)
    with store.read() as conn:
        report = build(conn, get(conn, "KHI-0001"), months.named(month_ms), timeless_standards(), cast.NOW_MS)
    cast.insert(store, schema.reports, [
        {"center": "KHI-0001", "from_ms": month_ms, "revision": 1, "opened_ms": 1, "closed_ms": 2, "marks": 0,
         "why": "{}", "changed": "{}", "body": revisions.packed(report)},
    ])  # fmt: skip
    return served


def test_a_closed_month_is_fetched_as_a_signed_pdf_and_who_did_is_shown(closed: Any, store: Store) -> None:
    with closed.client() as client:
        answer = client.get("/centers/KHI-0001/report.pdf?month=2026-10&lang=ur", timeout=60)
        page, months = client.get("/centers/KHI-0001").text, client.get("/months?month=2026-10").text
        missing = client.get("/centers/KHI-0001/report.pdf?month=2026-09")
    assert (answer.status_code, answer.content[:5], b"/ByteRange" in answer.content) == (200, b"%PDF-", True)
    assert missing.status_code == 404
    with store.read() as conn:
        (row,) = revisions.recipients_of(conn, "KHI-0001")
    assert (row["revision"], row["means"]) == (1, "page")
    assert f"Given to <bdi>{row['person']}</bdi>" in page
    assert 'href="/centers/KHI-0001/report.pdf?month=2026-10"' in months
    assert 'Given to <bdi dir="ltr">1</bdi>' in months


def test_a_month_over_all_centers_is_fetched_in_three_forms(closed: Any) -> None:
    with closed.client() as client:
        book, rows, facts = (client.get(f"/months.{kind}?month=2026-10&by=owner") for kind in ("xlsx", "csv", "json"))
        wrong = client.get("/months.csv?month=2026-10&by=colour"), client.get("/months.csv?month=2099-10")
    assert book.content[:2] == b"PK"
    assert rows.text.splitlines()[1].startswith("2026-10,owner,Bint-e-Hawa Trust,1,")
    assert facts.json()["total"]["centers"] == 1
    assert [one.status_code for one in wrong] == [400, 404]
