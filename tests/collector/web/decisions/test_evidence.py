"""From a figure of a month to the bytes that a gateway signed: each page leads on, and what was changed is said."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from playwright.sync_api import Browser

from collector.commands.evidence import why_not
from collector.common.scope import Scope
from collector.reports import day_store
from collector.store import Store, schema
from tests.collector.reports.audit.closed_month import CODE, NAME, close, played
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import PHONE, beyond, reader, violations
from tests.timelines.plays.order_play import BEGIN, REPORTED, STANDARDS, make_play

DAY = "2026-11-10"
MONTH_PAGE, DAY_PAGE = f"/centers/{CODE}/months/{NAME}", f"/centers/{CODE}/months/{NAME}/{DAY}"
LINK = re.compile(rf'href="(/centers/{CODE}/evidence/[^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cast) -> Iterator[Any]:
    """A center's closed month, all of it in the tables."""
    folder = tmp_path_factory.mktemp("evidence")
    path = played(folder, make_play(4), "ready", 4)
    close(path)
    store = Store.open(f"sqlite:///{path}")
    with cast.serve(store, STANDARDS, folder, REPORTED) as served:
        yield served
    store.close()


def text_of(site: Any, path: str) -> str:
    with site.client() as client:
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def readings(site: Any) -> list[str]:
    return LINK.findall(text_of(site, DAY_PAGE))


def test_a_month_leads_to_its_days_and_those_to_their_readings(site) -> None:
    assert f'href="{MONTH_PAGE}"' in text_of(site, f"/centers/{CODE}")
    month = text_of(site, MONTH_PAGE)
    assert f'href="{DAY_PAGE}"' in month
    assert "Day by day" in month
    paths = readings(site)
    assert len(paths) > 5
    page = text_of(site, paths[0])
    assert "Signed by the gateway that it names" in page
    device, spool, seq = paths[0].split("/")[-3:]
    raw = html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[1])  # type: ignore[index]
    assert isinstance(json.loads(raw), dict)
    assert all(part in page for part in (device, spool, seq))
    assert hashlib.sha256(raw.encode()).hexdigest() in page


def test_the_file_of_a_batch_is_checked_with_nothing_of_ours(site) -> None:
    with site.client() as client:
        answer = client.get(f"{readings(site)[0]}/batch.json")
    facts = answer.json()
    key, body, signature = (base64.b64decode(facts[name]) for name in ("public_key", "body", "signature"))
    Ed25519PublicKey.from_public_bytes(key).verify(signature, body)
    assert facts["device"] == "g" + hashlib.sha256(key).hexdigest()[:16]
    assert "attachment" in answer.headers["content-disposition"]


def test_what_became_of_the_readings_adds_up_to_the_days_sheet(site) -> None:
    """For every day of the month and every criterion that is not judged by the day."""
    counted = 0
    for number in range(30):
        from_ms = BEGIN - 9 * 3_600_000 + (number - 9) * 86_400_000
        with site.store.read() as conn:
            whole = day_store.traced(conn, CODE, (from_ms, from_ms + 86_400_000), STANDARDS, REPORTED)
        fates = Counter((one.criterion.id, one.subject, one.fate) for one in whole.readings)
        for one in whole.sheet.criteria:
            key = (one.criterion, one.subject)
            if fates[*key, "mean"]:
                assert one.counted <= 1
                continue
            assert (fates[*key, "meets"] + fates[*key, "below"], fates[*key, "meets"]) == (one.counted, one.met)
            assert fates[*key, "unknown"] + fates[*key, "excused"] == sum(count for _, count in one.not_counted)
            counted += one.counted
    assert counted > 50


def test_a_record_of_a_measurement_server_is_given_as_it_signed_it(site) -> None:
    r, g = schema.records.c, schema.grants.c
    with site.store.read() as conn:
        tests = sa.select(r.test_id).join(schema.grants, g.test_id == r.test_id).where(g.center == CODE)
        test = conn.scalar(tests)
    with site.client() as client:
        line = client.get(f"/centers/{CODE}/records/{test}").text
        assert client.get(f"/centers/{CODE}/records/{'x' * 70}").status_code == 404
        assert client.get(f"/centers/LHR-2/records/{test}").status_code == 404
    assert why_not(line, [json.loads(line)["public_key"]]) == ""


