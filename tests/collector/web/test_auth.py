"""The door: who comes in, for how long, and that it stands before everything."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from collector.web import auth

NOW_MS = 1_795_000_000_000


def test_the_token_is_made_once_and_readable_to_its_owner_only(tmp_path: Path) -> None:
    token = auth.load_token(tmp_path)
    assert auth.load_token(tmp_path) == token
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / auth.TOKEN_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [auth.TOKEN_FILE]


def test_the_door_knows_its_token_and_no_other() -> None:
    door = auth.Authenticator("a" * 32)
    assert door.knows("a" * 32)
    assert door.knows(f" {'a' * 32}\n")  # as pasted
    for wrong in ("", "a" * 31, "a" * 33, "b" * 32, "\u0627" * 32):
        assert not door.knows(wrong)


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        auth.Authenticator("short")


def test_a_session_admits_until_it_expires() -> None:
    door = auth.Authenticator("a" * 32)
    session = door.session(NOW_MS)
    assert door.admits(session, NOW_MS)
    assert door.admits(session, NOW_MS + auth.SESSION_S * 1000 - 1)
    assert not door.admits(session, NOW_MS + auth.SESSION_S * 1000)


def test_a_session_cannot_be_made_longer_or_carried_to_another_token() -> None:
    session = auth.Authenticator("a" * 32).session(NOW_MS)
    expires, seal = session.split(".")
    door = auth.Authenticator("a" * 32)
    for forged in (None, "", ".", expires, f"{int(expires) + 1}.{seal}", f"{expires}.{'0' * 64}", f"-1.{seal}", "x.y"):
        assert not door.admits(forged, NOW_MS)
    assert not auth.Authenticator("b" * 32).admits(session, NOW_MS)


def test_log_in_leads_to_a_path_of_this_site_only() -> None:
    assert auth.onward("/centers/KHI-0001?range=7d") == "/centers/KHI-0001?range=7d"
    for strange in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb"):
        assert auth.onward(strange) == "/"


# ---------------------------------------------------------------- over HTTP


def test_everything_is_denied_but_what_is_named(fleet) -> None:
    """Walks the application's own routes, so that a new one is denied until somebody names it here."""
    named = {("GET", "/login"), ("POST", "/login"), ("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/api/v1/enrol")}
    named |= {("POST", "/api/v1/renew"), ("GET", "/api/v1/ca"), ("GET", "/api/v1/time")}
    named |= {("POST", "/api/v1/servers/join"), ("POST", "/api/v1/records")}  # measurement servers prove their keys
    seen = set()
    with fleet.client(logged_in=False) as client:
        for route in iter_route_contexts(fleet.app.routes):
            methods = getattr(route, "methods", None)
            if methods is None:
                assert route.path == "/static"
                continue
            for method in methods - {"HEAD"}:
                seen.add((method, route.path))
                path = route.path.replace("{code}", "KHI-0001")
                answer = client.request(method, path)
                if (method, route.path) in named:
                    assert answer.status_code in (200, 400, 403), path
                else:
                    denied = answer.status_code == 401 or answer.headers.get("location", "").startswith("/login?next=")
                    assert denied, f"{method} {path} was served without a session"
    assert named < seen
    assert len(seen) > len(named) + 4


def test_an_unknown_path_tells_a_stranger_nothing(fleet) -> None:
    with fleet.client(logged_in=False) as client:
        assert client.get("/there/is/none").headers["location"] == "/login?next=/there/is/none"
        assert client.get("/api/v1/none").status_code == 401
        assert client.get("/static/../centers").status_code != 200


def test_the_token_logs_in_and_leads_on(fleet) -> None:
    with fleet.client() as client:
        answer = client.post("/login", data={"token": "the-token-of-these-tests", "next": "/centers/KHI-0001"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/centers/KHI-0001")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert client.get("/").status_code == 200


def test_a_wrong_token_is_refused_and_leaves_no_session(fleet) -> None:
    with fleet.client(logged_in=False) as client:
        answer = client.post("/login", data={"token": "wrong"})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert "That is not the token" in answer.text
        assert client.post("/login", data={"token": "the-token-of-these-tests"}).status_code == 303


def test_a_token_in_a_query_opens_nothing(fleet) -> None:
    with fleet.client(logged_in=False) as client:
        answer = client.get("/login", params={"token": "the-token-of-these-tests"})
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
        assert client.get("/api/v1/centers").status_code == 401


def test_a_part_of_a_page_that_is_asked_for_after_its_session_ended_is_refused_and_the_page_stays(fleet) -> None:
    answer = httpx.get(f"{fleet.url}/centers/KHI-0001", headers={"hx-request": "true"})
    assert (answer.status_code, "hx-redirect" in answer.headers) == (401, False)


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
