"""The pages of people: one's own account, the accounts of others, API keys, contacts, and the log of acts."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
import sqlalchemy as sa

from collector.access import users
from collector.access.accounts import activity, api_keys, directory, second_factors, sessions
from collector.access.accounts.activity import ActFilter
from collector.common.scope import EVERYWHERE, Scope
from collector.store import Store, schema
from collector.web import auth

NEW = "another password of these tests"
PUNJAB = Scope(province=frozenset({"Punjab"}))


def post(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return client.post(path, data={"mark": auth.form_mark(client.cookies[auth.COOKIE]), **fields})


def acts(store: Store) -> list[tuple[str, str, str]]:
    with store.read() as conn:
        rows = activity.page(conn, ActFilter(), 50)
    return [(row["act"], row["person"], row["subject"]) for row in reversed(rows)]


def shown(page: str, pattern: str) -> str:
    found = re.search(pattern, page)
    assert found, page
    return found[1]


# ---------------------------------------------------------------- one's own account


def test_a_changed_password_ends_every_other_session(served, cast) -> None:
    other = cast.add_account(served.store, cast.ADMIN, "admin", cookie="another-session-of-hers")
    with served.client() as client:
        wrong = post(client, "/account/password", old="wrong", new=NEW)
        weak = post(client, "/account/password", old=cast.PASSWORD, new="short")
        assert [answer.status_code for answer in (wrong, weak)] == [403, 403]
        assert "can be guessed" in weak.text
        assert post(client, "/account/password", old=cast.PASSWORD, new=NEW).status_code == 303
        assert client.get("/account").status_code == 200
    with served.client(logged_in=False) as client:
        client.cookies.set(auth.COOKIE, other)
        assert client.get("/account").status_code == 303
        assert client.post("/login", data={"name": cast.ADMIN, "password": cast.PASSWORD}).status_code == 403
        assert client.post("/login", data={"name": cast.ADMIN, "password": NEW}).status_code == 303
    assert ("person_renewed", cast.ADMIN, cast.ADMIN) in acts(served.store)


def test_sessions_are_listed_and_ended_one_by_one_or_all_but_this(served, cast) -> None:
    for cookie in ("second", "third"):
        cast.add_account(served.store, cast.ADMIN, "admin", cookie=cookie)
    stranger = cast.add_account(served.store, "Ali", "desk")
    with served.client() as client:
        assert client.get("/account").text.count('name="which"') == 3  # two others, and all others
        post(client, "/account/sessions", which=sessions.id_of(stranger))  # not hers to end
        post(client, "/account/sessions", which=sessions.id_of("second"))
        assert client.get("/account").text.count('name="which"') == 2
        post(client, "/account/sessions", which="others")
        assert client.get("/account").text.count('name="which"') == 0
    with served.store.read() as conn:
        assert sessions.find(conn, stranger, cast.NOW_MS) is not None


def code_of(letters: str, cast: Any, steps: int = 0) -> str:
    return pyotp.TOTP(letters).at(cast.NOW_MS // 1000 + 30 * steps)


def set_up(client: httpx.Client, cast: Any) -> str:
    """Turns the second proof on; returns its secret."""
    page = post(client, "/account/factor", act="begin").text
    letters = shown(page, r'<code dir="ltr">([A-Z2-7]{32})</code>')
    assert "data:image/svg+xml" in page
    assert post(client, "/account/factor", act="confirm", code="000000").status_code == 403
    assert post(client, "/account/factor", act="confirm", code=code_of(letters, cast, -1)).status_code == 303
    return letters


def test_a_second_proof_is_asked_for_from_then_on_and_each_code_counts_once(served, cast) -> None:
    with served.client() as client:
        letters = set_up(client, cast)
    with served.store.read() as conn:
        held = str(conn.execute(sa.select(schema.second_factors)).all())
    assert letters not in held, "the secret must not be readable in the database"
    form = {"name": cast.ADMIN, "password": cast.PASSWORD, "next": "/centers/KHI-1"}
    with served.client(logged_in=False) as client:
        answer = client.post("/login", data=form)
        assert answer.headers["location"] == "/login/second?next=%2Fcenters%2FKHI-1"
        half = client.cookies[auth.COOKIE]
        for path in ("/", "/account", "/api/v1/centers", "/people"):
            assert client.get(path).status_code in (303, 401), "half a log-in opens nothing"
        used = post(client, "/login/second", code=code_of(letters, cast, -1))
        assert (used.status_code, "fit" in used.text) == (403, True)
        answer = post(client, "/login/second", code=f" {code_of(letters, cast)} ", next="/centers/KHI-1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/centers/KHI-1")
        assert client.cookies[auth.COOKIE] != half
        assert client.get("/account").status_code == 200
        client.cookies.set(auth.COOKIE, half)
        assert client.get("/login/second").status_code == 303
    with served.client() as client:
        assert post(client, "/account/factor", act="remove", old="wrong").status_code == 403
        assert post(client, "/account/factor", act="remove", old=cast.PASSWORD).status_code == 303
    with served.client(logged_in=False) as client:
        assert client.post("/login", data=form).headers["location"] == "/centers/KHI-1"
    assert [act for act, *_ in acts(served.store) if act.startswith("factor")] == ["factor_added", "factor_removed"]


def test_where_a_second_proof_is_required_the_desk_sees_nothing_before_it(
    store, standards, tmp_path: Path, cast
) -> None:
    with cast.serve(store, standards, tmp_path, second_proof="required") as site:
        auditor = cast.add_account(store, "Hamid", "auditor")
        with site.client() as client:
            for path in ("/", "/people", "/api/v1/centers"):
                assert client.get(path).headers["location"] == "/account#factor", path
            assert post(client, "/logout").headers["location"] == "/login"
            cast.add_account(store, cast.ADMIN, "admin", cookie=cast.SESSION)
            client.cookies.set(auth.COOKIE, cast.SESSION)
            set_up(client, cast)
            assert client.get("/people").status_code == 200
            client.cookies.set(auth.COOKIE, auditor)
            assert client.get("/").status_code == 200  # changes nothing that others see


def test_codes_are_not_guessed(served, cast) -> None:
    with served.client() as client:
        letters = set_up(client, cast)
    form = {"name": cast.ADMIN, "password": cast.PASSWORD}
    with served.client(logged_in=False) as client:
        client.post("/login", data=form)
        statuses = [post(client, "/login/second", code=f"00000{number}").status_code for number in range(10)]
        assert statuses == [403] * 9 + [429]  # one wrong code was given when it was set up
        assert post(client, "/login/second", code=code_of(letters, cast)).status_code == 429


@pytest.mark.parametrize(("steps", "fits"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_telephone_may_be_half_a_minute_off(cast, steps: int, fits: bool) -> None:
    letters = "JBSWY3DPEHPK3PXP" * 2
    assert (second_factors.step_of(letters, code_of(letters, cast, steps), cast.NOW_MS, after=0) is not None) == fits


def test_a_code_is_that_of_the_standard() -> None:
    """RFC 6238 appendix B: the secret 12345678901234567890 at 59 s has the code 94287082, of which six digits."""
    assert second_factors.step_of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "287082", 59_000, after=0) == 1


# ---------------------------------------------------------------- other people's accounts


def test_an_admin_makes_changes_and_ends_accounts(served, cast) -> None:
    with served.client() as client:
        page = post(client, "/people", act="add", name="Ali", role="operator", owner="Trust A; Trust B").text
        password = shown(page, r'<code dir="ltr">([2-9a-z-]{24})</code>')
        for fields in (
            {"act": "add", "name": "ALI", "role": "desk"}, {"act": "add", "name": "Bina", "role": "operator"},
            {"act": "add", "name": "Bina", "role": "king"}, {"act": "role", "name": "Nobody", "role": "desk"},
            {"act": "role", "name": cast.ADMIN, "role": "desk"}, {"act": "remove", "name": cast.ADMIN},
        ):  # fmt: skip
            assert post(client, "/people", **fields).status_code == 409, fields
        with served.client(logged_in=False) as his:
            assert his.post("/login", data={"name": "Ali", "password": password}).status_code == 303
            assert his.get("/people").status_code == 403
            assert post(client, "/people", act="role", name="Ali", role="desk", province="Punjab").status_code == 303
            assert his.get("/waiting").status_code == 200  # at once
            assert post(client, "/people", act="end_sessions", name="Ali").status_code == 303
            assert his.get("/").status_code == 303
        renewed = shown(post(client, "/people", act="password", name="Ali").text, r"<code dir=\"ltr\">([2-9a-z-]{24})<")
        assert renewed != password
        assert post(client, "/people", act="remove", name="Ali").status_code == 303
        assert "Ali" not in client.get("/people").text
    with served.store.read() as conn:
        assert directory.account_of(conn, "Ali") is None
    kinds = [act for act, person, subject in acts(served.store) if subject == "Ali" and person == cast.ADMIN]
    assert kinds == ["person_added", "role_set", "sessions_ended", "person_renewed", "person_removed"]
    with served.store.read() as conn:
        own = activity.page(conn, ActFilter(person=cast.ADMIN), 50)
    assert all(row["is_proven"] for row in own), "whoever is logged in has proven their name"


# ---------------------------------------------------------------- API keys


def test_a_key_is_shown_once_reads_its_scope_and_ends(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHE-1", 0), cast.center_row("KHI-1", 1)])
    with served.client() as client:
        page = post(client, "/keys", act="add", name="board", role="auditor", province="Punjab", days="30").text
        key = shown(page, r'<code dir="ltr">(nabz_[0-9a-f]{10}_[A-Za-z0-9_-]{43})</code>')
        assert key not in client.get("/keys").text
        assert key[:15] in client.get("/keys").text
        for fields in ({"role": "admin"}, {"days": "0"}, {"days": "9999"}, {"role": "operator"}, {"name": ""}):
            given = {"name": "x", "role": "auditor", "days": "30", **fields}
            assert post(client, "/keys", act="add", **given).status_code == 409, fields
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.get(f"{served.url}/api/v1/centers", headers=headers)
        assert [row["center"] for row in answer.json()["centers"]] == ["LHE-1"]
        assert "Last used" in client.get("/keys").text
        assert httpx.get(f"{served.url}/account", headers=headers).status_code == 403
        assert httpx.get(f"{served.url}/api/v1/centers", headers={"authorization": f"Bearer {key}x"}).status_code == 401
        assert post(client, "/keys", act="revoke", prefix=key[5:15]).status_code == 303
        assert post(client, "/keys", act="revoke", prefix=key[5:15]).status_code == 409
        assert httpx.get(f"{served.url}/api/v1/centers", headers=headers).status_code == 401
    with served.store.read() as conn:
        (row,) = conn.execute(sa.select(schema.api_keys)).mappings()
        assert key.split("_", 2)[2] not in str(dict(row))
        assert row["used_ms"] == cast.NOW_MS


def test_a_key_ends_by_itself(sqlite_store, cast) -> None:
    with sqlite_store.write() as conn:
        key = api_keys.add(conn, "board", "auditor", EVERYWHERE, 30, "Amna", cast.NOW_MS)
    with sqlite_store.read() as conn:
        end_ms = cast.NOW_MS + 30 * 86_400_000
        assert api_keys.find(conn, key, end_ms - 1) is not None
        assert api_keys.find(conn, key, end_ms) is None


# ---------------------------------------------------------------- contacts

LESCO = {"act": "set", "kind": "company", "name": "LESCO", "telephone": "118", "province": "Punjab", "lang": "ur"}
PTCL = {
    "act": "set",
    "kind": "provider",
    "name": "PTCL",
    "person": "NOC",
    "telephone": "042 123-4567",
    "hours": "always",
}


def test_a_contact_is_shown_at_the_centers_that_it_is_about(served, cast) -> None:
    cast.insert(served.store, schema.centers, [
        cast.center_row("LHE-1", 0, isp="PTCL"), cast.center_row("KHI-1", 1, isp="PTCL"),
        cast.center_row("GIL-1", 4, isp="Nayatel"),
    ])  # fmt: skip
    with served.client() as client:
        for fields in (LESCO, PTCL):
            assert post(client, "/contacts", **fields).status_code == 303
        found = {code: set(re.findall(r"tel:(\S+)\"", client.get(f"/centers/{code}").text)) for code in
                 ("LHE-1", "KHI-1", "GIL-1")}  # fmt: skip
        assert found == {"LHE-1": {"118", "+92421234567"}, "KHI-1": {"+92421234567"}, "GIL-1": set()}
        by_api = client.get("/api/v1/centers/LHE-1").json()["contacts"]
        assert [(it["kind"], it["telephone"], it["scope"]) for it in by_api] == [
            ("company", "118", {"province": ["Punjab"]}), ("provider", "+92421234567", {}),
        ]  # fmt: skip
        number = shown(client.get("/contacts").text, r"edit=(\d+)")
        assert 'value="LESCO"' in client.get(f"/contacts?edit={number}").text
        assert post(client, "/contacts", **LESCO | {"id": number, "telephone": "119"}).status_code == 303
        assert post(client, "/contacts", act="remove", id=number).status_code == 303
        assert post(client, "/contacts", act="remove", id=number).status_code == 404
        assert client.get("/contacts").text.count('class="gateway slim"') == 1
    kinds = [act for act, _, subject in acts(served.store) if subject == "company LESCO"]
    assert kinds == ["contact_set", "contact_set", "contact_removed"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "friend"}, {"name": ""}, {"telephone": ""}, {"telephone": "call me"}, {"telephone": "+0 12"},
        {"email": "nobody"}, {"hours": "sometimes"}, {"lang": "fr"}, {"province": ""}, {"name": "x" * 101},
        {"person": "a\u202eb"},
    ],
)  # fmt: skip
def test_a_contact_that_reaches_nobody_is_refused_and_what_was_written_stays(served, wrong: dict[str, str]) -> None:
    with served.client() as client:
        answer = post(client, "/contacts", **LESCO | wrong)
        assert (answer.status_code, "Look at it again" in answer.text) == (400, True)
        assert f'value="{wrong.get("telephone", "118")}"' in answer.text
        assert 'class="gateway"' not in client.get("/contacts").text


# ---------------------------------------------------------------- the log


def test_the_log_is_filtered_paged_and_given_as_csv(served, cast) -> None:
    with served.store.write() as conn:
        for number in range(130):
            users.record(conn, "contact_set", "Ali", cast.NOW_MS - number, subject=f"=cmd{number}", center="LHE-1")
        users.record(conn, "key_added", "Bina", cast.NOW_MS - 5 * cast.DAY_MS, reason="<script>")
    with served.client() as client:
        page = client.get("/activity?person=ali").text
        assert page.count("Contact kept</b>") == 100
        rest = client.get(
            "/activity?" + shown(page, r'rel="next" href="/activity\?([^"]+)"').replace("&amp;", "&")
        ).text
        assert rest.count("Contact kept</b>") == 30
        day = "2026-11-13"
        only = client.get(f"/activity?act=key_added&from={day}&to={day}").text
        assert (only.count("API key made</b>"), "<script>" in only) == (1, False)
        assert client.get("/activity?act=key_added&from=2026-11-14&to=nonsense").text.count("API key made</b>") == 0
        answer = client.get("/activity.csv?person=Ali&center=LHE-1")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert (len(rows), rows[0]["act"]) == (130, "contact_set")
        assert all(row["subject"].startswith("'=") for row in rows), "a spreadsheet must not compute it"
        found = client.get("/api/v1/activity?person=bina").json()["activity"]
        assert [(row["act"], row["is_proven"]) for row in found] == [("key_added", False)]


def test_what_an_act_was_about_is_said_in_words(served, cast) -> None:
    scope = Scope(owner=frozenset({"Bint-e-Hawa Trust"}), district=frozenset({"Karachi South"}))
    with served.store.write() as conn:
        directory.add(conn, "Omar", "kept", "operator", scope, "root", cast.NOW_MS)
        directory.add(conn, "Asad", "kept", "auditor", EVERYWHERE, "root", cast.NOW_MS)
        users.record(conn, "contact_set", "Ali", cast.NOW_MS, reason='{"half": ')
    with served.client() as client:
        words = re.sub("<[^>]+>", "", client.get("/activity").text)
    assert "Operator District: Karachi South, Owner: Bint-e-Hawa Trust" in words
    assert "Auditor All centers" in words
    assert "{&#34;half&#34;: " in words, "what is no JSON stands as it was recorded"


@pytest.mark.parametrize("path", ["/account", "/people", "/keys", "/contacts", "/activity", "/login/second"])
def test_hostile_names_are_only_text(served, cast, path: str) -> None:
    hostile = cast.HOSTILE.replace("\u202e", "")
    with served.store.write() as conn:
        directory.add(conn, hostile, "kept", "operator", Scope(owner=frozenset({hostile})), "root", 1)
        api_keys.add(conn, hostile, "auditor", PUNJAB, 5, hostile, cast.NOW_MS)
        users.record(conn, "key_added", hostile, cast.NOW_MS, subject=hostile, reason=hostile)
    with served.client() as client:
        post(client, "/contacts", **LESCO | {"name": hostile, "person": hostile})
        text = client.get(path).text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