@pytest.mark.parametrize("is_readable", [True, False])
def test_what_somebody_changed_is_not_as_it_was_signed(site, is_readable: bool) -> None:
    path = readings(site)[0]
    e = schema.evidence.c
    with site.store.write() as conn:
        kept = {row.id: bytes(row.body) for row in conn.execute(sa.select(e.id, e.body))}
        for number, body in kept.items():
            changed = body.replace(b'"failure":null', b'"failure" :null').replace(b'"mono_ms":', b'"mono_ms" :')
            conn.execute(
                sa.update(schema.evidence).where(e.id == number).values(body=changed if is_readable else b"{x")
            )
    try:
        page = text_of(site, path)
    finally:
        with site.store.write() as conn:
            for number, body in kept.items():
                conn.execute(sa.update(schema.evidence).where(e.id == number).values(body=body))
    assert "Not as the gateway signed it" in page
    assert "Signed by the gateway that it names" not in page


@pytest.mark.parametrize(
    "path",
    [
        f"/centers/{CODE}/months/2026-13",
        f"/centers/{CODE}/months/2027-11",
        f"/centers/{CODE}/months/x",
        "/centers/NONE/months/2026-11",
        f"/centers/{CODE}/months/{NAME}/2026-11-31",
        f"/centers/{CODE}/months/{NAME}/2026-12-01",
        f"/centers/{CODE}/months/{NAME}/20261110",
        f"/centers/{CODE}/months/9999-12/9999-12-31",
        f"/centers/{CODE}/months/0001-01/0001-01-01",
        f"/centers/{CODE}/evidence/g0000000000000000/s/1",
        f"/centers/{CODE}/evidence/%27%3Bdrop/s/1",
        f"/centers/{CODE}/evidence/g0000000000000000/s/{'9' * 40}",
    ],
)
def test_what_is_none_is_said_in_a_page(site, path: str) -> None:
    with site.client() as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert "<main" in answer.text


def test_a_reading_of_another_center_is_not_shown_and_an_operator_sees_its_own(site, cast) -> None:
    path = readings(site)[0]
    with site.client() as client:
        assert client.get(path.replace(CODE, "LHR-2", 1)).status_code == 404
    scope = Scope(owner=frozenset({"Somebody else"}))
    cookie = cast.add_account(site.store, "Omar", "operator", scope, now_ms=REPORTED)
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        for hidden in (MONTH_PAGE, DAY_PAGE, path, f"{path}/batch.json"):
            assert client.get(hidden).status_code == 404


def test_pages_of_a_day_are_bounded_and_questions_are_any(site) -> None:
    for query in (
        "?page=999999",
        "?page=0",
        "?page=x",
        "?criterion=none&subject=%00",
        "?criterion=internet.loss&page=2",
    ):
        with site.client() as client:
            answer = client.get(DAY_PAGE + query)
        assert answer.status_code == 200
        assert answer.text.count("/evidence/") <= 200


@pytest.mark.parametrize(("scheme", "lang"), [("light", "en"), ("dark", "ur")])
def test_axe_finds_nothing_and_a_telephone_shows_all(browser: Browser, site, scheme: str, lang: str) -> None:
    chromium.needed()
    paths = (MONTH_PAGE, DAY_PAGE, readings(site)[0], f"/months?month={NAME}&by=owner")
    with reader(browser, site.url, lang=lang, color_scheme=scheme, reduced_motion="reduce") as page:
        for path in paths:
            page.goto(path)
            assert violations(page) == [], path
    with reader(browser, site.url, lang=lang, viewport=PHONE) as page:
        for path in paths:
            page.goto(path)
            assert beyond(page) == [], path
