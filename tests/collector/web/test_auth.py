"""Log-in: the link of the first admin, names with passwords, sessions that end, and that nothing opens without one."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from collector.access import passwords, users
from collector.access.accounts import directory, sessions
from collector.common.scope import EVERYWHERE
from collector.store import schema
from collector.web import auth

FORM = {"name": "Amna", "password": "a password of these tests"}
OTHER = "quite another password"


def test_the_link_is_made_once_readable_to_its_owner_only_and_goes_with_its_use(tmp_path: Path) -> None:
    link = auth.FirstLink.load(tmp_path, has_admin=False)
    token = (tmp_path / auth.TOKEN_FILE).read_text().strip()
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / auth.TOKEN_FILE).stat().st_mode) == 0o600
    assert auth.FirstLink.load(tmp_path, has_admin=False).knows(f" {token}\n")  # as pasted
    for wrong in ("", token[:-1], token + "x", "\u0627" * 32):
        assert not link.knows(wrong)
    link.use_up()
    assert not link.knows(token)
    assert not list(tmp_path.iterdir())


def test_a_link_that_is_left_beside_an_admin_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / auth.TOKEN_FILE).write_text("x" * 40)
    link = auth.FirstLink.load(tmp_path, has_admin=True)
    assert (link.is_open, link.knows("x" * 40), link.knows("")) == (False, False, False)
    assert not list(tmp_path.iterdir())


def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / auth.TOKEN_FILE).write_text("short")
    with pytest.raises(ValueError, match="16 characters"):
        auth.FirstLink.load(tmp_path, has_admin=False)


def test_log_in_leads_to_a_path_of_this_site_only() -> None:
    assert auth.onward("/centers/KHI-0001?range=7d") == "/centers/KHI-0001?range=7d"
    for strange in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb"):
        assert auth.onward(strange) == "/"


# ---------------------------------------------------------------- the first admin


@pytest.fixture
def unclaimed(store, standards, tmp_path: Path, cast):
    with cast.serve(store, standards, tmp_path, has_admin=False) as site:
        site.token = (tmp_path / auth.TOKEN_FILE).read_text().strip()
        yield site


def test_the_link_makes_one_admin_and_then_nothing(unclaimed, tmp_path: Path) -> None:
    with unclaimed.client(logged_in=False) as client:
        assert "This link works once" in client.get("/login").text
        answer = client.post("/login/first", data={"token": unclaimed.token, **FORM, "next": "/centers/KHI-0001"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/centers/KHI-0001")
        assert client.get("/").status_code == 200
        assert client.get("/people").status_code == 200
    with unclaimed.client(logged_in=False) as client:
        answer = client.post("/login/first", data={"token": unclaimed.token, **FORM, "name": "Thief"})
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        assert "That link has been used" in answer.text
        assert "This link works once" not in client.get("/login").text
    assert not (tmp_path / auth.TOKEN_FILE).exists()
    with unclaimed.store.read() as conn:
        (row,) = conn.execute(sa.select(schema.persons)).mappings()
        assert (row["name"], row["role"], row["may_issue"], row["may_approve"]) == ("Amna", "admin", False, False)
        assert row["kept"].startswith("$argon2id$")
        assert not users.registered(conn), "an admin who neither issues nor approves proves no name of these"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"token": "wrong"}, "That is not the token"),
        ({"password": "short"}, "can be guessed"),
        ({"name": " "}, "1 to 64"),
    ],
)
def test_a_link_with_something_wrong_makes_nobody(unclaimed, fields: dict[str, str], said: str) -> None:
    with unclaimed.client(logged_in=False) as client:
        answer = client.post("/login/first", data={"token": unclaimed.token, **FORM, **fields})
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        assert said in answer.text
        assert client.get("/people").status_code == 303
    with unclaimed.store.read() as conn:
        assert directory.everybody(conn) == []


def test_a_person_of_before_becomes_the_admin_by_the_link_and_their_own_password(unclaimed, cast) -> None:
    cast.add_person(unclaimed.store, "Amna", FORM["password"])
    with unclaimed.client(logged_in=False) as client:
        forged = client.post("/login/first", data={"token": unclaimed.token, **FORM, "password": OTHER})
        assert forged.status_code == 403
        assert client.post("/login/first", data={"token": unclaimed.token, **FORM}).status_code == 303
    with unclaimed.store.read() as conn:
        (person,) = directory.everybody(conn)
    assert (person.account.role, person.may) == ("admin", users.MAY)


# ---------------------------------------------------------------- names and passwords


def test_a_name_and_its_password_log_in_and_lead_on(fleet) -> None:
    with fleet.client(logged_in=False) as client:
        answer = client.post("/login", data={**FORM, "name": " aMNA", "next": "/centers/KHI-0001"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/centers/KHI-0001")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert client.get("/").status_code == 200
    with fleet.store.read() as conn:
        held = {str(value) for row in conn.execute(sa.select(schema.sessions)) for value in row}
    assert answer.cookies[auth.COOKIE] not in held, "whoever reads the database must not be logged in by it"


@pytest.mark.parametrize("fields", [{"password": OTHER}, {"name": "Nobody"}, {"name": ""}, {"name": "x" * 99}])
def test_a_wrong_pair_is_refused_and_leaves_no_session(fleet, fields: dict[str, str]) -> None:
    with fleet.client(logged_in=False) as client:
        answer = client.post("/login", data={**FORM, **fields})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert 'role="alert"' in answer.text


def test_a_form_of_another_site_logs_nobody_in(fleet) -> None:
    with fleet.client(logged_in=False, **{"sec-fetch-site": "cross-site"}) as client:
        assert client.post("/login", data=FORM).status_code == 403


def test_a_password_of_before_still_logs_in_and_is_stored_anew(served) -> None:
    """As scrypt (N = 2^4) had it: programs until 2026 stored passwords so."""
    kept = "scrypt$4$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$EPdOz2W5vkjchxF1STGlfMR07xKDX1wyMzoEyY2gQFM="
    with served.store.write() as conn:
        users.add(conn, "Old", kept, users.MAY, "root", 1)
    with served.client(logged_in=False) as client:
        assert client.post("/login", data={"name": "Old", "password": OTHER}).status_code == 403
        assert client.post("/login", data={"name": "Old", "password": "one two three four"}).status_code == 303
    with served.store.read() as conn:
        stored = conn.scalar(sa.select(schema.persons.c.kept).where(schema.persons.c.key == "old"))
        (person,) = [item for item in directory.everybody(conn) if item.account.name == "Old"]
    assert (stored.startswith("$argon2id$"), person.account.role, person.account.scope) == (True, "desk", EVERYWHERE)


def test_guesses_are_bounded_by_the_account_and_by_the_network_they_come_from(sqlite_store) -> None:
    with sqlite_store.write() as conn:
        users.add(conn, "Ali", passwords.hash_password(FORM["password"], passwords.Cost(64, 1, 1)), (), "root", 1)

    def reason(name: str, address: str, password: str = "wrong") -> str:
        try:
            directory.log_in(sqlite_store, name, password, 1_000, address)
        except users.PersonError as error:
            return error.reason
        return "in"

    with sqlite_store.write() as conn:  # 99 guesses at other names from this network, without their cost
        whose = users.hashlib.sha256(b"address 192.0.2.0/24").hexdigest()
        conn.execute(sa.insert(schema.wrong_tries), [{"whose": whose, "at_ms": 999} for _ in range(99)])
    assert reason("Nobody", "192.0.2.0/24") == "wrong"
    assert reason("Ali", "192.0.2.0/24", FORM["password"]) == "too_many"
    assert reason("Ali", "198.51.100.0/24", FORM["password"]) == "in"


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.77", "192.0.2.0/24"), ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2345::1", "2001:db8:1:2300::/56"), ("", ""), ("testclient", ""),
    ],
)  # fmt: skip
def test_an_address_is_counted_with_its_network(address: str, group: str) -> None:
    assert users.address_group(address) == group


# ---------------------------------------------------------------- sessions


def test_a_session_ends_with_its_time_its_person_and_its_password(sqlite_store, cast) -> None:
    now_ms = cast.NOW_MS
    cookie = cast.add_account(sqlite_store, "Ali", "desk")
    cast.add_account(sqlite_store, "Amna", "admin")

    def who(at_ms: int = now_ms) -> str | None:
        with sqlite_store.read() as conn:
            found = sessions.find(conn, cookie, at_ms)
        return found and found.account.role

    assert who() == "desk"
    assert who(now_ms + 7 * 86_400_000) is None
    with sqlite_store.write() as conn:
        directory.set_role(conn, "Ali", "auditor", EVERYWHERE, "root", now_ms)
    assert who() == "auditor"  # from the next request on
    with sqlite_store.write() as conn:
        directory.set_password(conn, "Ali", "kept", "root", now_ms)
    assert who() is None
    cast.add_account(sqlite_store, "Ali", "desk")
    with sqlite_store.write() as conn:
        directory.remove(conn, "Ali", "root", now_ms)
    assert who() is None
    for forged in ("", cookie + "x", sessions.id_of(cookie)):
        with sqlite_store.read() as conn:
            assert sessions.find(conn, forged, now_ms) is None


def test_whoever_logs_out_is_out(served) -> None:
    with served.client(logged_in=False) as client:
        client.post("/login", data=FORM)
        cookie = client.cookies[auth.COOKIE]
        assert client.post("/logout", data={"mark": "forged"}).status_code == 403
        assert client.get("/").status_code == 200
        assert client.post("/logout", data={"mark": auth.form_mark(cookie)}).headers["location"] == "/login"
        client.cookies.set(auth.COOKIE, cookie)
        assert client.get("/", follow_redirects=False).status_code == 303


def test_a_part_of_a_page_that_is_asked_for_after_its_session_ended_is_refused_and_the_page_stays(fleet) -> None:
    answer = httpx.get(f"{fleet.url}/centers/KHI-0001", headers={"hx-request": "true"})
    assert (answer.status_code, "hx-redirect" in answer.headers) == (401, False)


def test_a_token_in_a_query_opens_nothing(unclaimed) -> None:
    with unclaimed.client(logged_in=False) as client:
        answer = client.get("/login", params={"token": unclaimed.token})
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
        assert unclaimed.token not in answer.text
        assert client.get("/api/v1/centers").status_code == 401


def test_an_unknown_path_tells_a_stranger_nothing(fleet) -> None:
    with fleet.client(logged_in=False) as client:
        assert client.get("/there/is/none").headers["location"] == "/login?next=/there/is/none"
        assert client.get("/api/v1/none").status_code == 401
        assert client.get("/static/../centers").status_code != 200


def test_every_answer_carries_the_headers_that_keep_strangers_out(fleet) -> None:
    with fleet.client() as client:
        for path in ("/", "/login", "/centers/KHI-0001", "/centers/NONE", "/api/v1/centers", "/static/nabz.css"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert ("no-store" in headers["cache-control"]) == (not path.startswith("/static/"))
