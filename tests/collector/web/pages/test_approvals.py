"""The page of waiting gateways: what it shows, and that only another person's passphrase lets one in."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.access import approvals
from collector.store import Store, schema
from collector.web.pages import approvals as waiting

NOW_MS = 1_795_000_000_000
MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')
ALI, BINA = "ali likes long walks", "bina sails to Gwadar"
ZERO = hashlib.sha256(b"gateway 0").hexdigest()


@pytest.fixture
def site(store: Store, standards, tmp_path, cast) -> Iterator[Any]:
    """Asks for a second person."""
    cast.insert(store, schema.centers, [cast.center_row("KHI-0001"), cast.center_row("LHE-0002", 1)])
    with cast.serve(store, standards, tmp_path, approval="second_person") as served:
        yield served


@pytest.fixture
def proven(site, cast) -> Any:
    """Ali issued the token with which a gateway waits; Bina may approve."""
    cast.add_person(site.store, "Ali", ALI)
    cast.add_person(site.store, "Bina", BINA, "approve")
    cast.add_waiting(site.store, 0, given=ALI)
    return site


def page_of(client: httpx.Client, query: str = "") -> str:
    found = re.search(r"<main.*?</main>", client.get(f"/waiting{query}").text, re.DOTALL)
    assert found
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found[0])).split())


def press(client: httpx.Client, headers: dict[str, str] | None = None, **changes: str) -> httpx.Response:
    """Bina lets the first gateway in, but for what is changed."""
    mark = MARK.search(client.get("/waiting").text)
    values = {
        "mark": mark[1] if mark else "", "device": "g" + ZERO[:16], "center": "KHI-0001", "name": "Bina",
        "passphrase": BINA, "reason": "I know it", "decision": "approve",
    }  # fmt: skip
    return client.post("/waiting", data=values | changes, headers=headers or {})


def states(store: Store) -> list[str]:
    with store.read() as conn:
        return list(conn.scalars(sa.select(schema.enrolments.c.state)))


# ---------------------------------------------------------------- what it shows


def test_the_page_shows_who_waits_since_when_for_what_and_with_which_key(proven) -> None:
    with proven.client() as client:
        printed = page_of(client)
    assert "e-Rozgar Center Karachi" in printed or "e-Rozgar Center Lahore 1 KHI-0001" in printed
    for part in ("50 min", "g" + ZERO[:16], "Ali proven by password", " ".join(waiting.grouped(ZERO)[:4])):
        assert part in printed.replace("\xa0", " ")
    assert len(waiting.grouped(ZERO)) == 16


def test_without_persons_the_page_says_what_is_not_proven_and_takes_no_decision(site, cast) -> None:
    device = cast.add_waiting(site.store, 0)
    with site.client() as client:
        assert "Names are not proven" in page_of(client)
        assert "Ali not proven" in page_of(client)
        assert f"enrolment approve {device} --center KHI-0001" in page_of(client)
        assert 'action="/waiting' not in client.get("/waiting").text
        answer = press(client)
    assert (answer.status_code, states(site.store)) == (403, ["waiting"])


def test_one_person_alone_lets_nobody_in_and_the_page_says_so(site, cast) -> None:
    cast.add_person(site.store, "Ali", ALI)
    with site.client() as client:
        assert "Nobody can be let in" in page_of(client)
        cast.add_person(site.store, "Bina", BINA, "approve")
        assert "Nobody can be let in" not in page_of(client)


def test_where_no_second_person_is_asked_for_the_page_says_so(served) -> None:
    with served.client() as client:
        assert "ask for no second person" in page_of(client)
        assert "not proven" not in page_of(client)


def test_the_centers_page_leads_here_and_counts(site, cast) -> None:
    with site.client() as client:
        assert ">Waiting gateways</a>" in client.get("/").text
        cast.add_waiting(site.store, 0)
        cast.add_waiting(site.store, 1)
        text = re.sub(r"<[^>]+>", "", client.get("/").text)
    assert "2 gateways wait for approval" in text


def test_what_a_gateway_says_of_itself_is_only_text(proven, cast) -> None:
    cast.add_waiting(proven.store, 1, given=ALI, hostname=cast.HOSTILE)
    with proven.client() as client:
        text = client.get("/waiting").text
    assert "<script>alert" not in text
    assert "<img src=x" not in text


def test_a_long_queue_is_shown_in_part(site, cast) -> None:
    for number in range(waiting.SHOWN + 2):
        cast.add_waiting(site.store, number)
    with site.client() as client:
        assert "and 2 more" in page_of(client)
        assert client.get("/waiting").text.count('class="gateway"') == waiting.SHOWN


# ---------------------------------------------------------------- decisions


@pytest.mark.parametrize(
    ("decision", "state", "printed"), [("approve", "approved", "Let in"), ("refuse", "refused", "Refused")]
)
def test_another_persons_passphrase_decides_and_the_page_tells_of_it(
    proven, decision: str, state: str, printed: str
) -> None:
    with proven.client() as client:
        answer = press(client, decision=decision)
        assert (answer.status_code, answer.headers["location"]) == (303, "/waiting#decided")
        assert f"{printed} by Bina proven by password I know it KHI-0001" in page_of(client)
    assert states(proven.store) == [state]
    with proven.store.read() as conn:
        (row,) = approvals.decided(conn, 5)
    assert (row["person"], row["is_proven"], row["key_hash"], row["at_ms"]) == ("Bina", True, ZERO, NOW_MS)


@pytest.mark.parametrize(
    ("changes", "status", "printed"),
    [
        ({"passphrase": "wrong"}, 403, "do not fit"),
        ({"name": "Nobody"}, 403, "do not fit"),
        ({"name": "Ali", "passphrase": ALI}, 409, "You made its token"),
        ({"device": "g" + "0" * 16}, 409, "somebody has decided"),
        ({"center": "LHE-0002"}, 409, "somebody has decided"),
    ],
)
def test_what_is_not_taken_is_said_beside_the_form(proven, changes: dict[str, str], status: int, printed: str) -> None:
    with proven.client() as client:
        answer = press(client, **changes)
        assert (answer.status_code, printed in answer.text) == (status, True)
        assert BINA not in answer.text
        urdu = press(client, {"accept-language": "ur"}, **changes)
        assert (urdu.status_code, printed in urdu.text, 'dir="rtl"' in urdu.text) == (status, False, True)
    assert states(proven.store) == ["waiting"]


def test_whoever_may_only_issue_tokens_decides_nothing(site, cast) -> None:
    cast.add_person(site.store, "Bina", BINA)
    cast.add_person(site.store, "Ali", ALI, "issue")
    cast.add_waiting(site.store, 0, "Bina", BINA)
    with site.client() as client:
        answer = press(client, name="Ali", passphrase=ALI)
    assert (answer.status_code, "You may not approve" in answer.text, states(site.store)) == (403, True, ["waiting"])


def test_a_token_of_somebody_unproven_can_only_be_refused(site, cast) -> None:
    cast.add_waiting(site.store, 0)
    cast.add_person(site.store, "Bina", BINA)
    with site.client() as client:
        assert 'value="approve" disabled' in client.get("/waiting").text
        assert "is not proven, so it cannot be let in" in press(client).text
        assert press(client, decision="refuse").status_code == 303


@pytest.mark.row(41)
def test_after_twenty_wrong_passphrases_the_right_one_waits_for_an_hour_too(proven) -> None:
    with proven.client() as client:
        statuses = [press(client, passphrase=f"guess {number}").status_code for number in range(22)]
        assert statuses == [403] * 20 + [429] * 2
        answer = press(client)
        assert (answer.status_code, "Wait, or decide by the command" in answer.text) == (429, True)
    assert states(proven.store) == ["waiting"]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)  # fmt: skip
def test_a_form_of_another_site_is_refused_even_with_this_sessions_mark(proven, headers: dict[str, str]) -> None:
    with proven.client() as client:
        assert press(client, headers).status_code == 403
    assert states(proven.store) == ["waiting"]


def test_a_form_of_this_site_is_taken(proven) -> None:
    with proven.client() as client:
        assert press(client, {"origin": proven.url, "sec-fetch-site": "same-origin"}).status_code == 303


@pytest.mark.parametrize(
    "changes", [{"mark": "0" * 64}, {"decision": ""}, {"device": "x' OR 1"}, {"center": "<b>"}, {"device": ""}]
)
def test_a_form_that_this_page_did_not_make_is_refused(proven, changes: dict[str, str]) -> None:
    with proven.client() as client:
        assert press(client, **changes).status_code in (400, 403)
    assert states(proven.store) == ["waiting"]
